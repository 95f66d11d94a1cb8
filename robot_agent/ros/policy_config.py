"""Parameters of the node `policy`."""

from dataclasses import dataclass, replace
from pathlib import Path

from robot_agent.act.execution import MODES, ExecutionConfig
from robot_agent.core.config import load_config
from robot_agent.release.road import SIMULATED, PromotionConfig
from robot_agent.ros import params
from robot_agent.ros.params import setting


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """Parameters of the policy's node."""

    releases: str = setting("releases", "Folder of the release registry.")
    shipped: str = setting("tiny", "Shipped policy that an empty registry begins with.")
    server: str = setting("", "HOST:PORT of a policy that runs elsewhere; empty uses releases.")
    token_file: str = setting("", "File of the secret that the server was started with.")
    time_factor: float = setting(1.0, "Simulated time over wall time, for all nodes.", 0.1, 20.0)
    max_image_age_s: float = setting(0.5, "Older pictures end the episode [s].", 0.05, 2.0)
    max_inference_s: float = setting(1.0, "Longer inferences let the guard hold [s].", 0.05, 5.0)
    execution: str = setting(
        "synchronous", "How chunks are executed, see doc/policies.md.", choices=MODES
    )
    refill: int = setting(0, "Infer when fewer actions are left; 0: by latency.", 0, 100)
    horizon: int = setting(0, "Actions of a chunk that are used at most; 0 uses all.", 0, 100)
    is_simulated: bool = setting(False, "Prove weights at the length that suits a simulated arm.")
    promotion_file: str = setting("", "YAML of PromotionConfig; empty keeps the coded values.")
    approved_by: str = setting("", "Who lets proven weights stay; empty asks a person each time.")

    def __post_init__(self) -> None:
        """Check the ranges."""
        params.check_ranges(self)

    def executing(self) -> ExecutionConfig:
        """Return how chunks are executed."""
        return ExecutionConfig(mode=self.execution, refill=self.refill, horizon=self.horizon)

    def promotion(self) -> PromotionConfig:
        """Return what a candidate must show; ConfigError when the file is wrong."""
        config = SIMULATED if self.is_simulated else PromotionConfig()
        if self.promotion_file:
            config = load_config(PromotionConfig, [Path(self.promotion_file)])
        return replace(config, approved_by=self.approved_by) if self.approved_by else config
