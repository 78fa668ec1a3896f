"""Rows of a data set as a model's inputs; each row is prepared once, and kept in memory or in a table on disk."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from transformers import default_data_collator

import mubench_hf
from mubench_hf.data.joined import JoinedRows
from mubench_hf.data.loading import load_manifest, load_split, train_texts
from mubench_hf.data.prepared_rows import PreparedRows
from mubench_hf.data.split_rows import SplitRows
from mubench_hf.data.stored_rows import StoredRows, is_whole

if TYPE_CHECKING:
    import datasets

    from mubench_hf.tasks import Answers, TaskSpec, Variant

TRAIN = ("forget", "retain")
"""Splits that are together the train set."""


def prepare_rows(
    rows: datasets.Dataset, task: TaskSpec, processor: Any, stored: StoredRows | None = None
) -> PreparedRows:
    """Return ``rows`` prepared as the task says, with a model's processor; see ``PreparedRows``."""
    return PreparedRows(rows, partial(task.prepare, processor=processor), label=task.label, stored=stored)


def _prepared_splits(
    splits: Mapping[str, datasets.Dataset], task: TaskSpec, processor: Any, folder: Path, made_of: Mapping[str, str]
) -> dict[str, PreparedRows]:
    """Return all splits, prepared. Those of train share one table, which so serves every ratio."""
    found = {}
    for name, parts in {"train": TRAIN, **{name: (name,) for name in splits if name not in TRAIN}}.items():
        rows = {part: _undecoded(splits[part]) for part in parts}
        indices = [np.asarray(each["index"]) for each in rows.values() if "index" in each.column_names]
        stored = None
        if len(indices) == len(rows) and is_whole(indices):
            source = SplitRows(list(rows.values()), indices, task.prepare, processor)
            stored = StoredRows(source, folder / f"rows-{name}", {**made_of, "split": name}, name)
        for part, each in rows.items():
            found[part] = prepare_rows(each, task, processor, stored)
    return {name: found[name] for name in splits}


@dataclass(frozen=True)
class TaskData:
    """A task's splits at one deletion ratio, prepared for one model.

    Attributes:
        task: The task.
        variant: Where the rows come from.
        ratio: Percent of train to forget; ``None`` if the rows to forget are named.
        splits: ``forget``, ``retain``, ``test`` and any others.
        manifest: The data set's ``mubench.json``.
        label_names: Class names in label order; empty if rows have no classes.
        processor: What the rows are prepared with.
        collator: Makes a batch of prepared rows.
        cache_dir: Folder for models' outputs on these rows, prepared this way, and for the prepared rows if they are
            many.
    """

    task: TaskSpec
    variant: Variant
    ratio: int | None
    splits: Mapping[str, PreparedRows]
    manifest: Mapping[str, Any]
    label_names: tuple[str, ...]
    processor: Any
    collator: Callable[[list[Any]], dict[str, Any]]
    cache_dir: Path

    @property
    def max_target_tokens(self) -> int | None:
        """Most tokens of a text to write."""
        return self.task.max_target_tokens

    @property
    def answers(self) -> Callable[[Mapping[str, Any]], Answers | None] | None:
        """What returns other answers to a row, see ``TaskSpec``; ``None`` if rows have none."""
        return self.task.answers

    @cached_property
    def judge(self) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """The fixed classifier of generated images, the same at every ratio; see ``Source.judge``."""
        train = JoinedRows(self.splits["forget"], self.splits["retain"])
        return self.task.source(self.variant).judge(train, self.label_names)


def load_task_data(
    task: TaskSpec,
    *,
    variant: Variant,
    ratio: int | None,
    processor: Callable[[list[str]], Any],
    out: Path | str = ".",
    org: str = "mubench",
    revision: str | None = None,
) -> TaskData:
    """Load the splits at ``ratio`` and prepare their rows with a model's processor.

    Args:
        task: The task.
        variant: ``full`` or ``mini``.
        ratio: Percent of train to forget, 1 to 10; ``None`` if the rows to forget are named.
        processor: Called with the train set's texts, returns the model's processor.
        out: Folder the data set was built in; outputs of models are kept in ``out/.cache``.
        org: Organisation on the Hub whose data set is read if none was built.
        revision: Revision there.

    Raises:
        BadInput: If the ratio is not allowed or the data set is missing.
    """
    splits = load_split(task, variant=variant, ratio=ratio, out=out, org=org, revision=revision)
    manifest = load_manifest(task, variant=variant, out=out, org=org, revision=revision)
    made = processor(train_texts(task, splits))
    how = hashlib.sha256(f"{_content(made)} {mubench_hf.__version__}".encode()).hexdigest()
    cache = Path(out, ".cache", f"{task.dataset_name(variant)}-{manifest['fingerprint'][:12]}-{how[:12]}")
    return TaskData(
        task,
        variant,
        ratio,
        _prepared_splits(splits, task, made, cache, {"rows": manifest["fingerprint"], "how": how}),
        manifest,
        tuple(getattr(splits["retain"].features[task.label], "names", ())),
        made,
        task.collator(made) if task.collator else default_data_collator,
        cache,
    )


def _undecoded(rows: datasets.Dataset) -> datasets.Dataset:
    """Return the rows with audio and video as stored bytes: `datasets` would need a system decoder."""
    from datasets import Audio, Video

    for name, feature in rows.features.items():
        if isinstance(feature, Audio | Video):
            rows = rows.cast_column(name, replace(feature, decode=False))
    return rows


def _content(processor: Any) -> str:
    """Return everything a processor saves, as text."""
    tokenizer = getattr(getattr(processor, "tokenizer", processor), "backend_tokenizer", None)
    if tokenizer is not None:  # A processor also saves how it was last called, which every call sets anew.
        tokenizer.no_truncation()
        tokenizer.no_padding()
    with tempfile.TemporaryDirectory() as folder:
        processor.save_pretrained(folder)
        files = sorted(file for file in Path(folder).rglob("*") if file.is_file())
        return "".join(f"{file.relative_to(folder)}\n{file.read_text(encoding='utf-8')}\n" for file in files)
