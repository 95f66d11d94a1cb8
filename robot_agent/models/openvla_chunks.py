"""OpenVLA-OFT as the network that practice updates, through an adapter or whole.

Axis letters: B batch, K action of the chunk, A dimension (7), C H W picture.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from robot_agent.core.errors import InputError
from robot_agent.core.types import FloatArray
from robot_agent.models.chunk_policy import ChunkPolicy
from robot_agent.models.openvla import OpenVla
from robot_agent.models.openvla_images import PictureConfig, prepare_picture
from robot_agent.models.openvla_lora import AdapterConfig, add_adapter
from robot_agent.models.openvla_policy import Encode, prompt_ids
from robot_agent.models.openvla_statistics import Bounds
from robot_agent.models.precision import mixed_precision
from robot_agent.models.scaling import to_bytes
from robot_agent.models.tiny_policy import CHUNK


class OpenVlaChunks(ChunkPolicy):
    """A network that decodes all tokens of a chunk at once; logits are those of `parallel_logits`.

    Frozen parts below the adapter keep nothing for the gradient, and with `checkpointing` the
    blocks of the language model and of both encoders are computed again instead of kept.
    """

    def __init__(
        self,
        network: OpenVla,
        encode: Encode,
        actions: Bounds,
        instructions: Sequence[str],
        *,
        adapter: AdapterConfig | None = None,
        checkpointing: bool = True,
        picture: PictureConfig | None = None,
    ) -> None:
        """Take a loaded network without state; with an `adapter`, freeze it and train that alone.

        Raises:
            InputError: The network takes a measured state, which imagined pictures do not have.
        """
        super().__init__()
        if network.proprio is not None:
            raise InputError(
                "policy: takes a measured state, practice has pictures alone. Use weights without."
            )
        self.base_hash = "" if adapter is None else add_adapter(network, adapter)
        self.network = network
        self._prompts = [prompt_ids(encode, instruction) for instruction in instructions]
        self._statistics, self._picture = actions, picture or PictureConfig()
        if checkpointing:
            _recompute(network)

    def forward(self, image_BCHW: Tensor, instruction_B: Tensor) -> Tensor:
        """Return logits (B, 5, 7, 256)."""
        pictures = [prepare_picture(image, self._picture) for image in to_bytes(image_BCHW)]
        prompts = [self._prompts[i] for i in instruction_B.tolist()]
        with mixed_precision():
            context = self.network.context(torch.stack(pictures))
            logits = self.network.parallel_logits(context, prompts, CHUNK)
        return logits.float().cpu()

    @property
    def num_instructions(self) -> int:
        """Number of instruction ids."""
        return len(self._prompts)

    def bin_centers(self) -> Tensor:
        """Return the value (256,) of every bin."""
        return self.network.bin_centers()

    def bridge_actions(self, tokens_BKA: Tensor) -> FloatArray:
        """Return Bridge actions (..., 7) by the statistics of the weights."""
        return self._statistics.unnormalize(self.bin_centers().numpy()[tokens_BKA.numpy()])


def _recompute(network: OpenVla) -> None:
    """Keep no activations inside blocks while a gradient is asked for.

    transformers recomputes in training mode only. Without dropout that mode is otherwise the same
    as evaluation, which is checked here.
    """
    parts: tuple[Any, ...] = (network.language, network.vision.dino, network.vision.siglip)
    dropping = [
        name
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Dropout) and module.p > 0.0
    ]
    if dropping:
        raise InputError(
            f"policy: {', '.join(dropping[:3])} drop activations, none may: rollout and update "
            f"must agree. Set the adapter's dropout to 0, or checkpointing to false."
        )
    for part in parts:
        part.activation_checkpointing_enable({"use_reentrant": False})
        part.train()
