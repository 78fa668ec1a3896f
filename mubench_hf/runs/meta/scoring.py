"""Scores of the models of known state, by every metric that is known to the process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mubench_hf.metrics.parameters import POPULATIONS, SPLITS, outputs_of, weights_of
from mubench_hf.metrics.populations import log_odds
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
from mubench_hf.runs.record import ORIGINAL, RunId
from mubench_hf.runs.scores import Scores, score
from mubench_hf.runs.setup import Setup, make_setup
from mubench_hf.runs.store import load_logits
from mubench_hf.runs.weights import layer_distances

Outputs = Mapping[str, np.ndarray]


def score_states(task: str, out: Path | str, seed: int, other_seed: int, seeds: Sequence[int]) -> dict[str, Scores]:
    """Return the scores of every state of one task and seed, and of the harmless changes.

    Each is scored as a run of an unlearning method is, beside the original and the retrained model of ``seed``. The
    retrained models of all further seeds are the shadow models, none of which saw D_f.

    Args:
        task: The task, see ``get_task``; ``make_states`` made its models.
        out: Its output folder.
        seed: The seed.
        other_seed: That of the model that never saw D_f.
        seeds: All seeds.

    Returns:
        State, or state and change → score name → value, or ``None`` if it cannot be computed.
    """
    setup = make_setup(task, variant="mini", out=out)
    models = {RETRAINED: ("retrain", seed), SAW: (ORIGINAL, seed), NEVER: ("retrain", other_seed)}
    outputs = {state: _of_run(setup, *model) for state, model in models.items()}
    folders = {state: setup.checkpoint(_run(setup, *model).checkpoint_name) for state, model in models.items()}
    for state in (SHOWN, OFTEN, MASKED, FILTERED, *(changed(state, ROUNDED) for state in CHANGED)):
        folder = setup.out / FOLDER / f"{state}-s{seed}"
        if (folder / OUTPUTS).is_file():
            with np.load(folder / OUTPUTS, allow_pickle=False) as arrays:
                outputs[state], folders[state] = dict(arrays), folder
    shadows = _shadows([_of_run(setup, "retrain", each) for each in seeds if each not in (seed, other_seed)])
    orders = _orders(outputs[SAW], seed)
    plain, moved = (
        Scorer(setup.task.metrics, seed, *models, folders[SAW], folders[RETRAINED], shadows=models_of_rows)
        for models, models_of_rows in (
            ((outputs[SAW], outputs[RETRAINED]), shadows),
            ([_reordered(outputs[state], orders) for state in (SAW, RETRAINED)], _reordered(shadows, orders, axis=1)),
        )
    )
    scores = {state: plain(each, folders[state]) for state, each in outputs.items()}
    again = {state: moved(_reordered(outputs[state], orders), folders[state]) for state in CHANGED}
    return scores | {changed(state, REORDERED): each for state, each in again.items()}


class Scorer:
    """Scores models beside one original and one retrained model.

    Args:
        metrics: The task's own metrics, the main one first.
        seed: Seed of the runs.
        original: What was measured of the original.
        retrained: What was measured of the retrained model.
        original_folder: Checkpoint of the original; without one, no weights are compared.
        retrained_folder: That of the retrained model.
        shadows: What metrics read of shadow models.
    """

    def __init__(
        self,
        metrics: tuple[str, ...],
        seed: int,
        original: Outputs,
        retrained: Outputs,
        original_folder: Path | None = None,
        retrained_folder: Path | None = None,
        shadows: Outputs | None = None,
    ):
        self.metrics, self.seed = metrics, seed
        outputs = {"retrain": retrained, "original": original}
        self.folders = {"retrain": retrained_folder, "original": original_folder}
        self.sources = {outputs_of(name): partial(_renamed, name, each) for name, each in outputs.items()}
        if shadows:
            self.sources[POPULATIONS[0]] = lambda: dict(shadows)
        self.references: dict[str, Scores] = {}
        for name, each in outputs.items():  # The original is compared with the retrained model, too.
            self.references[name] = self._score(each, self.folders[name], name)

    def __call__(self, outputs: Outputs, folder: Path | None = None) -> Scores:
        """Return the scores of a model that is neither of the two, to the metrics.

        Args:
            outputs: What was measured of it.
            folder: Its checkpoint.
        """
        return self._score(outputs, folder, KNOWN)

    def _score(self, outputs: Outputs, folder: Path | None, method: str) -> Scores:
        weights = {
            weights_of(name): partial(_distances, name, folder, other)
            for name, other in self.folders.items()
            if folder is not None and other is not None
        }
        given: Any = {"metrics": self.metrics, "seed": self.seed, "asked": [ALL], "sources": self.sources | weights}
        return score(outputs, method=method, **given, **self.references)[0]


def _distances(name: str, folder: Path, other: Path) -> dict[str, np.ndarray]:
    return {f"weights_from_{name}": layer_distances(folder, other)}


def _shadows(models: Sequence[Outputs]) -> dict[str, np.ndarray]:
    """Return what metrics read of shadow models, which saw D_r and nothing of D_f or test; nothing of less than two."""
    if len(models) < 2:
        return {}
    found = {}
    for split in SPLITS:
        odds = [log_odds(split, each[f"{split}_logits"], each[f"{split}_labels"]) for each in models]
        found[f"shadow_{split}_log_odds"] = np.stack(odds)
        found[f"shadow_{split}_member"] = np.full(np.shape(odds), split == "retain")
    return found


def _renamed(name: str, outputs: Outputs) -> dict[str, np.ndarray]:
    return {f"{name}_{key}": value for key, value in outputs.items()}


def _run(setup: Setup, method: str, seed: int) -> RunId:
    return setup.original(seed) if method == ORIGINAL else setup.run_id(method, seed)


def _of_run(setup: Setup, method: str, seed: int) -> dict[str, np.ndarray]:
    return load_logits(_run(setup, method, seed).at(setup.del_ratio).name, setup.results)


def _orders(outputs: Outputs, seed: int) -> dict[str, np.ndarray]:
    """Return another order of the rows of each split."""
    draws = np.random.default_rng(seed)
    return {split: draws.permutation(len(outputs[f"{split}_labels"])) for split in SPLITS}


def _reordered(outputs: Outputs, orders: Mapping[str, np.ndarray], axis: int = 0) -> dict[str, np.ndarray]:
    """Return the outputs of the same rows in that order; what has no entry per row of a split along ``axis`` stays."""

    def moved(name: str, values: Any) -> Any:
        bare = name.removeprefix("incompetent_").removeprefix("shadow_")
        split = next((each for each in SPLITS if bare.startswith(f"{each}_")), None)
        fits = split is not None and np.shape(values)[axis : axis + 1] == (len(orders[split]),)
        return np.take(values, orders[split], axis) if fits else values

    return {name: moved(name, values) for name, values in outputs.items()}
