"""Prompts and answers in rows of tokens, and other answers in their places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mubench_hf.errors import BadInput
from mubench_hf.kinds._labels import like
from mubench_hf.kinds._losses import IGNORED

FILLERS = {"attention_mask": 0, "labels": IGNORED}
"""What stands in a column where a row is padded; in others, what it is padded with, or 0."""


@dataclass(frozen=True)
class TokenRow:
    """A row of tokens without its padding.

    Attributes:
        columns: Those with one entry per token, ``[tokens, ...]`` each.
        left: Number of places that are padded before the text.
        right: Number of places that are padded after it.
        fillers: What those places hold, by column.
        answers: First token and the one after the last of each answer, in order: a run of tokens with labels. The first
            token of a text, which nothing predicts, is no part of one.
    """

    columns: Mapping[str, np.ndarray]
    left: int
    right: int
    fillers: Mapping[str, Any]
    answers: tuple[tuple[int, int], ...]

    @property
    def length(self) -> int:
        """Number of tokens."""
        return len(self.columns["input_ids"])


def token_row(row: Mapping[str, Any]) -> TokenRow:
    """Read a prepared row of a model that continues texts.

    Raises:
        BadInput: If there are no labels or no scored token, padding is inside the text or scored, or several texts are
            packed into the row.
    """
    missing = [name for name in ("input_ids", "labels") if name not in row]
    if missing:
        raise BadInput(
            f"A row has {', '.join(map(str, row))} but no {' and no '.join(missing)}, so it does not tell a prompt "
            "from its answer, which a random target would replace. Give every row labels that are -100 over its prompt."
        )
    ids = np.asarray(row["input_ids"])
    columns = {name: np.asarray(value) for name, value in row.items() if _is_per_token(value, len(ids))}
    mask = columns.get("attention_mask", np.ones(len(ids), dtype=int))
    if "labels" not in columns or ids.ndim != 1 or mask.ndim != 1:
        raise BadInput(
            f"A row has input_ids of shape {list(ids.shape)} and labels of shape {list(np.shape(row['labels']))}; "
            "expected one label per token, -100 over the prompt."
        )
    places = np.flatnonzero(mask)
    if not len(places) or not (mask[places[0] : places[-1] + 1] == 1).all():
        raise BadInput(
            "A row's attention_mask is not one run of ones, so its padding stands inside the text, or it packs several "
            "texts. Random targets need one text per row, padded at one end."
        )
    left, right = int(places[0]), len(ids) - 1 - int(places[-1])
    inside = slice(left, len(ids) - right)
    scored = columns["labels"] != IGNORED
    if scored[:left].any() or scored[inside.stop :].any():
        raise BadInput("A row has labels where its attention_mask is 0. Give padding the label -100.")
    fillers = {name: values[0 if left else -1] for name, values in columns.items() if left or right}
    scored = scored[inside]
    scored[0] = False  # Nothing before it predicts it.
    edges = np.flatnonzero(np.diff(scored, prepend=False, append=False))
    text = {name: values[inside] for name, values in columns.items()}
    return TokenRow(text, left, right, fillers, tuple(map(tuple, edges.reshape(-1, 2).tolist())))


def answers_of(row: TokenRow) -> list[dict[str, np.ndarray]]:
    """Return each answer's part of every column."""
    return [{name: values[first:end] for name, values in row.columns.items()} for first, end in row.answers]


def with_answers(row: Mapping[str, Any], donor: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row in which each answer is one of another row's: its first in the place of the first, and so on.

    If the other row has fewer, its answers are taken in turn again. What stands before, between and after the answers
    keeps its order, and padding its side. A row that is padded, or stands beside one that is, keeps its length: it is
    padded less or more, or cut off at its end. Columns with an entry per token change with the tokens.

    Raises:
        BadInput: If a row cannot be read, has no answer, no room for another answer, or has a column that
            the other lacks.
    """
    text, other = token_row(row), token_row(donor)
    for one, whose in ((text, "forget_dataset"), (other, "retain_dataset")):
        if not one.answers:
            raise BadInput(
                f"A row of {whose} has no label but -100 after its first token, which nothing predicts, so there is no "
                "answer that could be exchanged."
            )
    if "position_ids" in text.columns:
        _check_counted(text)
    missing = [name for name in text.columns if name not in other.columns]
    if missing:
        raise BadInput(
            f"A row of forget_dataset has {', '.join(missing)} for each token, but the row of retain_dataset whose "
            "answer it takes has not. Give both data sets the same columns."
        )
    donated = answers_of(other)
    made = {name: _spliced(name, text, donated) for name in text.columns}
    length = len(made["input_ids"])
    if "position_ids" in made:
        made["position_ids"] = np.arange(length) + text.columns["position_ids"][0]
    whole = text.left + text.length + text.right
    if text.left or text.right or other.left or other.right:
        keep = min(length, whole)
        if keep <= text.answers[0][0]:
            raise BadInput(
                f"A row is {whole} places long and its prompt takes {text.answers[0][0]} of them, so there is no room "
                "for a random target. Pad rows to a greater length."
            )
        fill = whole - keep
        left = bool(text.left) or (not text.right and bool(other.left))
        fillers = {**other.fillers, **text.fillers, **FILLERS}
        made = {name: _filled(values[:keep], fillers[name], fill, left) for name, values in made.items()}
    return {**row, **{name: like(values, row[name]) for name, values in made.items()}}


def _is_per_token(value: Any, length: int) -> bool:
    shape = np.shape(value) if isinstance(value, list | tuple | np.ndarray) or hasattr(value, "new_tensor") else ()
    return len(shape) == 1 and shape[0] == length


def _spliced(name: str, text: TokenRow, answers: list[dict[str, np.ndarray]]) -> np.ndarray:
    parts, at = [], 0
    for number, (first, end) in enumerate(text.answers):
        parts += [text.columns[name][at:first], answers[number % len(answers)][name]]
        at = end
    return np.concatenate([*parts, text.columns[name][at:]])


def _filled(values: np.ndarray, filler: Any, count: int, left: bool) -> np.ndarray:
    filling = np.full(count, filler, dtype=values.dtype)
    return np.concatenate([filling, values] if left else [values, filling])


def _check_counted(text: TokenRow) -> None:
    positions = text.columns["position_ids"]
    if (np.diff(positions) != 1).any():
        raise BadInput(
            "A row's position_ids do not count its tokens one by one, as where several texts are packed into one row. "
            "Random targets need one text per row."
        )
