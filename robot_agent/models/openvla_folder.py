"""A published OpenVLA folder as a policy: settings, tokenizer, statistics and shards.

Nothing in the folder is ever run: `config.json` may name Python files (`auto_map`) that lie beside
it; only JSON and safetensors are read.
"""

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from robot_agent.core.config import build, to_plain
from robot_agent.core.errors import ConfigError
from robot_agent.models.openvla import BINS, OpenVla, OpenVlaConfig
from robot_agent.models.openvla_images import PictureConfig
from robot_agent.models.openvla_policy import Encode, OpenVlaPolicy, OpenVlaPolicyConfig
from robot_agent.models.openvla_statistics import Bounds, choose_statistics
from robot_agent.models.openvla_tensors import load_openvla

_LOG = logging.getLogger(__name__)
_FIXED = {
    "vision_backbone_id": "dinosiglip-vit-so-224px",
    "llm_backbone_id": "llama2-7b-pure",
    "arch_specifier": "no-align+fused-gelu-mlp",
    "image_resize_strategy": "resize-naive",
    "n_action_bins": BINS,
    "use_fused_vision_backbone": True,
}
"""What the rebuilt network is; folders of other variants are refused, never guessed at."""
_LLAMA = {
    "hidden_size": "width",
    "num_hidden_layers": "depth",
    "num_attention_heads": "heads",
    "intermediate_size": "mlp",
    "vocab_size": "vocabulary",
    "rms_norm_eps": "norm_eps",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class OpenVlaFolderConfig:
    """How a published folder is loaded."""

    unnorm_key: str = "bridge_orig"
    """Name of the statistics; a finetuned folder has its own, often `bridge_dataset`."""
    uses_state: bool = False
    """Whether OFT's projector of the measured state lies in the folder."""
    is_bfloat16: bool = True
    """The published type; false takes float32, twice the memory."""
    policy: OpenVlaPolicyConfig = dataclasses.field(default_factory=OpenVlaPolicyConfig)


@dataclasses.dataclass(frozen=True, eq=False)
class OpenVlaParts:
    """What a folder holds: a network, and all that makes it a policy."""

    network: OpenVla
    encode: Encode
    actions: Bounds
    states: Bounds | None
    config: OpenVlaPolicyConfig

    def policy(self, version: str, network: OpenVla | None = None) -> OpenVlaPolicy:
        """Return a policy, on another network where one is given: the same with an adapter."""
        return OpenVlaPolicy(
            network or self.network,
            self.encode,
            self.actions,
            version=version,
            states=self.states,
            config=self.config,
        )


def load_openvla_policy(
    folder: Path,
    config: OpenVlaFolderConfig,
    *,
    version: str,
    sizes: OpenVlaConfig | None = None,
) -> OpenVlaPolicy:
    """Return the policy of a folder that was published by OpenVLA or OpenVLA-OFT.

    Args:
        folder: Holds config.json, tokenizer.json and *.safetensors.
        config: Which statistics, and how the network is used.
        version: Stamped on every chunk.
        sizes: Of the vision encoders where they are not the published ones.

    Raises:
        ConfigError: A file is missing or of another variant, or the statistics do not fit.
        BundleRejectedError: Tensors are missing, extra, of another shape, or not finite.
    """
    return load_openvla_parts(folder, config, sizes).policy(version)


def load_openvla_parts(
    folder: Path, config: OpenVlaFolderConfig, sizes: OpenVlaConfig | None = None
) -> OpenVlaParts:
    """Return what a published folder holds; arguments and errors as `load_openvla_policy`."""
    settings = read_json(folder / "config.json")
    if "auto_map" in settings or any(folder.glob("*.py")):
        _LOG.info("%s: the Python code in this folder is not run", folder.name)
    known = read_statistics(folder, settings)
    actions = choose_statistics(known, config.unnorm_key)
    states = choose_statistics(known, config.unnorm_key, "proprio") if config.uses_state else None
    shape = read_sizes(settings, sizes or OpenVlaConfig())
    encode = read_tokenizer(folder / "tokenizer.json")
    network = load_openvla(
        folder,
        shape,
        dtype=torch.bfloat16 if config.is_bfloat16 else torch.float32,
        has_proprio=config.uses_state,
    )
    picture = read_picture(folder, config.policy.picture, shape.image_px)
    used = dataclasses.replace(config.policy, picture=picture)
    return OpenVlaParts(network, encode, actions, states, used)


def read_sizes(settings: dict[str, Any], sizes: OpenVlaConfig) -> OpenVlaConfig:
    """Return the sizes that config.json states; ConfigError names what is of another variant.

    Published folders do not state the sizes of the vision encoders, which are fixed. One of other
    sizes states them under `vision_sizes`, with the names of `OpenVlaConfig`.
    """
    other = [
        f"{name} is {settings[name]!r}, must be {wanted!r}"
        for name, wanted in _FIXED.items()
        if name in settings and settings[name] != wanted
    ]
    if other:
        raise ConfigError(
            f"config.json: {'; '.join(other)}. Only the fused 224 px Llama-2 variant is rebuilt."
        )
    text = settings.get("text_config", {})
    stated = {ours: text[theirs] for theirs, ours in _LLAMA.items() if theirs in text}
    if "pad_to_multiple_of" in settings:
        stated["padding"] = settings["pad_to_multiple_of"]
    stated |= settings.get("vision_sizes", {})
    return build(OpenVlaConfig, {**to_plain(sizes), **stated}, "config.json")


def read_statistics(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the statistics by name: of the last training run, else those of config.json."""
    own = folder / "dataset_statistics.json"
    known: dict[str, Any] = read_json(own) if own.exists() else settings.get("norm_stats") or {}
    if not known:
        raise ConfigError(
            f"{folder}: holds no statistics, must have dataset_statistics.json or norm_stats in "
            f"config.json. Copy them from the run that trained the weights."
        )
    return known


def read_picture(folder: Path, config: PictureConfig, size_px: int) -> PictureConfig:
    """Return how pictures are prepared, with the means that the folder states."""
    path = folder / "preprocessor_config.json"
    stated = read_json(path) if path.exists() else {}
    changes: dict[str, Any] = {"size_px": size_px}
    for name in ("means", "stds"):
        if name in stated:
            changes[name] = tuple(tuple(float(v) for v in triple) for triple in stated[name])
    return dataclasses.replace(config, **changes)


def read_tokenizer(path: Path, *, has_start: bool = True) -> Encode:
    """Return the tokenizer as a function; ConfigError when the file is missing or foreign.

    Without `has_start` it adds no token that begins or ends a sequence.
    """
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        raise ConfigError(
            f"{path}: is no tokenizer ({error}). Copy tokenizer.json from the published folder."
        ) from error
    return lambda text: list(tokenizer.encode(text, add_special_tokens=has_start).ids)


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object; ConfigError when it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}). Copy the folder again.") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: holds {type(content).__name__}, must be an object.")
    return content
