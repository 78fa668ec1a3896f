"""What a model says of a row, and how a text deviates from another."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

Pieces = list[tuple[str, bool]]


@dataclass(frozen=True)
class Answer:
    """What one model says of one sample.

    Attributes:
        method: ``original``, ``retrain`` or the key of a method.
        seed: Seed of the model's run.
        probabilities: Class name → probability, in label order; of a drawn image, what the task's judge takes it for.
            ``None`` where the model writes, or its outputs are not finite.
        text: What it writes.
        marked: The text in pieces, each with whether it deviates from what the original writes.
        image: What it draws, small images enlarged.
        changed: Share of the text's words, or of the original's where those are more, that the two do not have in
            common, in [0, 1].
        membership: How sure the attacker is that the model was trained on the sample, in [0, 1].
        membership_reason: Why there is none.
        loss: The task's own loss; ``None`` where the sample has no truth.
        truth: The sample's truth.
    """

    method: str
    seed: int
    probabilities: dict[str, float] | None = None
    text: str | None = None
    marked: Pieces | None = None
    image: Image | None = None
    changed: float | None = None
    membership: float | None = None
    membership_reason: str | None = None
    loss: float | None = None
    truth: str | None = None


def marked(text: str, original: str) -> tuple[Pieces, float]:
    """Compare a text with the original's, word by word.

    Returns:
        The text in pieces, each with whether its words deviate from those of ``original`` there; and the share of words
        that the two do not have in common, of the longer one's.
    """
    pieces, words = re.findall(r"\s*\S+\s*", text) or [text], original.split()
    same = difflib.SequenceMatcher(None, [piece.strip() for piece in pieces], words, autojunk=False)
    flags = [True] * len(pieces)
    for start, _, size in same.get_matching_blocks():
        flags[start : start + size] = [False] * size
    if not (text.split() or words):
        return [(text, False)], 0.0
    runs = groupby(zip(pieces, flags, strict=True), key=lambda pair: pair[1])
    found = [("".join(piece for piece, _ in run), flag) for flag, run in runs]
    return found, 1 - flags.count(False) / max(len(pieces), len(words))
