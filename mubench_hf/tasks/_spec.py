"""What a task is: its columns, its two sources, its score and how a row becomes a model's input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from mubench_hf.errors import BadInput
from mubench_hf.tasks._commits import commit_read, dataset_commit

if TYPE_CHECKING:
    from datasets import DatasetDict

Variant = Literal["full", "mini"]
"""Which of a task's sources rows come from: the real data or the small stand-in."""

VARIANTS: tuple[Variant, ...] = ("full", "mini")

Preset = Mapping[str, Any]
"""Values of a method's config fields that a task changes."""


@dataclass(frozen=True)
class GivenRows:
    """Rows to forget that the user named, instead of those that the benchmark's rule draws.

    Attributes:
        text: How they were named, for the card: ``the row numbers in rows.txt``.
        rows: Their numbers in the upstream train set, in the order in which they were named.
    """

    text: str
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Source:
    """Where a task's rows come from, and what is known about its deletion list and originals.

    Attributes:
        load: Called with a folder of raw files or ``None``; returns a ``DatasetDict`` with ``train``, ``test`` and, if
            upstream has them, ``validation`` and ``ood``, in upstream row order, with the task's columns only.
        origin: One line saying what the rows are; printed on the card.
        licence: SPDX-like identifier of the Hub (``cc-by-4.0``, ``unknown``).
        citation: BibTeX of the data.
        layout: The upstream files, for docs/full_sources.md: what is in them, in Markdown.
        hub_id: Upstream data set on the Hub, if it has one.
        revision: Commit of ``hub_id`` to read; ``None`` if none is established: a build reads the newest, and records
            it.
        branches: Branches of ``hub_id`` to read if no commit is given, the first that can be read; ``None`` is the main
            one.
        hub_files: Files of ``hub_id`` that are read from there if a folder of raw files lacks them.
        forget: The rows to forget, if they are named; ``None`` leaves them to the benchmark's rule.
        del_ratio: Percent of train to forget by default; it has no meaning if ``forget`` is given.
        stream: Name of the published random stream the deletion list is drawn from (see ``data/splits.py``);
            ``None`` draws from a fresh one.
        deletion_sha256: Hash of the published deletion list, if there is one, which a build must reproduce.
        default_model: Name of the registered model whose original this source trains by default; ``None`` if the user
            has to name one.
        settings: Training arguments of every run on these rows, whatever its method: batch, threads, precision (by
            default bfloat16 autocast for a full source on a GPU that computes in it).
        recipe: Training arguments that make the original, in addition to ``settings``.
        presets: Method name → the config fields that this source changes for it, in addition to ``settings``.
        published_scores: Model name → published test score of the reference's original.
        differs: What its runs do otherwise than MU-Bench's published code, on purpose: a sentence each, for the cards.
        judge: For a task that generates images: ``judge(train, label_names)``, with prepared train rows, returns the
            fixed classifier. Called with images (float32 ``[images, 3, height, width]`` in [0, 1]), that returns their
            logits ``[images, classes]`` and features ``[images, width]``, float32. One with a method ``to`` is moved to
            the model's device first, by ``to(device)``.
    """

    load: Callable[[Path | None], DatasetDict]
    origin: str
    licence: str
    citation: str
    default_model: str | None
    layout: str = "-"
    hub_id: str | None = None
    revision: str | None = None
    branches: tuple[str | None, ...] = (None,)
    hub_files: tuple[str, ...] = ()
    forget: GivenRows | None = None
    del_ratio: int = 5
    stream: str | None = None
    deletion_sha256: str | None = None
    settings: Preset = field(default_factory=dict)
    recipe: Preset = field(default_factory=dict)
    presets: Mapping[str, Preset] = field(default_factory=dict)
    published_scores: Mapping[str, float] = field(default_factory=dict)
    differs: tuple[str, ...] = ()
    judge: Callable[[Any, tuple[str, ...]], Callable[[Any], tuple[Any, Any]]] | None = None

    def __post_init__(self) -> None:
        """Freeze the mappings too: a task is a constant."""
        for name in ("settings", "recipe", "presets", "published_scores"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def commit(self) -> str | None:
        """Return the commit of ``hub_id`` that is read, the same in the whole process, see ``dataset_commit``."""
        if self.revision or not self.hub_id:
            return self.revision
        return commit_read(self.hub_id) or dataset_commit(self.hub_id, self.branches[0])


@dataclass(frozen=True)
class Answers:
    """Other answers to a row than its own.

    Attributes:
        paraphrased: A right one in other words.
        perturbed: Wrong ones of the same form, as many for each row.
    """

    paraphrased: str
    perturbed: tuple[str, ...]


@dataclass(frozen=True)
class TaskSpec:
    """One benchmark task. Its file name in ``mubench_hf/tasks`` is its key.

    Attributes:
        name: Key of the task, ``cifar100``.
        title: Name for tables, ``CIFAR-100``.
        modality: What a model reads, for tables and tags (``image``).
        kind: How a row's loss and distribution are read from a model's output (``classification``).
        inputs: Names of the input columns.
        label: Name of the label column: a class, or the text to write.
        metrics: Metric modules that score predictions on a split; the first is the task's own score.
        tags: Hub ``task_categories`` of the data set.
        prepare: ``prepare(row, processor)`` returns the model's inputs for one row, with ``labels``. Images are
            decoded; audio and video come as ``{"bytes", "path"}``, so that no system decoder is needed.
        full: The real data.
        mini: Small deterministic stand-in with the same columns, made without a network; ``None`` if there is none.
        collator: ``collator(processor)`` returns what makes a batch of prepared rows; ``None`` stacks equal shapes.
        forgets_classes: Whether whole classes are forgotten, because a model is asked for a class; otherwise rows of
            every class are.
        corpus: Text columns from which a tiny model's vocabulary is made.
        max_target_tokens: Most tokens of a text to write, in training and in generation; ``None`` if none is written.
        answers: ``answers(row)`` returns other answers to a row, right and wrong; ``None`` for a row, or instead of the
            function, where there are none.
        description: For a task made from data, without a file: JSON from which it can be made again (see
            ``tasks/_described.py``).
    """

    name: str
    title: str
    modality: str
    kind: str
    inputs: tuple[str, ...]
    label: str
    metrics: tuple[str, ...]
    tags: tuple[str, ...]
    prepare: Callable[[Mapping[str, Any], Any], dict[str, Any]]
    full: Source
    mini: Source | None
    collator: Callable[[Any], Callable[[list[Any]], dict[str, Any]]] | None = None
    forgets_classes: bool = False
    corpus: tuple[str, ...] = ()
    max_target_tokens: int | None = None
    answers: Callable[[Mapping[str, Any]], Answers | None] | None = None
    description: Mapping[str, Any] | None = None

    @property
    def metric(self) -> str:
        """Metric module of the task's own score."""
        return self.metrics[0]

    def source(self, variant: Variant) -> Source:
        """Return the full source or the mini one.

        Raises:
            BadInput: If the task has no mini source, or the variant is neither.
        """
        if variant not in VARIANTS:
            raise BadInput(f"Variant {variant!r} is not known. Allowed: {', '.join(VARIANTS)}.")
        if variant == "full":
            return self.full
        if self.mini is None:
            raise BadInput(f"{self.name} has no mini source. Leave out --mini.")
        return self.mini

    def dataset_name(self, variant: Variant) -> str:
        """Return the data set's name under an organisation or a folder: ``cifar100`` or ``cifar100-mini``."""
        return f"{self.name}-mini" if variant == "mini" else self.name
