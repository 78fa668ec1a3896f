"""A task from any data, described instead of written as a file."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mubench_hf.data.inferring import ANSWERS, Columns, infer, with_classes
from mubench_hf.data.named import parse_forget
from mubench_hf.data.reading import content_sha256, held_out, read_data, share, test_rows, train_rows
from mubench_hf.errors import BadInput, unknown_name
from mubench_hf.models.foreign import writing_kind
from mubench_hf.tasks import GivenRows, TaskSpec, described_task, remember_task
from mubench_hf.tasks._sounds import read_sound
from mubench_hf.tasks._text import check_texts
from mubench_hf.trainers import UnlearningConfig
from mubench_hf.utils.registry import SAFE_KEY

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

LONGEST_NAME = 80
"""Characters of a task's name, which is a part of the names of files."""

MOST_SECONDS = 10.0
"""Seconds to which longer sounds are cut."""


def task_from_dataset(
    data: str | Path | Dataset | DatasetDict,
    *,
    label: str,
    inputs: str | Sequence[str] | None = None,
    forget: str | Path | Iterable[int] = "5%",
    test: str | Path | Dataset | None = None,
    hold_out: str | None = None,
    name: str | None = None,
    kind: str | None = None,
    model: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    recipe: Mapping[str, Any] | None = None,
) -> TaskSpec:
    """Make a task from any data: classification of text, images or sound, or answers to instructions.

    Args:
        data: A Hub id (``org/name``, ``org/name:config``), a folder, a ``.csv``, ``.json``, ``.jsonl`` or ``.parquet``
            file, or a data set. Its split ``train``, or its only one, is trained on.
        label: Label column: classes, or the texts to write. Classes that are not a ``ClassLabel`` are sorted.
        inputs: Input columns, with texts joined by line breaks; not needed if only one is possible.
        forget: ``"5%"`` for rows drawn by the benchmark's rule; a file of row numbers, row numbers, or
            ``"COLUMN=VALUE"`` for exactly those train rows.
        test: Name of the test split, or other data; default: the split ``test``.
        hold_out: Instead of a test split, the share of train to hold out, such as ``"20%"``, drawn with a fixed seed
            and never from rows that are named to be forgotten.
        name: Key of the task, after which files are named; default: the data's own name.
        kind: ``classification``, ``causal_lm`` or ``seq2seq``; not needed if columns and model tell.
        model: The model that runs use unless they name another, see ``resolve_model``.
        settings: Training arguments of every run, which override the usual ones for fine-tuning.
        recipe: Training arguments of the original alone.

    Returns:
        The task, which ``Pipeline``, ``build`` and ``make_setup`` take.

    Raises:
        BadInput: If the data cannot be read, do not tell what the task is, or have no test rows; if a row cannot be
            used; or if a setting or a row to forget does not exist.
    """
    found = read_data(data)
    train, (test_set, where) = train_rows(found), test_rows(found, test, hold_out)
    columns = infer(train, label, [inputs] if isinstance(inputs, str) else inputs, kind)
    if columns.kind == ANSWERS:
        columns = columns._replace(kind=_told_by(model, label))
    asked = parse_forget(forget, train)
    given = asked if isinstance(asked, GivenRows) else None
    key = _key(found.name) if name is None else name
    if not SAFE_KEY.fullmatch(key) or len(key) > LONGEST_NAME:
        raise BadInput(
            f"{key!r} cannot be the name of a task. Allowed: at most {LONGEST_NAME} letters, digits, '.', '_' and '-', "
            "a letter or digit first, such as --task_name reviews."
        )
    splits = _checked(_splits(train, test_set, columns, label, given, hold_out), columns, label, key)
    description = {
        "name": key,
        "kind": columns.kind,
        "modality": columns.modality,
        "inputs": list(columns.inputs),
        "label": label,
        "data": found.name or "a data set that was given in Python",
        "hub_id": found.hub_id,
        "data_sha256": content_sha256(splits),
        "test": where,
        "forget": {"text": given.text, "rows": list(given.rows)} if given else None,
        "seconds": _seconds(splits["train"], columns) if columns.modality == "audio" else None,
        "settings": _known(settings),
        "recipe": _known(recipe),
        **({"chat": True} if columns.kind == "causal_lm" else {}),
    }
    task = described_task(description, load=lambda raw: splits)
    ratio = {} if given else {"del_ratio": asked}
    source = dataclasses.replace(task.full, default_model=None if model is None else str(model), **ratio)
    return remember_task(dataclasses.replace(task, full=source))


def _told_by(model: str | Path | None, label: str) -> str:
    if model is None:
        raise BadInput(
            f"Column {label!r} holds texts to write. Name the model that writes them, or say --kind causal_lm or "
            "--kind seq2seq."
        )
    return writing_kind(model)


def _key(name: str | None) -> str:
    """Return a name that files can have, made from that of the data, without the ending of a data file."""
    if name is None:
        raise BadInput("A data set that is given in Python has no name. Give the task one: name='reviews'.")
    last = re.sub(r"\.(csv|jsonl?|parquet)$", "", name.rpartition("/")[2])
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("._-")[:LONGEST_NAME]


def _splits(
    train: Dataset, test: Dataset | None, columns: Columns, label: str, given: GivenRows | None, hold_out: str | None
) -> DatasetDict:
    """Return train and test rows with the task's columns; if rows are held out, all keep their upstream numbers."""
    import numpy as np
    from datasets import DatasetDict

    wanted = [*columns.inputs, label]
    missing = [] if test is None else [name for name in wanted if name not in test.column_names]
    if missing:
        raise BadInput(f"The test rows have no column {', '.join(missing)}; they have {', '.join(test.column_names)}.")
    train = train.select_columns(wanted)
    if test is not None:
        return DatasetDict(train=train, test=test.select_columns(wanted))
    out = held_out(len(train), share(hold_out), given.rows if given else ())
    kept = np.setdiff1d(np.arange(len(train)), out)
    return DatasetDict(
        {split: train.select(rows).add_column("index", rows) for split, rows in (("train", kept), ("test", out))}
    )


def _checked(splits: DatasetDict, columns: Columns, label: str, key: str) -> DatasetDict:
    """Return the splits with one type per column, after checking that every row has its texts and its class."""
    if columns.kind == "classification":
        splits = with_classes(splits, label)
    for name, feature in splits["train"].features.items():
        if type(splits["test"].features[name]) is not type(feature):
            raise BadInput(f"Column {name!r} is {feature} in train, but {splits['test'].features[name]} in test.")
        if splits["test"].features[name] != feature:
            splits["test"] = splits["test"].cast_column(name, feature)
    texts = [*columns.inputs] if columns.modality == "text" else []
    return check_texts(splits, texts + ([label] if columns.kind != "classification" else []), key)


def _seconds(train: Dataset, columns: Columns) -> float:
    """Return the length in seconds of every sound: that of the longest in train, at most ``MOST_SECONDS``."""
    from datasets import Audio

    name = columns.inputs[0]
    longest = 0.0
    for place, row in enumerate(train.select_columns([name]).cast_column(name, Audio(decode=False))):
        stored = row[name]
        try:
            sound, rate = read_sound(stored["path"] if stored["bytes"] is None else stored["bytes"])
        except ValueError as error:
            raise BadInput(f"Split 'train': column {name!r} cannot be decoded in row {place}: {error}.") from error
        longest = max(longest, len(sound) / rate)
    return round(min(MOST_SECONDS, longest), 3)


def _known(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(UnlearningConfig) if field.init]
    for name in settings or {}:
        if name not in names or name in ("output_dir", "seed"):
            raise unknown_name("setting", name, [each for each in names if each not in ("output_dir", "seed")])
    return dict(settings or {})
