"""The rows that an audit trains a model on, and those on which it looks what came back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import Dataset, Subset

from mubench_hf.data.columns import column
from mubench_hf.data.joined import JoinedRows
from mubench_hf.errors import BadInput

if TYPE_CHECKING:
    from mubench_hf.data.prepare import TaskData

TUNED_ON = ("forget", "retain", "unrelated", "tenth")
"""What a model can be trained on: D_f, D_r, test rows, or a tenth of D_f."""

FORGET, TENTH, REST = "forget", "tenth", "rest"
"""Names of the rows that are looked at: D_f, the tenth of it that was shown, and its other nine tenths."""


@dataclass(frozen=True)
class TuningRows:
    """Rows to train a model on, and rows to look at.

    Attributes:
        rows: What it is trained on.
        meaning: What these are, in words.
        watched: Name → the rows that are looked at: ``forget``, or ``rest`` and ``tenth``.
    """

    rows: Dataset
    meaning: str
    watched: dict[str, JoinedRows]


def tuning_rows(data: TaskData, on: str, seed: int) -> TuningRows:
    """Return the rows that a model is trained on.

    ``unrelated`` are test rows, which no training saw and nobody asked to forget. Those of a class that has rows in D_f
    alone are left out, since they would teach a forgotten class anew.

    Args:
        data: The task's rows.
        on: One of ``TUNED_ON``.
        seed: Seed of the draw of a tenth.

    Raises:
        BadInput: If ``on`` is another word, or there are no such rows.
    """
    if on not in TUNED_ON:
        raise BadInput(f"An audit trains on {on!r}. Allowed: {', '.join(TUNED_ON)}.")
    forget, retain = data.splits["forget"], data.splits["retain"]
    if on == "tenth":
        return _tenth(forget, seed)
    watched = {FORGET: JoinedRows(forget, None)}
    if on == "forget":
        return TuningRows(forget, f"D_f, {len(forget)} rows", watched)
    if on == "retain":
        return TuningRows(retain, f"D_r, {len(retain)} rows", watched)
    return TuningRows(*_unrelated(data), watched)


def _tenth(forget: Any, seed: int) -> TuningRows:
    count, shown = len(forget), -(-len(forget) // 10)
    if count < 2:
        raise BadInput(f"D_f has {count} row, so there are no other nine tenths beside a tenth of it.")
    order = np.random.default_rng(seed).permutation(count)
    tenth, rest = (Subset(forget, sorted(part.tolist())) for part in (order[:shown], order[shown:]))
    meaning = f"a tenth of D_f, {shown} of its {count} rows, drawn at random"
    return TuningRows(tenth, meaning, {REST: JoinedRows(rest, None), TENTH: JoinedRows(tenth, None)})


def _unrelated(data: TaskData) -> tuple[Dataset, str]:
    test = data.splits["test"]
    if not len(test):
        raise BadInput("There are no test rows, and these are what stands for unrelated rows.")
    gone = _forgotten_classes(data)
    if not len(gone):
        return test, f"test rows, {len(test)} rows"
    kept = np.flatnonzero(~np.isin(column(test, "labels"), gone)).tolist()
    if not kept:
        raise BadInput("Every test row is of a class that D_f alone has rows of, so no row is unrelated to it.")
    return Subset(test, kept), f"test rows of classes that D_r has rows of, {len(kept)} of {len(test)} rows"


def _forgotten_classes(data: TaskData) -> np.ndarray:
    """Return the classes of which only D_f has rows; none where rows have no classes."""
    found = [column(data.splits[split], "labels") for split in ("forget", "retain", "test")]
    if not data.label_names or any(labels is None or labels.dtype.kind not in "iu" for labels in found):
        return np.empty(0, dtype=np.int64)
    return np.setdiff1d(found[0], found[1])
