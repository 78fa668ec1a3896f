"""The cells of a sweep: a grid of tasks, ratios, seeds, methods and settings as commands, each after what it needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from mubench_hf.commands._arguments import MethodArguments
from mubench_hf.data.splits import check_ratio
from mubench_hf.errors import BadInput, unknown_name
from mubench_hf.runs.sweeps.manifest import STAGES, Cell

if TYPE_CHECKING:
    from mubench_hf.runs.pipeline import Pipeline
    from mubench_hf.runs.plan import Plan

NAMES = {each.name for each in fields(MethodArguments)} | {"seed", "output_dir", "teacher_cache_dir"}
"""What names a run or its place, so that it is no setting of the grid."""

QUIET = ("--disable_tqdm", "true")

Settings = Mapping[str, Mapping[str, Sequence[str]]]
"""Method → setting → its values."""


@dataclass(frozen=True)
class Choice:
    """One task of a grid.

    Attributes:
        pipeline: Task, model, methods and seeds, checked.
        reference: What the task is called on a command line.
        methods: Key of each method → what it is called on a command line.
        ratios: Percents of train to forget; ``None`` where the rows are named.
        place: The task's folder, relative to the sweep's.
        model: What the model is called on a command line; ``None`` for the task's.
        raw: Folder of upstream files.
        metrics: What to compute beside the task's metrics and the default ones, as on a command line.
    """

    pipeline: Pipeline
    reference: str
    methods: Mapping[str, str]
    ratios: Sequence[int | None]
    place: str
    model: str | None = None
    raw: str | None = None
    metrics: Sequence[str] = ()


def ratios_of(words: Sequence[str]) -> list[int]:
    """Return the ratios that words such as ``5`` and ``1-10`` name, in order, each once.

    Raises:
        BadInput: If one is out of range, or a range holds none.
    """
    found: list[int] = []
    for word in words:
        first, dash, last = word.partition("-")
        if not dash:
            found.append(check_ratio(word))
            continue
        between = range(check_ratio(first), check_ratio(last) + 1)
        if not between:
            raise BadInput(f"--del_ratio {word} holds no ratio. Give the smaller one first: {last}-{first}.")
        found += between
    return sorted(set(found))


def settings_of(words: Sequence[str], methods: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """Return the settings that words such as ``scrub.msteps=2,3`` name.

    Args:
        words: The words.
        methods: Keys of the grid's methods.

    Raises:
        BadInput: If a word is none like that, names another method, or something that is no setting of the grid.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for word in words:
        name, equals, values = word.partition("=")
        method, dot, setting = name.rpartition(".")
        listed = values.split(",")
        if not equals or not dot or not method or not setting or not all(listed):
            raise BadInput(f"--set {word} is not METHOD.SETTING=VALUE,VALUE. Write it like scrub.msteps=2,3.")
        if method not in methods:
            raise unknown_name("method of this sweep in --set", method, methods)
        if setting.replace("-", "_") in NAMES:
            raise BadInput(f"--set {word}: {setting} names a run or its place. It has a flag of its own, or none.")
        if setting in found.setdefault(method, {}) or len(set(listed)) < len(listed):
            raise BadInput(f"--set {word}: a setting or a value is given twice. Leave one out.")
        found[method][setting] = listed
    return found


def grid(choices: Sequence[Choice], settings: Settings) -> tuple[Cell, ...]:
    """Return the cells of a sweep in the order of their stages.

    Raises:
        BadInput: If a setting cannot be used, or two cells would be the same run.
    """
    cells = [cell for choice in choices for cell in _TaskCells(choice).all(settings)]
    twice = [name for name, times in Counter(cell.id for cell in cells).items() if times > 1]
    if twice:
        raise BadInput(f"{twice[0]} is there twice: settings of --set that make the same run. Leave one out.")
    return tuple(sorted(cells, key=lambda cell: STAGES.index(cell.stage)))


class _TaskCells:
    """Makes the cells of one task."""

    def __init__(self, choice: Choice):
        self.choice, self.setup, self.place = choice, choice.pipeline.setup, Path(choice.place)
        self.pairs = list(product(choice.ratios, choice.pipeline.seeds))
        self.dataset = self.setup.task.dataset_name(self.setup.variant)
        self.mini = ["--mini"] * (self.setup.variant == "mini")
        self.metrics = ["--metrics", *choice.metrics] if choice.metrics else []

    def all(self, settings: Settings) -> list[Cell]:
        """Return all of them, each after what it needs."""
        methods = ("retrain", *self.choice.pipeline.methods)
        chosen = [(method, flags) for method in methods for flags in _combinations(settings.get(method, {}))]
        data, originals, teachers = self._data(), self._originals(), self._teachers()
        runs = [cell for method, flags in chosen for cell in self._runs(method, flags)]
        command = ("mubench", "table", self.choice.place, "--save", *self._own(), *self.metrics)
        needs = tuple(cell.id for cell in (*teachers, *runs))
        return [*data, *originals, *teachers, *runs, Cell(f"{self.dataset}-tables", "table", command, needs)]

    def _data(self) -> list[Cell]:
        if self.setup.task.description is not None:  # The user's own data set, which has been built.
            return []
        raw = ["--raw", self.choice.raw] if self.choice.raw else []
        command = ("mubench", "build", self.choice.reference, *self.mini, "--out", self.choice.place, *raw)
        return [Cell(f"{self.dataset}-data", "data", command, checkpoint=self._folder(self.dataset))]

    def _originals(self) -> list[Cell]:
        built, cells = tuple(cell.id for cell in self._data()), []
        for seed in self.choice.pipeline.seeds:
            name = self.setup.original(seed).checkpoint_name
            command = ("mubench", "train", *self._named(self.choice.place), "--seed", str(seed), *QUIET)
            cells.append(Cell(name, "original", command, built, self._rows(self.setup.del_ratio), self._folder(name)))
        return cells

    def _teachers(self) -> list[Cell]:
        cells = []
        for ratio, seed in self.pairs:
            name = self.setup.original(seed).checkpoint_name
            folder, result = self._folder(name), self._result(self.setup.original(seed).at(ratio).name)
            command = ("mubench", "evaluate", folder, "--out", self.choice.place, *_percent(ratio), *self._own())
            command += tuple(self.metrics)
            cells.append(
                Cell(self._teacher(ratio, seed), "teacher", command, (name,), self._rows(ratio), folder, result)
            )
        return cells

    def _runs(self, method: str, flags: Sequence[str]) -> list[Cell]:
        """Return the runs of a method with these flags."""
        run, cells = self._planned(method, flags).run, []
        stage = "retrain" if method == "retrain" else "unlearn"
        for ratio, seed in self.pairs:
            name = replace(run, del_ratio=ratio, seed=seed).name
            command = ("mubench", *self._unlearn(self.choice.place, method, ratio, seed, flags))
            needs = [self._teacher(ratio, seed)]
            if stage == "unlearn":
                needs.append(replace(self._retrained, del_ratio=ratio, seed=seed).name)
            else:
                self._retrained = run
            folder, result = self._folder(name), self._result(name)
            cells.append(Cell(name, stage, command, tuple(needs), self._rows(ratio), folder, result))
        return cells

    def _planned(self, method: str, flags: Sequence[str]) -> Plan:
        """Return the run that a method with these flags is, at one ratio and seed."""
        from mubench_hf.commands.unlearn import planned

        _, *words = self._unlearn(str(self.setup.out), method, *self.pairs[0], flags)
        return planned(words, exists=False)[0]

    def _unlearn(self, out: str, method: str, ratio: int | None, seed: int, flags: Sequence[str]) -> list[str]:
        named = ["--method", self.choice.methods.get(method, method), *_percent(ratio), "--seed", str(seed)]
        return ["unlearn", *self._named(out), *named, *flags, *QUIET, *self.metrics]

    def _named(self, out: str) -> list[str]:
        model = ["--model", self.choice.model] if self.choice.model else []
        return ["--task", self.choice.reference, *self.mini, *model, "--out", out]

    def _own(self) -> list[str]:
        """Return the flag of commands that read the task from a run's record, where that is not enough."""
        named = self.setup.task.description is None and self.choice.reference != self.setup.task.name
        return ["--task", self.choice.reference] if named else []

    def _teacher(self, ratio: int | None, seed: int) -> str:
        original = self.setup.original(seed)
        # Where rows are named there is no ratio, and an original and its scores are called alike.
        return original.at(ratio).name if ratio is not None else f"{original.name}-scores"

    def _rows(self, ratio: int | None) -> str:
        return f"{self.dataset}-{self.setup.model.name}@{ratio}"

    def _folder(self, name: str) -> str:
        return str(self.place / "mubench" / name)

    def _result(self, name: str) -> str:
        return str(self.place / "results" / f"{name}.json")


def _percent(ratio: int | None) -> list[str]:
    return [] if ratio is None else ["--del_ratio", str(ratio)]


def _combinations(values: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Return the flags of each combination of a method's settings."""
    each = [[(f"--{name}", value) for value in listed] for name, listed in values.items()]
    return [[word for pair in chosen for word in pair] for chosen in product(*each)]
