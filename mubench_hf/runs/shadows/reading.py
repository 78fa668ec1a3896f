"""What a run's metrics read of populations, if the folder has those that fit the run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from mubench_hf.errors import BadInput
from mubench_hf.metrics.parameters import POPULATIONS, SPLITS
from mubench_hf.runs.record import ORIGINAL, RunId, RunRecord
from mubench_hf.runs.result import RunResult
from mubench_hf.runs.scores import Source
from mubench_hf.runs.shadows.population import FOLDER, Population, PopulationId, load_population

SUGGESTED = 16
"""Models that the command makes which a reason names."""

SHADOWS, UNLEARNED_SHADOWS, UNLEARNED, RETRAINED = POPULATIONS


def population_sources(
    run: RunResult | RunRecord, named: RunId, references: Mapping[str, RunResult], folder: Path | str
) -> dict[str, Source]:
    """Return the sources, see ``score``, of the populations that a run's metrics may read.

    Args:
        run: The run.
        named: Its name, at the ratio of its scores.
        references: The results that it is compared with; the retrained model's settings are the recipe of all.
        folder: Folder of results, beside that of the populations.

    Raises:
        ValueError: By a source, when it is read: if there is no population that fits; it names the command for one.
    """

    def half(method: str, prefix: str) -> dict[str, np.ndarray]:
        found = _population(run, named, references, folder, "half", method)
        odds = {f"{prefix}_{split}_log_odds": found.arrays[f"{split}_log_odds"] for split in SPLITS}
        return odds | {f"{prefix}_{split}_member": found.member(split) for split in SPLITS}

    def margins(method: str, prefix: str) -> dict[str, np.ndarray]:
        found = _population(run, named, references, folder, "reseeded", method)
        return {f"{prefix}_{split}_margins": found.arrays[f"{split}_log_odds"] for split in SPLITS}

    method = named.method
    return {
        SHADOWS: partial(half, "", "shadow"),
        # An original has unlearned nothing, and nor have shadow models that are as they were trained.
        UNLEARNED_SHADOWS: partial(half, "" if method == ORIGINAL else method, "unlearned_shadow"),
        UNLEARNED: partial(margins, method, "population"),
        RETRAINED: partial(margins, "", "retrain_population"),
    }


def _population(
    run: RunResult | RunRecord,
    named: RunId,
    references: Mapping[str, RunResult],
    folder: Path | str,
    kind: str,
    method: str,
) -> Population:
    """Return the population of a kind and a method with the most models that fits a run."""
    wanted = PopulationId(named.task, named.variant, named.model, kind, method, named.del_ratio, 0)
    if run.settings:
        differing = ", ".join(sorted(run.settings))
        raise ValueError(
            f"shadow models are made with the presets, and this run's settings differ from them ({differing})"
        )
    place = Path(folder).parent / FOLDER
    found, reasons = [], []
    for file in sorted(place.glob(f"{wanted.name.removesuffix('-s0')}-s*.npz")):
        try:
            there = load_population(file)
        except BadInput:  # Its text names a folder, which is nobody else's business.
            reasons.append(f"{file.name} is damaged or was changed")
            continue
        differing = _differing(there, run, references)
        if differing:
            reasons.append(f"that of {file.name} has other {', '.join(differing)}")
        else:
            found.append(there)
    if not found:
        why = f" ({'; '.join(reasons)})" if reasons else ""
        raise ValueError(f"needs a population of models{why}. Run: {_command(wanted)}")
    return max(found, key=lambda each: each.models)


def _differing(there: Population, run: RunResult | RunRecord, references: Mapping[str, RunResult]) -> list[str]:
    """Return what a population was made with that a run was not."""
    note, method = there.note, there.note["method"]
    external = dict(run.external)
    if method in ("", ORIGINAL):
        external.pop("method", None)
    pairs = {
        "rows": (note["data_fingerprint"], run.data_fingerprint),
        "rows to forget": (note["deletion_sha256"], run.deletion_sha256),
        "external parts": (note["external"], external),
    }
    if method not in ("", ORIGINAL):
        pairs["settings of the method"] = (note["config"], run.config)
    if run.run.method == ORIGINAL:
        pairs["recipe"] = (note["recipe"], run.config)
    elif "retrain" in references:
        pairs["recipe"] = (note["recipe"], references["retrain"].config)
    return [what for what, (one, other) in pairs.items() if one != other]


def _command(wanted: PopulationId) -> str:
    """Return the command that makes a population."""
    words = ["mubench shadow", wanted.task, *["--mini"] * (wanted.variant == "mini"), "--model", wanted.model]
    words += [] if wanted.del_ratio is None else ["--del_ratio", str(wanted.del_ratio)]
    words += ["--kind", wanted.kind, *(["--method", wanted.method] if wanted.method else [])]
    return " ".join([*words, "--models", str(SUGGESTED), "--out OUT"])
