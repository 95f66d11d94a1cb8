"""The reward of practice from a file: a vision-language judge whose audit lies beside it."""

from collections.abc import Sequence
from pathlib import Path

from robot_agent.core.errors import ConfigError, InputError
from robot_agent.evaluate.clip_judges import read_vlm_judge
from robot_agent.evaluate.judge_audit import read_audit
from robot_agent.learn.judging import ClipReward
from robot_agent.models.tiny_team import INSTRUCTIONS
from robot_agent.store.votes import VoteFile


def load_reward(path: Path, instructions: Sequence[str], memory: Path) -> ClipReward:
    """Return the vision-language judge of a YAML file as the reward of practice.

    Its audit lies beside the file, as `NAME.audit.json`; answers are kept in `memory`.

    Raises:
        ConfigError: The file cannot be used, or there is no audit.
        InputError: The audit does not allow it as a reward for one of the instructions, or was
            made at another threshold.
    """
    judge, name, threshold = read_vlm_judge(path, VoteFile(memory))
    audit_path = path.with_suffix(".audit.json")
    if not audit_path.exists():
        raise ConfigError(
            f"{audit_path}: is missing, a reward must be audited. Make it with: "
            f"robot-agent judge audit --judge {path} --data PLAY --out {audit_path}"
        )
    audit = read_audit(audit_path)
    for instruction in instructions:
        found = audit.require(name, instruction, "train")
        if found.threshold != threshold:
            raise InputError(
                f"{path}: threshold is {threshold}, the audit is of {found.threshold}. Audit it "
                f"again, or put the threshold back."
            )
    return ClipReward(judge, INSTRUCTIONS, threshold)
