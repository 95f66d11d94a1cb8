"""The tiny policy as ONNX: export in fp32 and int8, held against torch, and run without torch.

Axis letters: B batch, K action of the chunk (5), A dimension (7), V bin of a token, C H W picture.
"""

import contextlib
import copy
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor
from torch.nn import functional as F

from robot_agent.core.bridge_action import Normalization
from robot_agent.core.config import require_range
from robot_agent.core.errors import InputError
from robot_agent.core.types import ACTION_DIM, ImageArray
from robot_agent.models.scaling import to_unit
from robot_agent.models.tiny_policy import CHUNK, TinyPolicy

Precision = Literal["fp32", "int8"]
OPSET = 20
_SIZE_PX = 64
_INPUTS = ("image", "instruction")
_OUTPUT = "logits"


@dataclass(frozen=True, kw_only=True)
class OnnxCheckConfig:
    """How far an exported policy may be from its torch weights."""

    tolerance: tuple[float, ...] = (2e-3, 2e-3, 2e-3, 0.01, 0.01, 0.01, 0.05)
    """Largest difference of the expected action per dimension [m m m rad rad rad opening]."""
    max_variation: float = 0.1
    """Largest total variation between the distributions of one token: the probability that the
    same random numbers draw another token."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if len(self.tolerance) != ACTION_DIM:
            raise ValueError(f"tolerance has {len(self.tolerance)} values, must be {ACTION_DIM}")
        for value in self.tolerance:
            require_range("tolerance", value, 0.0, 0.05)
        require_range("max_variation", self.max_variation, 0.0, 1.0)


LIMITS: Mapping[Precision, OnnxCheckConfig] = {
    "fp32": OnnxCheckConfig(tolerance=(1e-5,) * ACTION_DIM, max_variation=1e-3),
    "int8": OnnxCheckConfig(),
}
"""What each precision must keep: fp32 the rounding of another order of sums, int8 a twentieth of
the largest steps."""


@dataclass(frozen=True)
class OnnxCheck:
    """How far an exported policy is from its torch weights."""

    expected: tuple[float, ...]
    """Largest difference of the expected action per dimension [m, rad, opening]."""
    variation: float
    """Largest total variation of a token's distribution."""
    tokens_equal: float
    """Share of tokens whose most likely value is the same."""

    def require(self, config: OnnxCheckConfig, name: str) -> None:
        """Raise InputError when a difference is over its limit, or is no number."""
        values = [*self.expected, self.variation]
        limits = [*config.tolerance, config.max_variation]
        names = [f"the expected action's dimension {i}" for i in range(ACTION_DIM)]
        names.append("a token's probabilities")
        for what, value, limit in zip(names, values, limits, strict=True):
            if not value <= limit:
                raise InputError(
                    f"{name}: {what} differs from torch by {value:.2e}, limit {limit:g}. Nothing "
                    f"was written: choose --precision fp32, or look at the weights."
                )


class OnnxLogits:
    """The exported network, called like the torch one. One thread at a time."""

    def __init__(self, model: bytes, *, threads: int = 1, name: str = "policy.onnx") -> None:
        """Read a model from bytes that were checked by hash before.

        Raises:
            InputError: They are no model, or one of other inputs or outputs.
        """
        self._session = _open_session(model, threads, name)
        inputs = {node.name: node.shape[1:] for node in self._session.get_inputs()}
        outputs = {node.name: node.shape[1:] for node in self._session.get_outputs()}
        shape = outputs.get(_OUTPUT, [])
        if inputs != {"image": [3, _SIZE_PX, _SIZE_PX], "instruction": []} or shape[:2] != [
            CHUNK,
            ACTION_DIM,
        ]:
            raise InputError(
                f"{name}: maps {inputs} to {outputs}, must be the tiny policy's pictures "
                f"{[3, _SIZE_PX, _SIZE_PX]} to tokens {[CHUNK, ACTION_DIM]}. Export it again."
            )
        self.bins = int(shape[2])

    def __call__(self, image_BCHW: Tensor, instruction_B: Tensor) -> Tensor:
        """Return logits (B, 5, 7, bins) for pictures in [0, 1] and instruction ids."""
        feed = dict(zip(_INPUTS, (image_BCHW.numpy(), instruction_B.numpy()), strict=True))
        return torch.from_numpy(self._session.run([_OUTPUT], feed)[0])

    def bin_centers(self) -> Tensor:
        """Return the centres (bins,) of the bins in [-1, 1]."""
        return torch.linspace(-1, 1, self.bins)


def export_policy(
    network: TinyPolicy,
    images: ImageArray,
    instruction_ids: Sequence[int],
    *,
    precision: Precision = "fp32",
    config: OnnxCheckConfig | None = None,
) -> tuple[bytes, OnnxCheck]:
    """Return the network as an ONNX file, and how far it is from torch on these observations.

    int8 quantises the weights of the matrix products and leaves the convolutions, which run
    faster in fp32.

    Args:
        network: Trained weights; left as they are.
        images: Observations to compare on (B, 64, 64, 3) uint8.
        instruction_ids: Of each picture.
        precision: fp32 or int8.
        config: Limits of the difference.

    Raises:
        InputError: It disagrees with torch by more than `config`, or `LIMITS`, allows.
    """
    network = copy.deepcopy(network).eval()
    model = _to_onnx(network)
    if precision == "int8":
        model = _quantize(model)
    check = compare_policies(network, OnnxLogits(model), images, instruction_ids)
    check.require(config or LIMITS[precision], f"policy.onnx ({precision})")
    return model, check


@torch.no_grad()
def compare_policies(
    network: TinyPolicy, exported: OnnxLogits, images: ImageArray, instruction_ids: Sequence[int]
) -> OnnxCheck:
    """Return how far the exported network is from torch on pictures (B, 64, 64, 3) uint8."""
    images_BCHW, instruction_B = to_unit(images), torch.tensor(list(instruction_ids))
    theirs = exported(images_BCHW, instruction_B)
    ours = network(images_BCHW, instruction_B)
    p, q = F.softmax(ours.double(), dim=-1), F.softmax(theirs.double(), dim=-1)
    centers = network.bin_centers().double()
    expected = [Normalization().unnormalize((d @ centers).numpy()) for d in (p, q)]
    apart = np.abs(expected[0] - expected[1]).max(axis=(0, 1))
    return OnnxCheck(
        expected=tuple(float(value) for value in apart),
        variation=float((p - q).abs().sum(dim=-1).max() / 2.0),
        tokens_equal=float((ours.argmax(dim=-1) == theirs.argmax(dim=-1)).double().mean()),
    )


def _open_session(model: bytes, threads: int, name: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    # Threads that wait by spinning take the cores of the guard and the camera.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except _session_errors() as error:
        reason = str(error).splitlines()[0][:120]
        raise InputError(
            f"{name}: is no ONNX model ({reason}). Export it again: robot-agent policy export"
        ) from error


def _to_onnx(network: TinyPolicy) -> bytes:
    example = (torch.zeros(2, 3, _SIZE_PX, _SIZE_PX), torch.zeros(2, dtype=torch.long))
    batch = torch.export.Dim("batch")
    with tempfile.TemporaryDirectory() as folder, _quiet_exporter():
        path = Path(folder) / "policy.onnx"
        torch.onnx.export(
            network,
            example,
            str(path),
            input_names=list(_INPUTS),
            output_names=[_OUTPUT],
            dynamic_shapes=({0: batch}, {0: batch}),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        return path.read_bytes()


def _quantize(model: bytes) -> bytes:
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder, _quiet_exporter():
        plain, ready, small = (Path(folder) / f"{name}.onnx" for name in ("a", "b", "c"))
        plain.write_bytes(model)
        quant_pre_process(str(plain), str(ready))
        quantize_dynamic(
            str(ready),
            str(small),
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            weight_type=QuantType.QInt8,
        )
        return small.read_bytes()


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep the advice of the exporter and the quantiser out of the user's terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _session_errors() -> tuple[type[Exception], ...]:
    """Return what a session raises for a file that is no model: pybind's own classes."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented")
    return (RuntimeError, *(getattr(state, name) for name in names))
