"""Trials of one method's settings, kept by optuna in one file: what each tries, and what came of it.

What a trial of the random sampler tries is a function of the seed and its number, and what one of ``tpe`` tries of
these and the trials before. So a search that was cut off goes on with the same trials, and ten are the first of twenty.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mubench_hf.errors import BadInput
from mubench_hf.trainers._search import Searched
from mubench_hf.utils.claims import Claim
from mubench_hf.utils.differences import differences
from mubench_hf.utils.locks import held

if TYPE_CHECKING:
    import optuna

FOLDER = "tune"
"""Folder under the output folder with the file of each search."""

SAMPLERS = ("random", "tpe")

SECONDS_BETWEEN_LOOKS = 1.0

_ABOUT, _GAPS, _SETTINGS, _REASON = "about", "gaps", "settings", "reason"


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        number: Its number, from 0, which tries the preset.
        settings: What it changes of the preset; the preset's own values for the first.
        gap: Mean over the seeds of the average gap to retraining; ``None`` if it is not finished, or has none.
        gaps: Seed → average gap.
        reason: Why it has none; empty if it has one or is not finished.
    """

    number: int
    settings: dict[str, float]
    gap: float | None = None
    gaps: dict[str, float] = field(default_factory=dict)
    reason: str = ""

    @property
    def finished(self) -> bool:
        """Whether it was made."""
        return self.gap is not None or bool(self.reason)


Outcome = tuple[dict[str, float], str]
"""Average gap of each seed, and why there is none where one has none."""


class Search:
    """The trials of one method on one task.

    Args:
        out: Output folder.
        name: Name of the search, after which its file is called.
        about: What makes it this search: JSON types.
        space: The settings that are tried.
        sampler: One of ``SAMPLERS``.
        seed: Seed of what is tried.

    Raises:
        BadInput: If optuna is missing.
    """

    def __init__(self, out: Path, name: str, about: Mapping[str, Any], space: Mapping[str, Searched], *,
                 sampler: str = "random", seed: int = 0):  # fmt: skip
        self.folder, self.name, self.space = out / FOLDER, name, dict(space)
        self.file = self.folder / f"{name}.jsonl"
        self.sampler, self.seed = sampler, seed
        ends = {key: [each.least, each.most, each.usual] for key, each in space.items()}
        self.about = {**about, "space": ends, "sampler": sampler, "seed": seed}
        self._optuna = imported_optuna()
        self._study: optuna.Study | None = None

    def check(self) -> None:
        """Check that the folder holds no other search of this name.

        Raises:
            BadInput: If it does, naming what differs.
        """
        if not self.file.exists():
            return
        found = self._opened().user_attrs.get(_ABOUT)
        phrases = [] if found is None else differences(found, self.about)
        if phrases:
            raise BadInput(
                f"{self.folder} holds another search for {self.name} ({'; '.join(phrases)}). Choose another --out, or "
                "give the same settings to go on with it."
            )

    def run(self, count: int, make: Callable[[dict[str, float]], Outcome], told: Callable[[Trial], None]) -> None:
        """Make the first ``count`` trials that nobody has made; several processes may, and share them.

        Args:
            count: How many trials there are to be.
            make: Makes a trial with these settings.
            told: Called with each trial that this process has made.

        Raises:
            BadInput: As ``check`` does, or as ``make`` does.
        """
        while True:
            with self._alone():
                self._ask(count)
                open_ones = [trial for trial in self.trials(count) if not trial.finished]
                taken = self._taken(open_ones, self.trials(count))
            if not open_ones:
                return
            if taken is None:
                time.sleep(SECONDS_BETWEEN_LOOKS)
                continue
            trial, claim = taken
            try:
                same = next((each for each in self.trials(trial.number) if each.settings == trial.settings), None)
                gaps, reason = make(trial.settings) if same is None else (same.gaps, same.reason)
                self._tell(trial, gaps, reason)
            finally:
                claim.release()
            told(self.trials()[trial.number])

    def trials(self, count: int | None = None) -> list[Trial]:
        """Return the first ``count`` trials, finished or not; all without it, none if there is no file."""
        return _trials(self._opened())[:count] if self.file.exists() else []

    def _taken(self, waiting: list[Trial], every: list[Trial]) -> tuple[Trial, Claim] | None:
        """Claim the first trial that nobody has, unless one before it with the same settings is still to be made."""
        for trial in waiting:
            if any(each.settings == trial.settings and not each.finished for each in every[: trial.number]):
                continue
            claim = Claim(self.folder / f".{self.name}-{trial.number}.claim")
            if claim.take():
                return trial, claim
        return None

    def _ask(self, count: int) -> None:
        """Draw what the next trials try: all at once, or one after the other if each depends on those before."""
        study, optuna = self._opened(), self._optuna
        if study.user_attrs.get(_ABOUT) is None:
            study.set_user_attr(_ABOUT, self.about)
        self.check()
        if not study.get_trials(deepcopy=False):
            study.enqueue_trial({key: each.usual for key, each in self.space.items()})
        while True:
            asked = [each for each in study.get_trials(deepcopy=False) if each.state != optuna.trial.TrialState.WAITING]
            waits = self.sampler == "tpe" and any(not each.state.is_finished() for each in asked)
            if len(asked) >= count or waits:
                return
            study.sampler = self._sampler(len(asked))
            trial = study.ask({key: self._distribution(each) for key, each in self.space.items()})
            settings = {key: self.space[key].rounded(value) for key, value in trial.params.items()}
            trial.set_user_attr(_SETTINGS, settings if trial.number else dict(trial.params))

    def _tell(self, trial: Trial, gaps: Mapping[str, float], reason: str) -> None:
        with self._alone():
            study, states = self._opened(), self._optuna.trial.TrialState
            stored = self._optuna.trial.Trial(study, study.get_trials(deepcopy=False)[trial.number]._trial_id)
            stored.set_user_attr(_GAPS, dict(gaps))
            stored.set_user_attr(_REASON, reason)
            if reason:
                study.tell(trial.number, state=states.FAIL)
            else:
                study.tell(trial.number, sum(gaps.values()) / len(gaps))

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        digest = hashlib.sha256(f"{self.seed} {number}".encode()).digest()
        kinds = {"random": self._optuna.samplers.RandomSampler, "tpe": self._optuna.samplers.TPESampler}
        return kinds[self.sampler](seed=int.from_bytes(digest[:4], "big"))

    def _distribution(self, each: Searched) -> optuna.distributions.BaseDistribution:
        kinds = self._optuna.distributions
        if each.allowed.whole:
            return kinds.IntDistribution(int(each.least), int(each.most), log=each.by_ratio)
        return kinds.FloatDistribution(each.least, each.most, log=each.by_ratio)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Be the only one that writes the file while inside; what a killed process wrote of a line is taken away."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with held(self.folder / f".{self.name}.lock", named=self.name, doing="noting a trial"):
            if self.file.exists() and (found := self.file.read_bytes()) and not found.endswith(b"\n"):
                os.truncate(self.file, found.rfind(b"\n") + 1)
            yield

    def _opened(self) -> optuna.Study:
        if self._study is None:
            self._study = _study(self.file, self.name)
        return self._study


def found_trials(out: Path) -> dict[str, tuple[dict[str, Any], list[Trial]]]:
    """Return the searches in an output folder: name → what it is, and its trials."""
    found = {}
    for file in sorted((out / FOLDER).glob("*.jsonl")):
        study = _study(file, file.stem)
        found[file.stem] = (study.user_attrs.get(_ABOUT, {}), _trials(study))
    return found


def best(trials: list[Trial]) -> Trial | None:
    """Return the trial of the smallest gap, the first of several; ``None`` if none has one."""
    scored = [trial for trial in trials if trial.gap is not None]
    return min(scored, key=lambda trial: (trial.gap, trial.number)) if scored else None


def imported_optuna() -> Any:
    """Return optuna, which says only what goes wrong.

    Raises:
        BadInput: If it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise BadInput(
            "Settings are tuned with optuna, which is missing. Run: pip install 'mubench_hf[tune]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _study(file: Path, name: str) -> optuna.Study:
    optuna = imported_optuna()
    from optuna.storages.journal import JournalFileBackend

    try:
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(file)))
        return optuna.create_study(storage=storage, study_name=name, direction="minimize", load_if_exists=True)
    except (AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise BadInput(f"{file} is no search that optuna wrote ({error}). Move it, or choose another --out.") from error


def _trials(study: optuna.Study) -> list[Trial]:
    found = []
    for each in study.get_trials(deepcopy=False):
        if _SETTINGS in each.user_attrs:
            said = each.user_attrs
            reason = said.get(_REASON, "") if each.state.is_finished() else ""
            found.append(Trial(each.number, dict(said[_SETTINGS]), each.value, dict(said.get(_GAPS, {})), reason))
    return found
