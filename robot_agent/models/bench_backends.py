"""What can run the tiny policy's design, each made on demand: torch three ways, ONNX two."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from robot_agent.models.onnx_policy import OnnxLogits, Precision
from robot_agent.models.tiny_policy import TinyPolicy
from robot_agent.models.tiny_vla import MODEL_SIZE_PX, ActionLogits

COMPILED, BFLOAT16 = "torch_compiled", "torch_bf16"


class Bfloat16Logits:
    """The torch network with its matrix products and convolutions in bfloat16."""

    def __init__(self, network: TinyPolicy) -> None:
        """Take a trained network; set to evaluation mode here."""
        self._network = network.eval()

    def __call__(self, image_BCHW: Tensor, instruction_B: Tensor) -> Tensor:
        """Return logits as float32."""
        with torch.autocast("cpu", torch.bfloat16):
            logits: Tensor = self._network(image_BCHW, instruction_B).float()
        return logits

    def bin_centers(self) -> Tensor:
        """Return the centres of the bins."""
        return self._network.bin_centers()


class CompiledLogits:
    """The torch network through torch.compile, which needs a C++ compiler on a CPU."""

    def __init__(self, network: TinyPolicy) -> None:
        """Take a trained network; it is compiled at its first call of a batch size."""
        torch._dynamo.reset()  # what was compiled for another number of threads
        self._network = network.eval()
        self._compiled = torch.compile(network, dynamic=False)

    def __call__(self, image_BCHW: Tensor, instruction_B: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self._compiled(image_BCHW, instruction_B)
        return logits

    def bin_centers(self) -> Tensor:
        """Return the centres of the bins."""
        return self._network.bin_centers()


def backends(
    network: Callable[[], TinyPolicy], exported: Callable[[Precision], bytes], threads: int
) -> dict[str, Callable[[], ActionLogits]]:
    """Return what makes each backend, by name; nothing is read or built before it is called.

    Args:
        network: Returns the weights in torch.
        exported: Returns the export of a precision.
        threads: Of ONNX Runtime; torch has those of its process.
    """
    made: dict[str, Callable[[], ActionLogits]] = {
        "torch_fp32": lambda: network().eval(),
        BFLOAT16: lambda: Bfloat16Logits(network()),
    }
    kinds: tuple[Precision, ...] = ("fp32", "int8")
    for kind in kinds:
        made[f"onnx_{kind}"] = partial(_onnx, exported, kind, threads)
    return {**made, COMPILED: lambda: CompiledLogits(network())}


def _onnx(exported: Callable[[Precision], bytes], kind: Precision, threads: int) -> ActionLogits:
    return OnnxLogits(exported(kind), threads=threads)


@torch.no_grad()
def forward(backend: ActionLogits, batch: int) -> Tensor:
    """Return the logits of a batch of grey pictures."""
    image = torch.full((batch, 3, MODEL_SIZE_PX, MODEL_SIZE_PX), 0.5)
    return backend(image, torch.zeros(batch, dtype=torch.long))
