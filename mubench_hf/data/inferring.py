"""What a task asks, inferred from the features of its columns; what they do not tell has to be given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mubench_hf.data.parquet import column
from mubench_hf.errors import BadInput, unknown_name

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

ANSWERS = "answers"
"""Stands for the kind of a task with texts to write until the model's kind, ``causal_lm`` or ``seq2seq``, is known."""

KINDS = ("classification", "causal_lm", "seq2seq")

ROWS_OF_A_CLASS, ROWS_OF_AN_ANSWER = 10, 2
"""Texts are classes if each is the label of at least this many rows on average; otherwise they may be answers."""


class Columns(NamedTuple):
    """What a task asks.

    Attributes:
        kind: Kind of the task, or ``ANSWERS``.
        modality: ``text``, ``image`` or ``audio``.
        inputs: Input columns.
    """

    kind: str
    modality: str
    inputs: tuple[str, ...]


def infer(train: Dataset, label: str, inputs: Sequence[str] | None, kind: str | None) -> Columns:
    """Return what a task with this label asks.

    Args:
        train: Train rows with all columns.
        label: Label column.
        inputs: Input columns; ``None`` if only one choice is possible.
        kind: Kind of the task; ``None`` if the label tells.

    Raises:
        BadInput: If a column is missing or cannot be used, or the columns do not tell.
    """
    if kind not in (None, *KINDS):
        raise unknown_name("kind", kind, KINDS)
    for name in (label, *(inputs or ())):
        if name not in train.column_names:
            raise unknown_name("column", name, train.column_names)
    inputs = _inputs(train, label, inputs)
    modality = _modality(train, inputs)
    found = kind or ("classification" if modality != "text" else _label_kind(train, label))
    if found != "classification" and modality != "text":
        raise BadInput(f"Answers are only written to texts, but {', '.join(inputs)} is {modality}. Leave --kind out.")
    if found != "classification" and not is_text(train.features[label]):
        raise BadInput(f"Column {label!r} is {train.features[label]}. An answer to write has to be a text.")
    return Columns(found, modality, inputs)


def is_text(feature: Any) -> bool:
    """Return whether a column holds texts."""
    return getattr(feature, "dtype", None) in ("string", "large_string")


def _inputs(train: Dataset, label: str, inputs: Sequence[str] | None) -> tuple[str, ...]:
    from datasets import Audio, Image

    if inputs:
        if label in inputs or len(set(inputs)) < len(inputs) or "index" in (label, *inputs):
            raise BadInput(
                f"The inputs {', '.join(inputs)} and the label {label} have to be different columns, and none may be "
                "called 'index', which is a row's number here. Rename it."
            )
        return tuple(inputs)
    others = [name for name in train.column_names if name not in (label, "index")]
    media = [name for name in others if isinstance(train.features[name], Audio | Image)]
    texts = [name for name in others if is_text(train.features[name])]
    found = media or texts
    if len(found) != 1:
        raise BadInput(
            f"Beside {label!r}, the columns that can be inputs are {', '.join(found) or 'none'} (of "
            f"{', '.join(others) or 'none'}). Say which: --inputs COLUMN."
        )
    return tuple(found)


def _modality(train: Dataset, inputs: tuple[str, ...]) -> str:
    from datasets import Audio, Image

    features = [train.features[name] for name in inputs]
    if all(map(is_text, features)):
        return "text"
    if len(inputs) == 1 and isinstance(features[0], Audio | Image):
        return "image" if isinstance(features[0], Image) else "audio"
    shown = ", ".join(f"{name} ({type(feature).__name__})" for name, feature in zip(inputs, features, strict=True))
    raise BadInput(f"The inputs are {shown}. Allowed: one image, one sound, or texts.")


def _label_kind(train: Dataset, label: str) -> str:
    """Return whether a label column holds classes or answers."""
    if not is_text(train.features[label]):
        return "classification"
    distinct, rows = len(column(train, label).unique()), len(train)
    if distinct * ROWS_OF_A_CLASS <= rows:
        return "classification"
    if distinct * ROWS_OF_AN_ANSWER > rows:
        return ANSWERS
    raise BadInput(
        f"Column {label!r} has {distinct:,} different texts in {rows:,} rows: they may be classes or answers. "
        f"Say which: --kind {', '.join(KINDS)}."
    )


def with_classes(splits: DatasetDict, label: str) -> DatasetDict:
    """Return the splits with the label as ``ClassLabel``: texts, whole numbers and booleans in ascending order.

    Raises:
        BadInput: If a label is missing, of another type or no class of train, naming split and row.
    """
    from datasets import ClassLabel, DatasetDict

    train = splits["train"].features[label]
    values = {split: _values(rows, label, split) for split, rows in splits.items()}
    if isinstance(train, ClassLabel):
        names = train.names
    else:
        if isinstance(next(iter(values["train"]), None), float):
            raise BadInput(f"Column {label!r} holds {train}. Allowed: ClassLabel, texts, whole numbers or booleans.")
        names = [str(value) for value in sorted(set(values["train"]))]
    if len(names) < 2:
        raise BadInput(f"Column {label!r} has {len(names)} class in train ({', '.join(names)}). A task needs two.")
    numbers = {name: number for number, name in enumerate(names)}
    made = DatasetDict()
    for split, rows in splits.items():
        unknown = next((place for place, value in enumerate(values[split]) if str(value) not in numbers), None)
        if unknown is not None:
            raise BadInput(
                f"Split {split!r}: column {label!r} is {values[split][unknown]!r} in row {unknown}, which is no class "
                f"of train. Allowed: {', '.join(names[:20])}{', ...' if len(names) > 20 else ''}."
            )
        labels = np.array([numbers[str(value)] for value in values[split]], dtype=np.int64)
        made[split] = rows.remove_columns(label).add_column(label, labels, feature=ClassLabel(names=names))
    return made


def _values(rows: Dataset, label: str, split: str) -> list[Any]:
    """Return the labels of a split, of classes their names."""
    from datasets import ClassLabel

    feature, values = rows.features[label], column(rows, label).to_pylist()
    if any(isinstance(value, dict | list | bytes) for value in values[:1]):
        raise BadInput(f"Column {label!r} is {feature}. Allowed: ClassLabel, texts, whole numbers or booleans.")
    classes = isinstance(feature, ClassLabel)
    for place, value in enumerate(values):
        if value is None or (classes and not 0 <= value < feature.num_classes):
            what = "empty" if value is None else f"{value}, not 0 to {feature.num_classes - 1}"
            raise BadInput(
                f"Split {split!r}: column {label!r} is {what} in row {place}. Every row needs a label; leave such rows "
                "out, or name other test rows with --test."
            )
    return [feature.names[value] for value in values] if classes else values
