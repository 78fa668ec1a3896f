"""What a metric may ask for: every legal name of a parameter, and what it receives under that name.

This is also the one list of the arrays that a run may keep, see ``kept_outputs``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from functools import cache

SPLITS = ("test", "forget", "retain")
REFERENCES = ("original", "retrain")
"""Runs with whose scores and outputs those of other runs are compared."""

SPLIT, RUN, ANY = "one split", "the run", "any"

ROWS, SEED = "rows", "seed"


@dataclass(frozen=True)
class Parameter:
    """One legal name, or several at once.

    Attributes:
        name: The name; ``{split}`` stands for ``test``, ``forget`` and ``retain``, ``{metric}`` for a metric's score.
        of: ``one split`` (a metric that names it scores each split by itself), ``the run`` (all splits together),
            ``any`` (either); or where else it comes from: ``original`` and ``retrain`` (a score of that run),
            ``original outputs`` and ``retrain outputs`` (an array that it kept), or another source's name.
        kind: Type and shape.
        meaning: What it is.
        shared: For an array that says nothing of the model: ``rows`` if all runs on the same rows have the same one,
            ``seed`` if those of the same seed do.
        only: For an array that not every run can have: of which there is one; a part of the reason where it is missing.
    """

    name: str
    of: str
    kind: str
    meaning: str
    shared: str = ""
    only: str = ""


def outputs_of(reference: str) -> str:
    """Return what ``Parameter.of`` calls the outputs that a reference run kept."""
    return f"{reference} outputs"


OTHER_ANSWERS = "measured on request, and only where a task has other answers to its rows, right and wrong ones"

_OF_SPLITS = (
    Parameter("logits", SPLIT, "float [n, C]", "outputs before softmax; of texts, two classes: the truth and all else"),
    Parameter("labels", SPLIT, "int [n]", "true classes, 0 to C - 1", ROWS),
    Parameter("predictions", SPLIT, "str [n]", "generated texts"),
    Parameter("references", SPLIT, "str [n]", "true texts", ROWS),
    Parameter("predicted_tokens", SPLIT, "int [n, positions]", "most likely token after the true tokens before it"),
    Parameter("label_tokens", SPLIT, "int [n, positions]", "true tokens, -100 where a position is not scored", ROWS),
    Parameter(
        "paraphrased_log_probs",
        SPLIT,
        "float [n]",
        "mean log-probability of the tokens of a right answer in other words, if rows have one",
        only=OTHER_ANSWERS,
    ),
    Parameter(
        "perturbed_log_probs",
        SPLIT,
        "float [n, answers]",
        "the same of wrong answers of the same form, if rows have some",
        only=OTHER_ANSWERS,
    ),
    Parameter("generated_logits", SPLIT, "float [n, C]", "a fixed classifier's outputs for generated images"),
    Parameter("generated_labels", SPLIT, "int [n]", "classes that the prompts of those images name", ROWS),
    Parameter("generated_features", SPLIT, "float [n, d]", "a fixed extractor's features of the generated images"),
    Parameter("real_features", SPLIT, "float [m, d]", "the same features of real images", ROWS),
)
_OUTPUTS = (
    *(replace(each, name=f"{{split}}_{each.name}", of=RUN) for each in _OF_SPLITS),
    Parameter(
        "{split}_token_log_probs",
        RUN,
        "float [n, positions]",
        "log-probability of the true token, NaN where a position is not scored",
    ),
    Parameter(
        "{split}_token_log_prob_means",
        RUN,
        "float [n, positions]",
        "mean of the log-probabilities under the model's own distribution at that position",
    ),
    Parameter("{split}_token_log_prob_stds", RUN, "float [n, positions]", "their standard deviation under it"),
    Parameter("{split}_gradient_norms", RUN, "float [n]", "Euclidean norm of the gradient of a row's loss"),
    Parameter(
        "{split}_denoising_errors", RUN, "float [n, timesteps]", "a denoiser's errors at fixed timesteps and noise"
    ),
    Parameter("incompetent_forget_logits", RUN, "float [n_f, C]", "outputs of a model of random weights on D_f", SEED),
    Parameter(
        "incompetent_forget_divergences",
        RUN,
        "float [n_f] in [0, 1]",
        "Jensen-Shannon divergence from that model in bits, where distributions are too large to keep",
    ),
)
"""Arrays that a run may keep beside ``chance``."""

_WHOSE = {"original": "of the original", "retrain": "of the model retrained with the same seed"}
_FROM = _WHOSE | {outputs_of(name): f"among the kept outputs {whose}" for name, whose in _WHOSE.items()}


def weights_of(reference: str) -> str:
    """Return what ``Parameter.of`` calls the comparison of a run's weights with a reference run's."""
    return f"weights beside {reference}"


_OF_WEIGHTS = tuple(
    Parameter(
        f"weights_from_{run}",
        weights_of(run),
        "float [layers, 3]",
        f"of each tensor of weights, the distance to that {whose}, its own norm, and the norm of that one",
    )
    for run, whose in _WHOSE.items()
)

POPULATIONS = ("shadow models", "unlearned shadow models", "unlearned population", "retrained population")
"""Many models of other seeds, or that saw other rows, see docs/shadow.md."""

_OF_POPULATIONS = (
    Parameter(
        "shadow_{split}_log_odds",
        POPULATIONS[0],
        "float [models, n]",
        "log(p_y / (1 - p_y)) of each row under models that saw D_r and half of D_f",
    ),
    Parameter("shadow_{split}_member", POPULATIONS[0], "bool [models, n]", "whether such a model saw the row"),
    Parameter(
        "unlearned_shadow_{split}_log_odds",
        POPULATIONS[1],
        "float [models, n]",
        "the same log-odds after the run's method made each of these models forget its half",
    ),
    Parameter(
        "unlearned_shadow_{split}_member", POPULATIONS[1], "bool [models, n]", "whether such a model had seen the row"
    ),
    Parameter(
        "population_{split}_margins",
        POPULATIONS[2],
        "float [models, n]",
        "true class's logit minus the logsumexp of the others, under models of other seeds that the method unlearned",
    ),
    Parameter(
        "retrain_population_{split}_margins",
        POPULATIONS[3],
        "float [models, n]",
        "the same margins under retrained models of other seeds",
    ),
)

_FROM |= dict.fromkeys(POPULATIONS, "of models that `mubench shadow` makes")

PARAMETERS = (
    *_OF_SPLITS,
    *_OUTPUTS,
    *(
        replace(each, name=f"{run}_{each.name}", of=outputs_of(run), meaning=f"the same {whose}, on the same rows")
        for run, whose in _WHOSE.items()
        for each in _OUTPUTS
    ),
    *_OF_POPULATIONS,
    *_OF_WEIGHTS,
    Parameter("{split}_correctness", RUN, "float [n] in [0, 1]", "the task's own score row by row, if it has one"),
    Parameter("{split}_score", RUN, "float", "the task's own score on a split"),
    *(Parameter(f"{run}_{{split}}_score", run, "float", f"that score {whose}") for run, whose in _WHOSE.items()),
    Parameter("{metric}", RUN, "float", "another metric's score"),
    *(Parameter(f"{run}_{{metric}}", run, "float", f"that score {whose}") for run, whose in _WHOSE.items()),
    Parameter("chance", ANY, "float in [0, 1]", "the task's own score of random answers", ROWS),
    Parameter("seed", ANY, "int", "seed of the run"),
    Parameter("method", ANY, "str", "key of the method, or `original`"),
)
"""Every legal name. A metric is called with what its parameters name; if that is missing, there is a reason instead."""


def legal_parameters(metrics: Collection[str]) -> dict[str, Parameter]:
    """Return every legal name with what it stands for.

    Args:
        metrics: Names of the scores that a metric may ask for in place of ``{metric}``.
    """
    return _named(PARAMETERS, tuple(metrics))


@cache
def kept_outputs() -> dict[str, Parameter]:
    """Return every array that a run may keep, by its name, with what it stands for."""
    chance = next(each for each in PARAMETERS if each.name == "chance")
    return _named((*_OUTPUTS, chance), ())


def every_source() -> set[str]:
    """Return all that ``Parameter.of`` may name beside a run and its splits."""
    return {each.of for each in PARAMETERS} - {SPLIT, RUN, ANY}


def what_is_missing(names: Iterable[str], legal: dict[str, Parameter]) -> str:
    """Return why there is no score: the parameters that have no value, and which run lacks it."""
    by_run: dict[str, list[str]] = {}
    for name in names:
        by_run.setdefault(legal[name].of, []).append(name)
    notes = dict.fromkeys(legal[name].only for of in by_run.values() for name in of if legal[name].only)
    parts = [", ".join(names) + (f" {_FROM[run]}" if run in _FROM else "") for run, names in by_run.items()]
    return f"needs {' and '.join(parts)}, which this run lacks{''.join(f' ({note})' for note in notes)}"


def parameter_table() -> str:
    """Return all legal names as a Markdown table; the outputs of a reference run are one line."""
    kept = {outputs_of(name): name for name in REFERENCES}
    lines = {("Parameter", "Of", "Type and shape", "Meaning"): None, ("---",) * 4: None}
    for each in PARAMETERS:
        row = (f"`{each.name}`", each.of, each.kind, each.meaning)
        if each.of in kept:
            whose = f"an array of this run's, {_WHOSE[kept[each.of]]}, on the same rows"
            row = (f"`{kept[each.of]}_{{array}}`", each.of, "as that array", whose)
        lines[row] = None
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _named(parameters: Iterable[Parameter], metrics: Collection[str]) -> dict[str, Parameter]:
    found = {}
    for parameter in parameters:
        for split in SPLITS if "{split}" in parameter.name else ("",):
            for metric in metrics if "{metric}" in parameter.name else ("",):
                found[parameter.name.format(split=split, metric=metric)] = parameter
    return found
