"""Scores of the models of known state, by every metric that is known to the process."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mubench_hf.metrics.parameters import SPLITS, outputs_of
from mubench_hf.runs.choice import ALL
from mubench_hf.runs.meta.making import OUTPUTS
from mubench_hf.runs.meta.states import (
    CHANGED,
    FILTERED,
    KNOWN,
    MASKED,
    NEVER,
    OFTEN,
    REORDERED,
    RETRAINED,
    ROUNDED,
    SAW,
    SHOWN,
    changed,
)  # fmt: skip
from mubench_hf.runs.meta.training import FOLDER
from mubench_hf.runs.record import ORIGINAL
from mubench_hf.runs.scores import Scores, score
from mubench_hf.runs.setup import Setup, make_setup
from mubench_hf.runs.store import load_logits

Outputs = Mapping[str, np.ndarray]


def score_states(task: str, out: Path | str, seed: int, other_seed: int) -> dict[str, Scores]:
    """Return the scores of every state of one task and seed, and of the harmless changes.

    Each is scored as a run of an unlearning method is, beside the original and the retrained model of ``seed``.

    Args:
        task: The task, see ``get_task``; ``make_states`` made its models.
        out: Its output folder.
        seed: The seed.
        other_seed: That of the model that never saw D_f.

    Returns:
        State, or state and change → score name → value, or ``None`` if it cannot be computed.
    """
    setup = make_setup(task, variant="mini", out=out)
    outputs = {RETRAINED: _of_run(setup, "retrain", seed), SAW: _of_run(setup, ORIGINAL, seed)}
    outputs[NEVER] = _of_run(setup, "retrain", other_seed)
    kept = (SHOWN, OFTEN, MASKED, FILTERED, *(changed(state, ROUNDED) for state in CHANGED))
    for state in kept:
        file = setup.out / FOLDER / f"{state}-s{seed}" / OUTPUTS
        if file.is_file():
            with np.load(file, allow_pickle=False) as arrays:
                outputs[state] = dict(arrays)
    scorer = Scorer(setup.task.metrics, seed, outputs[SAW], outputs[RETRAINED])
    scores = {state: scorer(each) for state, each in outputs.items()}
    orders = _orders(outputs[SAW], seed)
    moved = Scorer(setup.task.metrics, seed, _reordered(outputs[SAW], orders), _reordered(outputs[RETRAINED], orders))
    scores |= {changed(state, REORDERED): moved(_reordered(outputs[state], orders)) for state in CHANGED}
    return scores


class Scorer:
    """Scores outputs beside those of one original and one retrained model.

    Args:
        metrics: The task's own metrics, the main one first.
        seed: Seed of the runs.
        original: What was measured of the original.
        retrained: What was measured of the retrained model.
    """

    def __init__(self, metrics: tuple[str, ...], seed: int, original: Outputs, retrained: Outputs):
        self.metrics, self.seed = metrics, seed
        outputs = {"retrain": retrained, "original": original}
        self.sources = {outputs_of(name): partial(_renamed, name, each) for name, each in outputs.items()}
        self.references: dict[str, Scores] = {}
        for name, each in outputs.items():  # The original is compared with the retrained model, too.
            self.references[name] = self._score(each, name)

    def __call__(self, outputs: Outputs) -> Scores:
        """Return the scores of a model that is neither of the two, to the metrics."""
        return self._score(outputs, KNOWN)

    def _score(self, outputs: Outputs, method: str) -> Scores:
        given: Any = {"metrics": self.metrics, "seed": self.seed, "asked": [ALL], "sources": self.sources}
        return score(outputs, method=method, **given, **self.references)[0]


def _renamed(name: str, outputs: Outputs) -> dict[str, np.ndarray]:
    return {f"{name}_{key}": value for key, value in outputs.items()}


def _of_run(setup: Setup, method: str, seed: int) -> dict[str, np.ndarray]:
    run = setup.original(seed) if method == ORIGINAL else setup.run_id(method, seed)
    return load_logits(run.at(setup.del_ratio).name, setup.results)


def _orders(outputs: Outputs, seed: int) -> dict[str, np.ndarray]:
    """Return another order of the rows of each split."""
    draws = np.random.default_rng(seed)
    return {split: draws.permutation(len(outputs[f"{split}_labels"])) for split in SPLITS}


def _reordered(outputs: Outputs, orders: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the outputs of the same rows in that order; what is not one entry per row of a split stays."""

    def moved(name: str, values: Any) -> Any:
        split = next((each for each in SPLITS if name.removeprefix("incompetent_").startswith(f"{each}_")), None)
        fits = split is not None and np.shape(values)[:1] == (len(orders[split]),)
        return np.asarray(values)[orders[split]] if fits else values

    return {name: moved(name, values) for name, values in outputs.items()}
