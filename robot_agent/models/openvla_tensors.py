"""The published names of OpenVLA's tensors, each with its place in our network.

The published vision encoders are timm's, ours are transformers': attention's query, key and value
are one tensor there and three here, SigLIP's pooling has them the other way round.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from robot_agent.core.errors import BundleRejectedError, ConfigError
from robot_agent.core.types import ACTION_DIM
from robot_agent.models.openvla import OpenVla, OpenVlaConfig

PROPRIO_FILE = "proprio_projector.safetensors"
_VISION = "vision_backbone"
_REGISTERS = 4


@dataclass(frozen=True)
class Place:
    """Where a published tensor goes: rows `row` onwards of `name`, in equal parts if several."""

    shape: tuple[int, ...]
    names: tuple[str, ...]
    row: int = 0


TensorMap = dict[str, Place]


def tensor_map(config: OpenVlaConfig) -> TensorMap:
    """Return every published tensor's shape and place, for shards as openvla-7b has them."""
    return {**_dino(config), **_siglip(config), **_projector(config), **_llama(config)}


def proprio_map(config: OpenVlaConfig) -> TensorMap:
    """Return the tensors of OFT's separate file for the state."""
    places: TensorMap = {}
    places |= _layer("fc1", "proprio.fc1", config.width, ACTION_DIM)
    places |= _layer("fc2", "proprio.fc2", config.width, config.width)
    return places


def num_parameters(places: TensorMap) -> int:
    """Return the number of numbers that the published tensors hold."""
    return sum(torch.Size(place.shape).numel() for place in places.values())


def load_openvla(
    folder: Path,
    config: OpenVlaConfig,
    *,
    dtype: torch.dtype = torch.bfloat16,
    has_proprio: bool = False,
) -> OpenVla:
    """Return the network with the weights of a published folder, read shard by shard.

    Only `*.safetensors` are opened; code and pickles that lie beside them are never run.

    Raises:
        ConfigError: The folder holds no safetensors.
        BundleRejectedError: Lists every tensor that is missing, extra, of another shape, or not
            finite.
    """
    with torch.device("meta"):
        network = OpenVla(config, has_proprio=has_proprio).to(dtype)
    shards = [path for path in find_shards(folder) if path.name != PROPRIO_FILE]
    check_tensors({**_shapes(shards)}, tensor_map(config), folder.name)
    if has_proprio:
        check_tensors(_shapes([folder / PROPRIO_FILE]), proprio_map(config), PROPRIO_FILE)
    _allocate(network)
    broken = _copy(network, _read(shards), tensor_map(config))
    if has_proprio:
        broken += _copy(network, _read([folder / PROPRIO_FILE]), proprio_map(config))
    if broken:
        raise BundleRejectedError(folder.name, "tensors", f"not finite: {_join(broken)}", "finite")
    return network.eval()


def find_shards(folder: Path) -> list[Path]:
    """Return the safetensors of a folder; ConfigError when there are none."""
    shards = sorted(folder.glob("*.safetensors"))
    if not shards:
        found = ", ".join(sorted(path.name for path in folder.glob("*"))[:8]) or "nothing"
        raise ConfigError(
            f"{folder}: holds no .safetensors, only {found}. Pickled weights (.bin, .pt) are "
            f"never opened: convert them where you trust them, with safetensors.torch.save_file."
        )
    return shards


def check_tensors(found: Mapping[str, tuple[int, ...]], places: TensorMap, name: str) -> None:
    """Raise BundleRejectedError with every tensor that is missing, extra or of another shape."""
    missing = sorted(set(places) - set(found))
    extra = sorted(set(found) - set(places))
    shaped = [
        f"{key} {list(found[key])} instead of {list(place.shape)}"
        for key, place in places.items()
        if key in found and tuple(found[key]) != place.shape
    ]
    wrong = {"missing": missing, "extra": extra, "of another shape": shaped}
    told = "; ".join(f"{what}: {_join(names)}" for what, names in wrong.items() if names)
    if told:
        raise BundleRejectedError(name, "tensors", told, "those of OpenVLA")


@torch.no_grad()
def to_published(network: OpenVla) -> dict[str, Tensor]:
    """Return the network's weights under their published names."""
    own = network.state_dict()
    published = {}
    for name, place in tensor_map(network.config).items():
        rows = place.shape[1 if _has_batch_axis(place.shape) else 0] // len(place.names)
        parts = [_rows(own[target])[place.row : place.row + rows] for target in place.names]
        published[name] = torch.cat(parts).reshape(place.shape).contiguous()
    return published


def _read(shards: list[Path]) -> Iterator[tuple[str, Tensor]]:
    for shard in shards:
        with safe_open(shard, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - the library's handle is no mapping
                yield name.removeprefix("module."), file.get_tensor(name)


def _shapes(shards: list[Path]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for shard in shards:
        with safe_open(shard, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - the library's handle is no mapping
                shapes[name.removeprefix("module.")] = tuple(file.get_slice(name).get_shape())
    return shapes


@torch.no_grad()
def _copy(
    network: nn.Module, tensors: Iterator[tuple[str, Tensor]], places: TensorMap
) -> list[str]:
    """Put published tensors into their places; return the names of those that are not finite."""
    own = network.state_dict()
    broken = []
    for name, tensor in tensors:
        if not tensor.isfinite().all():
            broken.append(name)
        place = places[name]
        parts = _rows(tensor).chunk(len(place.names))
        for target, part in zip(place.names, parts, strict=True):
            rows = _rows(own[target])
            rows[place.row : place.row + len(part)].copy_(part)
    return broken


def _allocate(network: OpenVla) -> None:
    """Give the network memory; what no published tensor fills is zero, as timm has it not."""
    network.to_empty(device="cpu")
    with torch.no_grad():
        network.vision.dino.embeddings.mask_token.zero_()
        network.vision.dino.embeddings.position_embeddings.zero_()
    # Buffers that are computed and never stored are made again: to_empty left them unset.
    siglip = network.vision.siglip.embeddings
    siglip.position_ids = torch.arange(siglip.num_positions)[None]
    network.language.model.rotary_emb = LlamaRotaryEmbedding(network.language.config)


def _has_batch_axis(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[0] == 1


def _rows(tensor: Tensor) -> Tensor:
    """Return a view whose first axis is the rows: (1, N, D) is N rows."""
    return tensor[0] if _has_batch_axis(tuple(tensor.shape)) else tensor


def _join(names: list[str]) -> str:
    return ", ".join(names)


def _layer(source: str, target: str | tuple[str, ...], out: int, width: int) -> TensorMap:
    """Return the weight and bias of a linear layer, of which several of ours may be one there."""
    names = (target,) if isinstance(target, str) else target
    return {
        f"{source}.weight": Place((out, width), tuple(f"{name}.weight" for name in names)),
        f"{source}.bias": Place((out,), tuple(f"{name}.bias" for name in names)),
    }


def _norm(source: str, target: str, width: int) -> TensorMap:
    return {
        f"{source}.{kind}": Place((width,), (f"{target}.{kind}",)) for kind in ("weight", "bias")
    }


def _patches(source: str, target: str, width: int, patch_px: int) -> TensorMap:
    return {
        f"{source}.weight": Place((width, 3, patch_px, patch_px), (f"{target}.weight",)),
        f"{source}.bias": Place((width,), (f"{target}.bias",)),
    }


def _dino(config: OpenVlaConfig) -> TensorMap:
    there, here, width = f"{_VISION}.featurizer", "vision.dino", config.dino_width
    embed = f"{here}.embeddings"
    places = {
        f"{there}.cls_token": Place((1, 1, width), (f"{embed}.cls_token",)),
        f"{there}.reg_token": Place((1, _REGISTERS, width), (f"{embed}.register_tokens",)),
        # Ours has a first row for the class token, which timm's has added to the token itself.
        f"{there}.pos_embed": Place(
            (1, config.num_patches, width), (f"{embed}.position_embeddings",), row=1
        ),
    }
    patch = f"{embed}.patch_embeddings.projection"
    places |= _patches(f"{there}.patch_embed.proj", patch, width, config.patch_px)
    for i in range(config.dino_depth):
        block, ours = f"{there}.blocks.{i}", f"{here}.encoder.layer.{i}"
        qkv = tuple(f"{ours}.attention.{name}_proj" for name in "qkv")
        places |= _norm(f"{block}.norm1", f"{ours}.norm1", width)
        places |= _layer(f"{block}.attn.qkv", qkv, 3 * width, width)
        places |= _layer(f"{block}.attn.proj", f"{ours}.attention.o_proj", width, width)
        places |= _norm(f"{block}.norm2", f"{ours}.norm2", width)
        places |= _layer(f"{block}.mlp.fc1", f"{ours}.mlp.fc1", 4 * width, width)
        places |= _layer(f"{block}.mlp.fc2", f"{ours}.mlp.fc2", width, 4 * width)
        for n in (1, 2):
            scale = Place((width,), (f"{ours}.layer_scale{n}.lambda1",))
            places[f"{block}.ls{n}.scale_factor"] = scale
    return places | _norm(f"{there}.norm", f"{here}.layernorm", width)


def _siglip(config: OpenVlaConfig) -> TensorMap:
    there, here = f"{_VISION}.fused_featurizer", "vision.siglip"
    width, mlp = config.siglip_width, config.siglip_mlp
    embed = f"{here}.embeddings"
    table = (f"{embed}.position_embedding.weight",)
    places = {f"{there}.pos_embed": Place((1, config.num_patches, width), table)}
    patch = f"{embed}.patch_embedding"
    places |= _patches(f"{there}.patch_embed.proj", patch, width, config.patch_px)
    for i in range(config.siglip_depth):
        block, ours = f"{there}.blocks.{i}", f"{here}.encoder.layers.{i}"
        qkv = tuple(f"{ours}.self_attn.{name}_proj" for name in "qkv")
        places |= _norm(f"{block}.norm1", f"{ours}.layer_norm1", width)
        places |= _layer(f"{block}.attn.qkv", qkv, 3 * width, width)
        places |= _layer(f"{block}.attn.proj", f"{ours}.self_attn.out_proj", width, width)
        places |= _norm(f"{block}.norm2", f"{ours}.layer_norm2", width)
        places |= _layer(f"{block}.mlp.fc1", f"{ours}.mlp.fc1", mlp, width)
        places |= _layer(f"{block}.mlp.fc2", f"{ours}.mlp.fc2", width, mlp)
    places |= _norm(f"{there}.norm", f"{here}.post_layernorm", width)
    return places | _pooling(f"{there}.attn_pool", f"{here}.head", width, mlp)


def _pooling(there: str, here: str, width: int, mlp: int) -> TensorMap:
    """Return SigLIP's pooling, which no action uses but every published folder holds."""
    places = {f"{there}.latent": Place((1, 1, width), (f"{here}.probe",))}
    for name, rows, row in (("q", width, 0), ("kv", 2 * width, width)):
        for kind, shape in (("weight", (rows, width)), ("bias", (rows,))):
            target = (f"{here}.attention.in_proj_{kind}",)
            places[f"{there}.{name}.{kind}"] = Place(shape, target, row)
    places |= _layer(f"{there}.proj", f"{here}.attention.out_proj", width, width)
    places |= _norm(f"{there}.norm", f"{here}.layernorm", width)
    places |= _layer(f"{there}.mlp.fc1", f"{here}.mlp.fc1", mlp, width)
    return places | _layer(f"{there}.mlp.fc2", f"{here}.mlp.fc2", width, mlp)


def _projector(config: OpenVlaConfig) -> TensorMap:
    width_in, width = config.dino_width + config.siglip_width, config.width
    sizes = ((4 * width_in, width_in), (width, 4 * width_in), (width, width))
    places: TensorMap = {}
    for i, (out, into) in enumerate(sizes, start=1):
        places |= _layer(f"projector.fc{i}", f"projector.fc{i}", out, into)
    return places


def _llama(config: OpenVlaConfig) -> TensorMap:
    width, mlp = config.width, config.mlp
    shapes = {
        "model.embed_tokens": (config.vocabulary, width),
        "lm_head": (config.vocabulary, width),
        "model.norm": (width,),
    }
    for i in range(config.depth):
        layer = f"model.layers.{i}"
        shapes |= {f"{layer}.self_attn.{name}_proj": (width, width) for name in "qkvo"}
        shapes |= {f"{layer}.mlp.{name}_proj": (mlp, width) for name in ("gate", "up")}
        shapes[f"{layer}.mlp.down_proj"] = (width, mlp)
        norms = ("input_layernorm", "post_attention_layernorm")
        shapes |= {f"{layer}.{name}": (width,) for name in norms}
    return {
        f"language_model.{name}.weight": Place(shape, (f"language.{name}.weight",))
        for name, shape in shapes.items()
    }
