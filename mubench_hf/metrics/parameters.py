"""What a metric may ask for: every legal name of a parameter, and what it receives under that name."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

SPLITS = ("test", "forget", "retain")
REFERENCES = ("original", "retrain")
"""Runs with whose scores those of other runs are compared."""

SPLIT, RUN, ANY = "one split", "the run", "any"


@dataclass(frozen=True)
class Parameter:
    """One legal name, or several at once.

    Attributes:
        name: The name; ``{split}`` stands for ``test``, ``forget`` and ``retain``, ``{metric}`` for a metric's score.
        of: ``one split`` (a metric that names it scores each split by itself), ``the run`` (all splits together),
            ``any`` (either), or the reference run that it is a score of, ``original`` or ``retrain``.
        kind: Type and shape.
        meaning: What it is.
    """

    name: str
    of: str
    kind: str
    meaning: str


_MEASURED = (
    Parameter("logits", SPLIT, "float [n, C]", "outputs before softmax; of texts, two classes: the truth and all else"),
    Parameter("labels", SPLIT, "int [n]", "true classes, 0 to C - 1"),
    Parameter("predictions", SPLIT, "str [n]", "generated texts"),
    Parameter("references", SPLIT, "str [n]", "true texts"),
    Parameter("predicted_tokens", SPLIT, "int [n, positions]", "most likely token after the true tokens before it"),
    Parameter("label_tokens", SPLIT, "int [n, positions]", "true tokens, -100 where a position is not scored"),
    Parameter(
        "paraphrased_log_probs",
        SPLIT,
        "float [n]",
        "mean log-probability of the tokens of a right answer in other words, if rows have one",
    ),
    Parameter(
        "perturbed_log_probs",
        SPLIT,
        "float [n, answers]",
        "the same of wrong answers of the same form, if rows have some",
    ),
    Parameter("generated_logits", SPLIT, "float [n, C]", "a fixed classifier's outputs for generated images"),
    Parameter("generated_labels", SPLIT, "int [n]", "classes that the prompts of those images name"),
    Parameter("generated_features", SPLIT, "float [n, d]", "a fixed extractor's features of the generated images"),
    Parameter("real_features", SPLIT, "float [m, d]", "the same features of real images"),
)
_WHOSE = {"original": "of the original", "retrain": "of the model retrained with the same seed"}

PARAMETERS = (
    *_MEASURED,
    *(replace(each, name=f"{{split}}_{each.name}", of=RUN) for each in _MEASURED),
    Parameter("{split}_correctness", RUN, "float [n] in [0, 1]", "the task's own score row by row, if it has one"),
    Parameter("incompetent_forget_logits", RUN, "float [n_f, C]", "outputs of a model of random weights on D_f"),
    Parameter(
        "incompetent_forget_divergences",
        RUN,
        "float [n_f] in [0, 1]",
        "Jensen-Shannon divergence from that model in bits, where distributions are too large to keep",
    ),
    Parameter("{split}_score", RUN, "float", "the task's own score on a split"),
    *(Parameter(f"{run}_{{split}}_score", run, "float", f"that score {whose}") for run, whose in _WHOSE.items()),
    Parameter("{metric}", RUN, "float", "another metric's score"),
    *(Parameter(f"{run}_{{metric}}", run, "float", f"that score {whose}") for run, whose in _WHOSE.items()),
    Parameter("chance", ANY, "float in [0, 1]", "the task's own score of random answers"),
    Parameter("seed", ANY, "int", "seed of the run"),
    Parameter("method", ANY, "str", "key of the method, or `original`"),
)
"""Every legal name. A metric is called with what its parameters name; if that is missing, there is a reason instead."""


def legal_parameters(metrics: Collection[str]) -> dict[str, Parameter]:
    """Return every legal name with what it stands for.

    Args:
        metrics: Names of the scores that a metric may ask for in place of ``{metric}``.
    """
    found = {}
    for parameter in PARAMETERS:
        for split in SPLITS if "{split}" in parameter.name else ("",):
            for metric in metrics if "{metric}" in parameter.name else ("",):
                found[parameter.name.format(split=split, metric=metric)] = parameter
    return found


def what_is_missing(names: Iterable[str], legal: dict[str, Parameter]) -> str:
    """Return why there is no score: the parameters that have no value, and which run lacks it."""
    by_run: dict[str, list[str]] = {}
    for name in names:
        by_run.setdefault(legal[name].of, []).append(name)
    parts = [", ".join(names) + (f" {_WHOSE[run]}" if run in _WHOSE else "") for run, names in by_run.items()]
    return f"needs {' and '.join(parts)}, which this run lacks"


def parameter_table() -> str:
    """Return all legal names as a Markdown table."""
    rows = [(f"`{each.name}`", each.of, each.kind, each.meaning) for each in PARAMETERS]
    lines = [("Parameter", "Of", "Type and shape", "Meaning"), ("---",) * 4, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
