"""What a run's metrics read of populations, if the folder has those that fit the run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from mubench_hf.errors import BadInput
from mubench_hf.metrics.parameters import POPULATIONS, REFERENCES, SPLITS
from mubench_hf.runs.record import ORIGINAL, RunId, RunRecord
from mubench_hf.runs.result import RunResult
from mubench_hf.runs.scores import Source
from mubench_hf.runs.shadows.population import FOLDER, Population, PopulationId, load_population
from mubench_hf.utils.files import known_sha256

SUGGESTED = 16
"""Models that the command makes which a reason names."""

SHADOWS, UNLEARNED_SHADOWS, UNLEARNED, RETRAINED = POPULATIONS


class RunPopulations:
    """The populations that a run's metrics may read.

    Args:
        run: The run.
        named: Its name, at the ratio of its scores.
        references: The results that it is compared with; the retrained model's settings are the recipe of all.
        folder: Folder of results, beside that of the populations.

    Attributes:
        read: What was read, see ``RunResult.evaluated``: ``Parameter.of`` → the population, how many models it had, and
            the beginning of its file's hash, since more models may be added to it.
    """

    def __init__(
        self, run: RunResult | RunRecord, named: RunId, references: Mapping[str, RunResult], folder: Path | str
    ):
        self._run, self._named, self._references = run, named, references
        self._place = Path(folder).parent / FOLDER
        self.read: dict[str, str] = {}

    @property
    def sources(self) -> dict[str, Source]:
        """The sources, see ``score``, of the populations.

        Raises:
            ValueError: By a source, when it is read: if no population fits the run; it names the command for one.
        """
        method = self._named.method
        # An original has unlearned nothing, and nor have shadow models that are as they were trained. A retrained model
        # is compared with itself, which gives the same whatever the shadow models unlearned.
        unlearned = "" if method in REFERENCES else method
        return {
            SHADOWS: partial(self._half, SHADOWS, "", "shadow"),
            UNLEARNED_SHADOWS: partial(self._half, UNLEARNED_SHADOWS, unlearned, "unlearned_shadow"),
            UNLEARNED: partial(self._margins, UNLEARNED, method, "population"),
            RETRAINED: partial(self._margins, RETRAINED, "", "retrain_population"),
        }

    def noted(self, evaluated: Mapping[str, str]) -> dict[str, str]:
        """Return what a result says of how it was evaluated, with what was read since; scores stated before stay."""
        noted = dict(evaluated)
        for of, read in self.read.items():
            noted[of] = read if noted.get(of, read) == read else f"{noted[of]}; later {read}"
        return noted

    def _half(self, of: str, method: str, prefix: str) -> dict[str, np.ndarray]:
        found = self._found(of, "half", method)
        odds = {f"{prefix}_{split}_log_odds": found.arrays[f"{split}_log_odds"] for split in SPLITS}
        return odds | {f"{prefix}_{split}_member": found.member(split) for split in SPLITS}

    def _margins(self, of: str, method: str, prefix: str) -> dict[str, np.ndarray]:
        found = self._found(of, "reseeded", method)
        return {f"{prefix}_{split}_margins": found.arrays[f"{split}_log_odds"] for split in SPLITS}

    def _found(self, of: str, kind: str, method: str) -> Population:
        """Return the population of a kind and a method with the most models that fits the run."""
        named = self._named
        wanted = PopulationId(named.task, named.variant, named.model, kind, method, named.del_ratio, 0)
        if self._run.settings:
            differing = ", ".join(sorted(self._run.settings))
            raise ValueError(
                f"shadow models are made with the presets, and this run's settings differ from them ({differing})"
            )
        fitting: dict[Path, Population] = {}
        reasons = []
        for file in sorted(self._place.glob(f"{wanted.name.removesuffix('-s0')}-s*.npz")):
            try:
                there = load_population(file)
            except BadInput:  # Its text names a folder, which is nobody else's business.
                reasons.append(f"{file.name} is damaged or was changed")
                continue
            if differing := ", ".join(_differing(there, self._run, self._references)):
                reasons.append(f"that of {file.name} has other {differing}")
            else:
                fitting[file] = there
        if not fitting:
            why = f" ({'; '.join(reasons)})" if reasons else ""
            raise ValueError(f"needs a population of models{why}. Run: {_command(wanted)}")
        file, found = max(fitting.items(), key=lambda item: item[1].models)
        self.read[of] = f"{file.stem}, {found.models} models, SHA-256 {known_sha256(file)[:12]}"
        return found


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
