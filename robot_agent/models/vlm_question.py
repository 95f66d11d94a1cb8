"""What a vision-language model is asked about a clip, and what its answer means."""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from robot_agent.core.errors import InputError
from robot_agent.core.types import ImageArray

SCORES: Mapping[str, float] = {"yes": 1.0, "partly": 0.5, "no": 0.0, "unsure": math.nan}
"""Every word that an answer may end with, and the score that it stands for."""
_VERDICT = re.compile(r"verdict\W*\b(yes|partly|no|unsure)\b", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Question:
    """One clip, put to the model once."""

    text: str
    images: tuple[ImageArray, ...]
    """Pictures (H, W, 3) uint8 RGB in the order of time."""
    is_one_word: bool
    """The answer is its first word, and how likely each word is; else a text with a verdict."""
    seed: int
    temperature: float
    max_tokens: int

    def fingerprint(self, model: str) -> str:
        """Return a digest of everything that the answer depends on, pictures and model included.

        Args:
            model: The model that is to answer.
        """
        words = [model, self.text, self.is_one_word, self.seed, self.temperature, self.max_tokens]
        digest = hashlib.sha256(json.dumps(words).encode())
        for image in self.images:
            digest.update(repr(image.shape).encode())
            digest.update(np.ascontiguousarray(image).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Answer:
    """What a model said."""

    text: str
    tokens: int
    """Read and written, for the budget."""
    model: str
    """The model that answered, as it names itself."""
    probabilities: Mapping[str, float] | None = None
    """Probability of each word of `SCORES` as the first one, when it was asked for."""


class VisionLanguageModel(Protocol):
    """Answers questions about pictures, here or at a server."""

    @property
    def name(self) -> str:
        """Return the pinned name of the weights that are asked."""

    def ask(self, question: Question) -> Answer:
        """Answer; JudgeUnavailableError when it cannot, and whether asking again may help."""


def choose_frames(length: int, count: int, turn: int = 0) -> list[int]:
    """Return at most `count` increasing indices of `length` frames, first and last among them.

    The rest are spread evenly; `turn` shifts them within their gaps, so that several votes see
    different moments between the same ends.

    Raises:
        InputError: There are fewer than two frames to be had, or wanted.
    """
    if length < 2 or count < 2:
        raise InputError(
            f"clip: {count} of {length} frames, must be at least 2 of 2: a judge compares the "
            f"first with the last. Record longer, or raise `frames`."
        )
    if length <= count:
        return list(range(length))
    gap = (length - 1) / (count - 1)
    offset = ((turn + 1) % 3 - 1) * gap / 3.0
    inner = [round(min(max(k * gap + offset, 1), length - 2)) for k in range(1, count - 1)]
    return sorted({0, *inner, length - 1})


def question_text(instruction: str, num_frames: int, partial: str, *, is_one_word: bool) -> str:
    """Return the words of the question.

    Args:
        instruction: What the arm was told.
        num_frames: Pictures that come with the words.
        partial: What counts as half done; empty when nothing does.
        is_one_word: Ask for the verdict alone instead of reasons before it.
    """
    lines = [
        f"A robot arm was told: {json.dumps(instruction)}. The {num_frames} pictures show one "
        f"attempt in the order of time; the first is before it moved, the last is how the scene "
        f"was left. Judge the end: is what was asked for true in the last picture, and was it "
        f"the arm that brought it about since the first?",
        "Rubric:",
        "- yes: fully done, and still so in the last picture.",
    ]
    if partial:
        lines.append(f"- partly: not fully done, but this much was reached: {partial}.")
    lines += [
        "- no: not done, done to another object, or done and undone again before the last "
        "picture; coming close is not enough. If nothing changed, the answer is no.",
        "- unsure: the pictures do not show it, or show what cannot be, such as things that "
        "melt, jump or appear.",
    ]
    words = ", ".join(word for word in SCORES if partial or word != "partly")
    if is_one_word:
        lines.append(f"Answer with one word only: {words}.")
    else:
        lines.append(
            f"First compare the first and the last picture in one or two sentences. Then end "
            f"with one line `Verdict: ` and one word of: {words}."
        )
    return "\n".join(lines)


def score_of_text(text: str) -> float:
    """Return the score of the last verdict in a text, whatever stands around it; NaN without."""
    found = _VERDICT.findall(text)
    return SCORES[found[-1].lower()] if found else math.nan


def score_of_words(probabilities: Mapping[str, float], least: float = 0.5) -> float:
    """Return the expected score over yes, partly and no; NaN when others are likelier.

    Args:
        probabilities: Of the words as the first of the answer; those left out count as 0.
        least: Probability that yes, partly and no must have together.
    """
    known = {w: probabilities.get(w, 0.0) for w, s in SCORES.items() if not math.isnan(s)}
    total = sum(known.values())
    if not total >= least:
        return math.nan
    return sum(SCORES[word] * p for word, p in known.items()) / total


def verdict_of(votes: Sequence[float], agreement: float) -> float:
    """Return what votes in [0, 1] or NaN agree on; NaN after a tie or too much disagreement.

    Votes fall on yes (over 0.5), partly (0.5) or no (under). The side that strictly leads must
    hold `agreement` of all votes, those that say nothing among them; the mean of that side counts.
    """
    sides: dict[int, list[float]] = {}
    for vote in votes:
        if not math.isnan(vote):
            sides.setdefault((vote > 0.5) - (vote < 0.5), []).append(vote)
    ranked = sorted(sides.values(), key=len, reverse=True)
    is_tied = len(ranked) > 1 and len(ranked[0]) == len(ranked[1])
    if not ranked or is_tied or len(ranked[0]) < agreement * len(votes):
        return math.nan
    return sum(ranked[0]) / len(ranked[0])
