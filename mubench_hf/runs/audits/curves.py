"""What training on some rows did to a model: loss and score of D_f after so many steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mubench_hf.errors import BadInput


@dataclass(frozen=True)
class Points:
    """How a model does on some rows after so many steps.

    Attributes:
        steps: Numbers of steps, rising, from 0.
        losses: Mean loss after each, in eval mode.
        scores: The task's own score after each; ``None`` where it was not taken.
    """

    steps: tuple[int, ...] = ()
    losses: tuple[float, ...] = ()
    scores: tuple[float | None, ...] = ()

    def after(self, step: int) -> tuple[float, float | None] | None:
        """Return loss and score after a number of steps; ``None`` if nothing was measured there."""
        if step not in self.steps:
            return None
        place = self.steps.index(step)
        return self.losses[place], self.scores[place]

    def first_within(self, loss: float) -> int | None:
        """Return the first number of steps after which the loss is at most ``loss``; ``None`` if it never was."""
        return next((step for step, found in zip(self.steps, self.losses, strict=True) if found <= loss), None)


@dataclass(frozen=True)
class Curve:
    """What training on some rows did to a model.

    Attributes:
        on: What it was trained on, one of ``TUNED_ON``.
        meaning: What these rows are, in words.
        watched: Name of the rows that were looked at (``forget``, or ``rest`` and ``tenth``) → the points.
        stopped: Why training ended before all steps were made, if it diverged.
    """

    on: str
    meaning: str
    watched: dict[str, Points] = field(default_factory=dict)
    stopped: str | None = None

    @property
    def main(self) -> Points:
        """The points of the rows that the model was not shown: those of D_f, or of its other nine tenths."""
        return next(iter(self.watched.values()))

    def to_dict(self) -> dict[str, Any]:
        """Return the curve as plain JSON types."""
        watched = {name: {key: list(each) for key, each in asdict(at).items()} for name, at in self.watched.items()}
        return {"on": self.on, "meaning": self.meaning, "watched": watched, "stopped": self.stopped}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Curve:
        """Return the curve that ``to_dict`` wrote, whoever wrote it since.

        Raises:
            BadInput: If it is none.
        """
        try:
            watched = {name: _points(content["watched"][name]) for name in sorted(content["watched"])}
            texts = [content["on"], content["meaning"], *watched]
            stopped = content["stopped"]
            if not watched or not all(isinstance(text, str) for text in (*texts, stopped or "")):
                raise ValueError("a name is no text, or nothing was looked at")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BadInput(f"A part of an audit is no curve ({error!r}). Audit again.") from error
        return cls(content["on"], content["meaning"], watched, stopped)


def _points(content: Mapping[str, Any]) -> Points:
    steps, losses, scores = (tuple(content[name]) for name in ("steps", "losses", "scores"))
    known = [score for score in scores if score is not None]
    numbers = all(type(value) in (int, float) and math.isfinite(value) for value in (*losses, *known))
    rising = steps[:1] == (0,) and all(type(step) is int for step in steps) and list(steps) == sorted(set(steps))
    if not (numbers and rising and len(steps) == len(losses) == len(scores)):
        raise ValueError("steps, losses and scores do not belong together")
    return Points(steps, losses, scores)
