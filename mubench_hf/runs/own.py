"""Scores of any model on any rows: no task, no run, no folder."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import Dataset

from mubench_hf.data.columns import LABELS, column
from mubench_hf.errors import BadInput, visible
from mubench_hf.kinds import Kind, kind_of
from mubench_hf.kinds._losses import IGNORED
from mubench_hf.kinds.measures import get_measure
from mubench_hf.metrics import Metric, get_metric, metrics_by_score, score_metric
from mubench_hf.metrics.parameters import outputs_of
from mubench_hf.runs.choice import choose
from mubench_hf.runs.references import on_same_rows
from mubench_hf.runs.result import RunResult
from mubench_hf.runs.scores import score

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedModel

DEFAULTS = {
    "classification": ("accuracy",),
    "causal_lm": ("rouge_l", "token_accuracy", "reference_probability"),
    "seq2seq": ("rouge_l", "token_accuracy", "reference_probability"),
}
"""Kind → the metrics that score one of its splits, the main one first."""


@dataclass(frozen=True)
class Evaluation:
    """What ``evaluate`` found.

    Attributes:
        scores: Score name → value, or ``None`` if it cannot be computed.
        reasons: For each score that is ``None``, why.
        outputs: What the scores are computed from: for each split ``<split>_logits``, ``<split>_labels`` and more.
        seconds: Wall seconds of unlearning, as given.
    """

    scores: dict[str, float | None]
    reasons: dict[str, str]
    outputs: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    seconds: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return scores and reasons as plain types, for JSON."""
        return {"scores": dict(self.scores), "reasons": dict(self.reasons)}

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per score, with the columns ``score``, ``value`` (NaN where it is missing) and ``reason``."""
        import pandas as pd

        rows = [(name, value, self.reasons.get(name)) for name, value in self.scores.items()]
        frame = pd.DataFrame(rows, columns=["score", "value", "reason"])
        return frame.astype({"value": float})

    def __str__(self) -> str:
        """Return the scores as a table: split, score, value, and which way is better or why there is none."""
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        best = {"higher": "higher is better", "lower": "lower is better", "match_retrained": "as the retrained model's"}
        known, table = metrics_by_score(), Table("Score", "Value", "", box=SIMPLE_HEAD)
        for name, value in self.scores.items():
            metric = score_metric(name, known)
            way = "" if metric is None or name.startswith("forget_") else best[metric.direction]
            way = best["match_retrained"] if name.startswith("forget_") else way
            number = "–" if value is None else f"{value:.4f}"
            table.add_row(*map(Text, (visible(name), number, visible(self.reasons.get(name, way)))))
        console = Console(width=120, no_color=True)
        with console.capture() as captured:
            console.print(table, markup=False, highlight=False)
        return captured.get().rstrip()


def evaluate(
    model: PreTrainedModel,
    *,
    forget: Sequence[Mapping[str, Any]] | Dataset,
    retain: Sequence[Mapping[str, Any]] | Dataset,
    test: Sequence[Mapping[str, Any]] | Dataset,
    original: PreTrainedModel | Evaluation | RunResult | Mapping[str, float | None] | None = None,
    retrain: PreTrainedModel | Evaluation | RunResult | Mapping[str, float | None] | None = None,
    metrics: Sequence[str | Path | ModuleType | Metric] | None = None,
    processing_class: Any = None,
    data_collator: Callable[[list[Any]], Mapping[str, Any]] | None = None,
    seconds: float | None = None,
    seed: int = 42,
    method: str = "custom",
    max_new_tokens: int | None = None,
) -> Evaluation:
    """Score a model: is D_f forgotten, is the rest still known, and can an attacker tell?

    One forward pass over each set gives every score of the benchmark that the model's kind and the arguments allow.
    The model is not changed, and stays on its device.

    Args:
        model: A classifier, causal language model or encoder-decoder, with or without adapters.
        forget: D_f: any map-style data set whose rows are the model's inputs with ``labels``.
        retain: D_r.
        test: Rows that the model was never trained on.
        original: The model before unlearning, or its scores, for the scores that compare with it; an ``Evaluation``
            also brings its outputs.
        retrain: A model retrained without D_f, or its scores, the gold reference of most scores.
        metrics: What to compute, see ``get_metric``; default: what every run of the benchmark computes.
        processing_class: Tokenizer or processor; a model that writes needs it.
        data_collator: Makes a batch of rows; default: as for ``Trainer``.
        seconds: Wall seconds that unlearning took, such as ``trainer.unlearn_seconds``.
        seed: Seed of the untrained model that ``zrf`` compares with, and of the attacks' draws.
        method: Key of the method, for the scores that judge methods differently.
        max_new_tokens: Most tokens of a written text; default: those of the longest label.

    Raises:
        BadInput: If a set is empty or shared with another, a row has no label, the model is of a kind that is not
            supported, or a metric is unknown.
    """
    kind = kind_of(model)
    if kind.key not in DEFAULTS:
        raise BadInput(
            f"{type(model).__name__} is of the kind {kind.key}, which has no scores without a task. Supported here: "
            f"{', '.join(DEFAULTS)}."
        )
    wanted = None if metrics is None else [get_metric(reference) for reference in metrics]
    rows = {"forget": forget, "retain": retain, "test": test}
    data = _own_rows(model, kind, rows, processing_class, data_collator, max_new_tokens)

    own = [metric.key for metric in wanted or () if metric.of_split] or DEFAULTS[kind.key]
    asked = [metric.key for metric in wanted or ()]
    choice, references, kept = choose(own, asked), {}, {}

    def scored(model: Any, method: str, seconds: float | None = None) -> Evaluation:
        with TemporaryDirectory() as tables:
            data.cache_dir = Path(tables)
            outputs = get_measure(kind.key).measure(model, data, seed, wanted=choice.arrays(method))
            outputs = {name: np.array(values) for name, values in outputs.items()}  # Some are in temporary files.
        load = {name: partial(dict, theirs) for name, theirs in kept.items()}
        sources = {outputs_of(name): on_same_rows(outputs, name, each) for name, each in load.items()}
        scores, reasons = score(
            outputs,
            metrics=own,
            method=method,
            seed=seed,
            seconds=seconds,
            asked=asked,
            sources=sources,
            **references,
        )
        return Evaluation(scores, reasons, outputs, seconds)

    for name, given in (("retrain", retrain), ("original", original)):
        found: Any = given
        if given is not None and not isinstance(given, Evaluation | RunResult | Mapping):
            if kind_of(given) is not kind:
                raise BadInput(f"{name} is a {type(given).__name__}, of another kind than {type(model).__name__}.")
            found = scored(given, name)
        if isinstance(found, Evaluation):
            kept[name] = found.outputs
        if found is not None:
            references[name] = found if isinstance(found, Mapping) else found.scores
    found = scored(model, method, seconds)
    if wanted is None:
        return found
    chosen = [name for name in found.scores if _is_of(name, wanted)]
    scores = {name: found.scores[name] for name in chosen}
    reasons = {name: why for name, why in found.reasons.items() if name in scores}
    return Evaluation(scores, reasons, found.outputs, seconds)


def _is_of(name: str, metrics: Sequence[Metric]) -> bool:
    metric = score_metric(name, metrics_by_score())
    return metric is not None and metric.key in {each.key for each in metrics}


class OwnRows(Dataset):
    """The caller's rows as the model takes them, without columns that it does not know.

    Args:
        rows: The rows.
        accepted: Columns that the model takes; ``None`` for all.
        labels: What is compared: classes or texts.
    """

    def __init__(self, rows: Any, accepted: frozenset[str] | None, labels: np.ndarray):
        self.rows, self.accepted, self.labels = rows, accepted, labels

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def __getitem__(self, position: int) -> dict[str, Any]:
        """Return one row's inputs and label."""
        row = self.rows[int(position)]
        return {name: value for name, value in row.items() if self.accepted is None or name in self.accepted}


@dataclass
class OwnData:
    """The caller's rows in the form in which splits are measured, see ``TaskData``."""

    splits: dict[str, OwnRows]
    processor: Any
    collator: Callable[[list[Any]], Mapping[str, Any]]
    max_target_tokens: int | None
    answers: None = None
    ratio: int = 0
    cache_dir: Path = Path()


def _own_rows(
    model: Any, kind: Kind, rows: Mapping[str, Any], processor: Any, collator: Any, max_new_tokens: int | None
) -> OwnData:
    _check_sets(rows)
    tokenizer = getattr(processor, "tokenizer", processor)
    if not kind.label_is_class and tokenizer is None:
        raise BadInput(f"A {type(model).__name__} writes texts. Give its tokenizer as processing_class.")
    accepted = _accepted(model)
    splits, longest = {}, 0
    for split, given in rows.items():
        if kind.label_is_class:
            labels = _classes(split, given, getattr(model.config, "num_labels", None))
        else:
            tokens = [_label(split, position, given[position]) for position in range(len(given))]
            tokens = [np.asarray(each)[np.asarray(each) != IGNORED] for each in tokens]
            longest = max(longest, *(len(each) for each in tokens))
            labels = np.asarray(tokenizer.batch_decode([each.tolist() for each in tokens], skip_special_tokens=True))
        splits[split] = OwnRows(given, accepted, labels)
    collate = collator or _default_collator(kind, tokenizer)
    return OwnData(splits, processor, collate, None if kind.label_is_class else max_new_tokens or longest)


def _check_sets(rows: Mapping[str, Any]) -> None:
    for split, given in rows.items():
        if given is None or len(given) == 0:
            raise BadInput(f"{split} is {'missing' if given is None else 'empty'}; scores need at least one row of it.")
    for one, other in (("forget", "retain"), ("forget", "test"), ("retain", "test")):
        if rows[one] is rows[other]:
            raise BadInput(f"{one} and {other} are the same data set; scores compare different rows.")


def _accepted(model: Any) -> frozenset[str] | None:
    """Return the columns that a model takes; ``None`` if its forward pass names none."""
    bare = model.get_base_model() if hasattr(model, "get_base_model") else model
    parameters = inspect.signature(bare.forward).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    return None if takes_any and len(parameters) <= 1 else frozenset((*parameters, *LABELS))


def _label(split: str, position: int, row: Mapping[str, Any]) -> Any:
    for name in LABELS:
        if name in row:
            return row[name]
    raise BadInput(
        f"Row {position} of {split} has {', '.join(row)} but none of {', '.join(LABELS)}: it cannot be scored."
    )


def _classes(split: str, rows: Any, num_labels: int | None) -> np.ndarray:
    """Return the class of each row; a stored column is read without preparing the rows, unless a transform makes it."""
    transformed = (getattr(rows, "format", None) or {}).get("type") == "custom"
    labels = None if transformed else column(rows, *LABELS)
    if labels is None:
        labels = np.asarray([int(_label(split, position, rows[position])) for position in range(len(rows))])
    wrong = np.flatnonzero((labels < 0) | (labels >= (num_labels or np.inf)))
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or len(wrong):
        first = f"label {labels[wrong[0]]} in row {wrong[0]}" if labels.ndim == 1 and len(wrong) else "other labels"
        raise BadInput(f"{split} has {first}; allowed: one class per row, 0 to {(num_labels or 1) - 1}.")
    return labels


def _default_collator(kind: Kind, tokenizer: Any) -> Callable[[list[Any]], Mapping[str, Any]]:
    """Return the default collator, which pads if there is a tokenizer, as for ``Trainer``."""
    from transformers import (
        DataCollatorForSeq2Seq,
        DataCollatorWithPadding,
        PreTrainedTokenizerBase,
        default_data_collator,
    )

    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        return default_data_collator
    return DataCollatorWithPadding(tokenizer) if kind.label_is_class else DataCollatorForSeq2Seq(tokenizer)
