"""Rows of a data set as a model's inputs; each row is prepared once."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import Dataset
from transformers import default_data_collator

import mubench_hf
from mubench_hf.data.joined import JoinedRows
from mubench_hf.data.loading import load_manifest, load_split, train_texts
from mubench_hf.errors import BadInput

if TYPE_CHECKING:
    import datasets

    from mubench_hf.tasks import TaskSpec, Variant

MEMORY_BUDGET = 1 << 30
"""Bytes of prepared tensors kept per data set; rows beyond it are prepared at each access."""


class PreparedRows(Dataset):
    """Map-style data set of prepared rows, kept in memory while they fit.

    Preparation must be deterministic: a row is decoded and processed only when first read.

    Args:
        rows: Data set of raw rows; columns ``index`` and ``label``, where present, are exposed as arrays.
        prepare: Maps one decoded row to the model's inputs (tensors and numbers) with ``labels``.
        memory_budget: Bytes of tensors to keep.
    """

    def __init__(self, rows: datasets.Dataset, prepare: Callable[[Mapping[str, Any]], dict[str, Any]], *,
                 label: str = "label", memory_budget: int = MEMORY_BUDGET):  # fmt: skip
        self.rows, self.prepare = rows, prepare
        self.index = np.asarray(rows["index"]) if "index" in rows.column_names else None
        self.labels = np.asarray(rows[label]) if label in rows.column_names else None
        self._kept: dict[int, dict[str, Any]] = {}
        self._budget = memory_budget

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def __getitem__(self, position: int) -> dict[str, Any]:
        """Return the inputs of one row.

        Raises:
            BadInput: If an image in it cannot be decoded, naming its index.
        """
        position = int(position)
        if position in self._kept:
            return self._kept[position]
        try:
            row = self.rows[position]  # Images are decoded here.
        except (OSError, SyntaxError) as error:
            index = position if self.index is None else self.index[position]
            raise BadInput(f"The row at index {index} cannot be decoded: {error}. Build the data set again.") from error
        try:
            inputs = self.prepare(row)
        except BadInput:
            raise
        except Exception as error:  # A processor checks little of its own settings, so it may be any.
            index = position if self.index is None else self.index[position]
            said = (str(error).splitlines() or [""])[0]
            raise BadInput(
                f"The row at index {index} cannot be made into a model's inputs ({type(error).__name__}: {said}). "
                "Check the processor beside the model, and the task's `prepare`."
            ) from error
        size = sum(value.nbytes for value in inputs.values() if hasattr(value, "nbytes"))
        if size <= self._budget:
            self._budget -= size
            self._kept[position] = inputs
        return inputs


def prepare_rows(rows: datasets.Dataset, task: TaskSpec, processor: Any) -> PreparedRows:
    """Return ``rows`` prepared as the task says, with a model's processor."""
    return PreparedRows(rows, partial(task.prepare, processor=processor), label=task.label)


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
        cache_dir: Folder for models' outputs on these rows, prepared this way.
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
    return TaskData(
        task,
        variant,
        ratio,
        {name: prepare_rows(_undecoded(rows), task, made) for name, rows in splits.items()},
        manifest,
        tuple(getattr(splits["retain"].features[task.label], "names", ())),
        made,
        task.collator(made) if task.collator else default_data_collator,
        Path(out, ".cache", f"{task.dataset_name(variant)}-{manifest['fingerprint'][:12]}-{how[:12]}"),
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
