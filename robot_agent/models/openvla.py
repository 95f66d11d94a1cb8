"""OpenVLA and OpenVLA-OFT out of transformers' own DINOv2, SigLIP and Llama.

Axis letters: B batch, L prompt, P patches of all pictures, D width of the language model, K action
of the chunk, A dimension (7), V bin of a token, S whole sequence, C H W picture.

Facts: arXiv 2406.09246 and 2502.19645, and the public code of both.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    LlamaConfig,
    LlamaForCausalLM,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from robot_agent.core.config import require_range
from robot_agent.core.errors import InputError
from robot_agent.core.types import ACTION_DIM

BINS = 256
"""Action tokens: the last ids of the text vocabulary, the last id being the lowest bin."""
STOP_TOKEN = 2
"""The end of a sequence in Llama's vocabulary; OFT sees it behind the action slots."""


@dataclass(frozen=True, kw_only=True)
class OpenVlaConfig:
    """Sizes of the network; the defaults are those of openvla-7b."""

    image_px: int = 224
    patch_px: int = 14
    dino_width: int = 1024
    dino_depth: int = 24
    dino_heads: int = 16
    siglip_width: int = 1152
    siglip_depth: int = 27
    siglip_heads: int = 16
    siglip_mlp: int = 4304
    width: int = 4096
    depth: int = 32
    heads: int = 32
    mlp: int = 11008
    vocabulary: int = 32064
    """Rows of the token table: the text vocabulary and `padding`."""
    padding: int = 64
    """Rows behind the text vocabulary that no text uses."""
    norm_eps: float = 1e-6
    """Of Llama's norms; what transformers 4.40 takes when the published file is silent."""

    def __post_init__(self) -> None:
        """Check what the parts need of each other."""
        require_range("vocabulary", self.vocabulary, BINS + self.padding, 1 << 20)
        if self.image_px % self.patch_px:
            raise ValueError(f"image_px={self.image_px} is no multiple of {self.patch_px}")

    @property
    def num_patches(self) -> int:
        """Patches of one picture."""
        return int((self.image_px // self.patch_px) ** 2)

    @property
    def text_vocabulary(self) -> int:
        """Number of text tokens; the last 256 of them are actions."""
        return self.vocabulary - self.padding


DrawTokens = Callable[[Tensor], Tensor]
"""Draws bins (...,) from logits (..., 256)."""


class FusedVision(nn.Module):
    """Patches of DINOv2 and SigLIP side by side, each from its second to last block, unnormed."""

    def __init__(self, config: OpenVlaConfig) -> None:
        """Build both encoders whole, so that every published tensor has its place."""
        super().__init__()
        size = {"image_size": config.image_px, "patch_size": config.patch_px}
        self.dino = Dinov2WithRegistersModel(
            Dinov2WithRegistersConfig(
                hidden_size=config.dino_width,
                num_hidden_layers=config.dino_depth,
                num_attention_heads=config.dino_heads,
                **size,
            )
        )
        # The published SigLIP is timm's, whose GELU is exact; transformers' default is a tanh.
        self.siglip = SiglipVisionModel(
            SiglipVisionConfig(
                hidden_size=config.siglip_width,
                intermediate_size=config.siglip_mlp,
                num_hidden_layers=config.siglip_depth,
                num_attention_heads=config.siglip_heads,
                hidden_act="gelu",
                **size,
            )
        )

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """Return patches (B, P, both widths) of pictures (B, 6, H, W): DINOv2's, then SigLIP's."""
        for_dino, for_siglip = pixels_BCHW.split(3, dim=1)
        dino = self.dino.embeddings(for_dino)
        for block in self.dino.encoder.layer[:-1]:
            dino = block(dino)
        siglip = self.siglip.embeddings(for_siglip)
        for block in self.siglip.encoder.layers[:-1]:
            siglip = block(siglip, attention_mask=None)
        prefix = 1 + self.dino.config.num_register_tokens
        return torch.cat([dino[:, prefix:], siglip], dim=-1)


class Projector(nn.Module):
    """From the width of the patches to that of the language model."""

    def __init__(self, width_in: int, width: int) -> None:
        """Three layers, the first four times as wide as the patches."""
        super().__init__()
        self.fc1 = nn.Linear(width_in, 4 * width_in)
        self.fc2 = nn.Linear(4 * width_in, width)
        self.fc3 = nn.Linear(width, width)

    def forward(self, patches: Tensor) -> Tensor:
        """Map (..., width in) to (..., width)."""
        hidden: Tensor = self.fc3(F.gelu(self.fc2(F.gelu(self.fc1(patches)))))
        return hidden


class ProprioProjector(nn.Module):
    """OFT's optional state: one token behind the patches."""

    def __init__(self, width: int, state_dim: int = ACTION_DIM) -> None:
        """Two layers."""
        super().__init__()
        self.fc1 = nn.Linear(state_dim, width)
        self.fc2 = nn.Linear(width, width)

    def forward(self, state: Tensor) -> Tensor:
        """Map states (B, 7), scaled to [-1, 1], to (B, width)."""
        hidden: Tensor = self.fc2(F.gelu(self.fc1(state)))
        return hidden


class OpenVla(nn.Module):
    """Pictures and prompts to logits of action tokens, one by one or all at once."""

    def __init__(self, config: OpenVlaConfig, *, has_proprio: bool = False) -> None:
        """Build an untrained network; inside `torch.device("meta")` it costs no memory."""
        super().__init__()
        self.config = config
        self.vision = FusedVision(config)
        self.projector = Projector(config.dino_width + config.siglip_width, config.width)
        self.proprio = ProprioProjector(config.width) if has_proprio else None
        self.language = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=config.vocabulary,
                hidden_size=config.width,
                intermediate_size=config.mlp,
                num_hidden_layers=config.depth,
                num_attention_heads=config.heads,
                rms_norm_eps=config.norm_eps,
                pad_token_id=config.text_vocabulary,
                tie_word_embeddings=False,
            )
        )

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights outside quantised layers."""
        return self.projector.fc3.bias.dtype

    def bin_centers(self) -> Tensor:
        """Return the value (256,) of every bin in [-1, 1].

        256 edges have 255 centres: the two highest bins share one, as in the published code.
        """
        edges = torch.linspace(-1, 1, BINS, dtype=torch.float64)
        centers = (edges[:-1] + edges[1:]) / 2.0
        return torch.cat([centers, centers[-1:]])

    def action_ids(self) -> Tensor:
        """Return the token ids (256,) of the bins, lowest bin first."""
        device = self.projector.fc3.bias.device
        return self.config.text_vocabulary - 1 - torch.arange(BINS, device=device)

    def context(self, pixels_BCHW: Tensor, state_BA: Tensor | None = None) -> Tensor:
        """Return what the language model sees of the world (B, P, D).

        Args:
            pixels_BCHW: 6 channels a picture, prepared by `openvla_images`.
            state_BA: Scaled states (B, 7) where the network takes them.
        """
        if (state_BA is None) != (self.proprio is None):
            wanted = "no state" if self.proprio is None else "a state (B, 7)"
            raise InputError(f"state: these weights take {wanted}. Check the policy's settings.")
        pictures = pixels_BCHW.to(self.projector.fc3.bias).split(6, dim=1)
        seen = self.projector(torch.cat([self.vision(picture) for picture in pictures], dim=1))
        if self.proprio is None or state_BA is None:
            return seen
        token = self.proprio(state_BA.to(seen))
        return torch.cat([seen, token[:, None]], dim=1)

    def parallel_logits(
        self, context_BPD: Tensor, prompts: Sequence[Sequence[int]], num_actions: int
    ) -> Tensor:
        """Return OFT's logits (B, K, 7, 256): every token of the chunk in one pass.

        The action slots are zeros, a stop token follows them, and every position sees every
        other: OFT's language model has no causal mask. A position tells the token behind it.
        """
        slots = num_actions * ACTION_DIM
        lengths = torch.tensor([len(prompt) for prompt in prompts])
        ids = torch.full((len(prompts), int(lengths.max()) + slots + 1), STOP_TOKEN)
        is_slot = torch.zeros_like(ids, dtype=torch.bool)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt)] = torch.as_tensor(prompt)
            is_slot[row, len(prompt) : len(prompt) + slots] = True
        num_seen = context_BPD.shape[1]
        ends = num_seen + lengths + slots + 1
        is_key = torch.arange(num_seen + ids.shape[1])[None] < ends[:, None]
        mask = is_key[:, None, None].expand(-1, 1, is_key.shape[1], -1)
        device = context_BPD.device
        hidden = self.language.model(
            inputs_embeds=self._sequence(context_BPD, ids.to(device), is_slot.to(device)),
            attention_mask=mask.to(device),
            use_cache=False,
        ).last_hidden_state
        first = (num_seen + lengths - 1)[:, None] + torch.arange(slots)[None]
        picked = hidden.gather(1, first.to(device)[..., None].expand(-1, -1, hidden.shape[-1]))
        return self._bins(picked).unflatten(1, (num_actions, ACTION_DIM))

    def causal_logits(
        self, context_BPD: Tensor, prompts: Sequence[Sequence[int]], bins_BA: Tensor
    ) -> Tensor:
        """Return OpenVLA's logits (B, 1, 7, 256) of each token given those before it."""
        ids = self._with_actions(prompts, bins_BA[:, :-1]).to(context_BPD.device)
        embedded = self._sequence(context_BPD, ids, None)
        hidden = self.language.model(inputs_embeds=embedded, use_cache=False).last_hidden_state
        return self._bins(hidden[:, -ACTION_DIM:])[:, None]

    def decode(
        self,
        context_BPD: Tensor,
        prompts: Sequence[Sequence[int]],
        draw: DrawTokens,
    ) -> tuple[Tensor, Tensor]:
        """Draw one action, token by token, each seeing those before it.

        Returns:
            Bins (B, 1, 7) and the logits (B, 1, 7, 256) that they were drawn from.
        """
        ids = self._with_actions(prompts, torch.zeros(len(prompts), 0, dtype=torch.long))
        embedded = self._sequence(context_BPD, ids.to(context_BPD.device), None)
        cache, logits, drawn = None, [], []
        for _ in range(ACTION_DIM):
            out = self.language.model(
                inputs_embeds=embedded, past_key_values=cache, use_cache=True
            )
            cache = out.past_key_values
            logits.append(self._bins(out.last_hidden_state[:, -1:]))
            drawn.append(draw(logits[-1]))
            ids = self.action_ids()[drawn[-1].to(embedded.device)]
            embedded = self.language.model.embed_tokens(ids)
        return torch.cat(drawn, dim=1)[:, None], torch.cat(logits, dim=1)[:, None]

    def _with_actions(self, prompts: Sequence[Sequence[int]], bins: Tensor) -> Tensor:
        lengths = {len(prompt) for prompt in prompts}
        if len(lengths) != 1:
            raise InputError(
                f"prompts of {sorted(lengths)} tokens, must be equally long in one batch. "
                f"Decode one instruction at a time."
            )
        return torch.cat([torch.as_tensor(prompts), self.action_ids().cpu()[bins.cpu()]], dim=1)

    def _sequence(self, context: Tensor, ids: Tensor, is_slot: Tensor | None) -> Tensor:
        """Put the context behind the first token; slots become zeros."""
        embedded = self.language.model.embed_tokens(ids)
        if is_slot is not None:
            embedded = embedded.masked_fill(is_slot[..., None], 0.0)
        return torch.cat([embedded[:, :1], context, embedded[:, 1:]], dim=1)

    def _bins(self, hidden: Tensor) -> Tensor:
        """Return logits (..., 256) of the action tokens only: no text can be drawn."""
        logits: Tensor = self.language.lm_head(hidden)[..., self.action_ids()]
        return logits.float()
