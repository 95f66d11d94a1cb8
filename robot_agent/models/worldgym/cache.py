"""Keys and values of past frames, kept across frames and across denoising steps.

Axis letters: N rows of the batch times patches, h heads, S slots, T frames, D channels of a head.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def causal_window(queries_T: Tensor, keys_S: Tensor, window: int) -> Tensor:
    """Return which frame sees which (T, S): itself and the `window` - 1 before it, none later."""
    age_TS = queries_T[:, None] - keys_S[None, :]
    return (age_TS >= 0) & (age_TS < window) & (keys_S >= 0)


class FrameCache:
    """A ring of frames for each temporal layer.

    A frame that is written again replaces itself, so the steps that denoise a frame overwrite one
    another and the clean frame has the last word. Each frame's keys were made from frames before
    it only, hence they never change later and nothing is ever computed twice.
    """

    def __init__(self, window: int, slots: int, *, is_causal: bool = True) -> None:
        """Make an empty ring.

        Args:
            window: Frames that a frame sees, itself included.
            slots: Frames kept; at least `window` - 1 and all those of one call.
            is_causal: Without it every frame sees every other one in the ring, as the published
                sampler does by mistake.
        """
        self._window, self._is_causal = window, is_causal
        self._frames_S = torch.full((slots,), -1, dtype=torch.long)
        self._keys: dict[int, Tensor] = {}
        self._values: dict[int, Tensor] = {}
        self._slots: slice | Tensor = slice(0, 0)
        self._used = 0

    def begin(self, first: int, count: int) -> Tensor | None:
        """Make room for frames first .. first + count - 1; return who sees whom, None for all."""
        frames_T = torch.arange(first, first + count)
        slots_T = frames_T % len(self._frames_S)
        start, is_wrapped = int(slots_T[0]), bool(slots_T[-1] < slots_T[0])
        self._slots = slots_T if is_wrapped else slice(start, start + count)  # a slice is faster
        self._frames_S[self._slots] = frames_T
        self._used = min(len(self._frames_S), max(self._used, first + count))
        frames_S = self._frames_S[: self._used]
        if not self._is_causal:
            return None
        mask_TS = causal_window(frames_T, frames_S, self._window)
        return None if bool(mask_TS.all()) else mask_TS

    def put(self, layer: int, keys_NhTD: Tensor, values_NhTD: Tensor) -> tuple[Tensor, Tensor]:
        """Write the frames of `begin`; return keys and values (N, h, S, D) of all there are."""
        if layer not in self._keys:
            N, h, _, D = keys_NhTD.shape
            shape = (N, h, len(self._frames_S), D)
            self._keys[layer] = keys_NhTD.new_zeros(shape)
            self._values[layer] = values_NhTD.new_zeros(shape)
        keys, values = self._keys[layer], self._values[layer]
        keys[:, :, self._slots] = keys_NhTD
        values[:, :, self._slots] = values_NhTD
        return keys[:, :, : self._used], values[:, :, : self._used]

    def keep(self, rows: Sequence[int], batch: int) -> None:
        """Go on with these rows of a batch of `batch` only."""
        if not batch:
            return
        index = torch.tensor(list(rows), dtype=torch.long)
        for kept in (self._keys, self._values):
            for layer, tensor in kept.items():
                by_row = tensor.unflatten(0, (batch, len(tensor) // batch))
                kept[layer] = by_row[index].flatten(0, 1)

    @property
    def bytes(self) -> int:
        """Memory that the ring holds."""
        both = (*self._keys.values(), *self._values.values())
        return sum(tensor.nbytes for tensor in both)
