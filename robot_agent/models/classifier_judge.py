"""Judges made of tiny classifiers: the most doubtful member decides.

Axis letters: B batch, T time, H height, W width, C channels.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from robot_agent.core.types import FloatArray, ImageArray
from robot_agent.models.precision import mixed_precision
from robot_agent.models.scaling import to_unit
from robot_agent.models.tiny_judge import TinyJudge
from robot_agent.models.tiny_vla import instruction_id

RISING = ("open the drawer", "put the eggplant in the yellow basket")
"""Instructions whose progress is the share that members regress, which for the drawer is its
opening and for the eggplant how far it is from sink to basket; others' is what is left of it."""

READING = "last frame, success and progress"
"""How a clip is read; part of a judge's name: read otherwise, the same weights judge otherwise."""
_PROGRESS_WEIGHT, _PROGRESS_DONE = 8.0, 0.8
"""Logits per unit of progress, and the progress that says nothing either way."""


class ClassifierJudge:
    """Success and progress by the minimum over one or more trained classifiers."""

    def __init__(self, members: Sequence[TinyJudge], instructions: Sequence[str]) -> None:
        """Take trained members and the instructions behind their outputs."""
        self._members = [member.eval() for member in members]
        self.instructions = tuple(instructions)

    @torch.no_grad()
    def assess(
        self, first: ImageArray, images: ImageArray, instruction_ids: NDArray[np.int64]
    ) -> tuple[FloatArray, FloatArray]:
        """Return success probability and progress, both (B,) in [0, 1], of picture pairs.

        Args:
            first: First pictures (B, 64, 64, 3) uint8.
            images: Pictures to be judged, same shape.
            instruction_ids: Index of each pair's instruction (B,).
        """
        a, b = to_unit(first), to_unit(images)
        rows = torch.arange(len(b))
        ids = torch.from_numpy(instruction_ids)
        rises = torch.tensor([name in RISING for name in self.instructions])[ids]
        successes, progresses = [], []
        for member in self._members:
            with mixed_precision():
                logits, share = member(a, b)
            successes.append(logits.float()[rows, ids].sigmoid())
            share = share.float().clamp(0, 1)
            progresses.append(torch.where(rises, share, 1.0 - share))
        success = torch.stack(successes).amin(dim=0).double().numpy()
        progress = torch.stack(progresses).amin(dim=0).double().numpy()
        return success, progress

    def score(self, frames_BTHWC: ImageArray, instructions: Sequence[str]) -> FloatArray:
        """Return success probabilities (B,) of clips (B, T, 64, 64, 3) by first and last frames.

        The logit of success and the progress of the last frame are added: progress is the better
        witness where the success head is unsure. Asking the frame before as well, which is on the
        border when an episode ends at success, made it worse; measured in `doc/judges.md`.
        """
        ids = np.array([instruction_id(name, self.instructions) for name in instructions])
        success, progress = self.assess(frames_BTHWC[:, 0], frames_BTHWC[:, -1], ids)
        known = np.clip(success, 1e-6, 1.0 - 1e-6)
        logit = np.log(known / (1.0 - known)) + _PROGRESS_WEIGHT * (progress - _PROGRESS_DONE)
        return np.asarray(1.0 / (1.0 + np.exp(-logit)))
