"""The rows that settings are chosen on: D_r alone, cut again into train, rows to forget and rows held out.

No row of the reported D_f, at any ratio, and no test row is among them, so whatever is chosen on them has not been
chosen by what is reported.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mubench_hf.data.build import INDEX, check_rows, deletion_list
from mubench_hf.data.reading import held_out
from mubench_hf.errors import BadInput
from mubench_hf.tasks import Source, TaskSpec, Variant

if TYPE_CHECKING:
    from datasets import DatasetDict

ENDING = "-tuning"
"""What a tuning task's name adds to the task's."""

HELD_OUT_PERCENT = 20.0

LEAST_ROWS = 100
"""Train rows that have a whole percent to forget."""


def tuning_task(task: TaskSpec) -> TaskSpec:
    """Return the task on which settings for ``task`` are chosen, with the same columns, models and presets.

    Its train and test rows are D_r of the task at the largest ratio: a fifth of them, drawn with a fixed seed, is held
    out as its test set, and the rest is its train set, from which the benchmark's rule draws rows to forget of its own.

    Args:
        task: The task. Its name followed by ``-tuning`` is the name of the new one, which is not this package's, so
            that no table mixes their runs.

    Raises:
        BadInput: If the rows to forget are named: the rule would draw others, of another kind.
    """
    sources = {variant: getattr(task, variant) for variant in ("full", "mini")}
    named = next((source for source in sources.values() if source is not None and source.forget is not None), None)
    if named is not None:
        raise BadInput(
            f"The rows to forget of {task.name} are {named.forget.text}. Settings are chosen on other rows, which the "
            "benchmark's rule draws, and named rows say nothing about which these should be. Tune a task without them."
        )
    changed = {variant: source and _tuning_source(task, variant, source) for variant, source in sources.items()}
    return dataclasses.replace(
        task, name=f"{task.name}{ENDING}", title=f"{task.title}, for tuning", description=None, **changed
    )


def _tuning_source(task: TaskSpec, variant: Variant, source: Source) -> Source:
    return dataclasses.replace(
        source,
        load=partial(tuning_rows, task=task, variant=variant),
        origin=f"For choosing settings alone: D_r of these rows, cut again, without test rows: {source.origin}",
        stream=None,
        deletion_sha256=None,
        published_scores={},
    )


def tuning_rows(raw: Path | None, *, task: TaskSpec, variant: Variant) -> DatasetDict:
    """Return the rows of a tuning task: ``train`` and ``test``, both of D_r, with their upstream numbers.

    Args:
        raw: Folder of upstream files, as ``Source.load`` takes it.
        task: The task that is tuned.
        variant: ``full`` or ``mini``.

    Raises:
        BadInput: If the task's rows or its deletion list are not as they should be, or there are too few of them.
    """
    from datasets import DatasetDict

    data = task.source(variant).load(raw)
    check_rows(task, data)
    train = data["train"]
    forgotten, _ = deletion_list(task, variant, train)
    if INDEX not in train.column_names:
        train = train.add_column(INDEX, np.arange(len(train)))
    left = np.setdiff1d(np.arange(len(train)), forgotten)
    out = left[held_out(len(left), HELD_OUT_PERCENT, ())]
    rest = np.setdiff1d(left, out)
    if len(rest) < LEAST_ROWS:
        raise BadInput(
            f"{task.name} has {len(train):,} train rows. Without its {len(forgotten):,} rows to forget and "
            f"{len(out):,} that are held out, {len(rest):,} are left to choose settings on; needed: {LEAST_ROWS}."
        )
    return DatasetDict(train=train.select(rest), test=train.select(out))
