"""Makes the models of populations, one at a time, and keeps what each says of each row.

A model is trained by the original's recipe on D_r and some rows of D_f, and may then unlearn these:

- ``half``: D_r and half of D_f. Of a method: the same models, after they unlearned that half.
- ``reseeded``: D_r alone, so it is a retrained model. Of a method: all of train, with other seeds than the retrained
  models, after it unlearned D_f.

The method ``original`` unlearns nothing. Of ``half``, models 2k and 2k + 1 have complementary halves, so that after an
even number of models each row of D_f was seen by half of them. Model k hangs on task, model, recipe and ratio, and on
the population's seed and k alone: not on how many models there are, nor on who makes it.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import Subset

from mubench_hf.errors import BadInput
from mubench_hf.kinds.measures import get_measure
from mubench_hf.metrics.parameters import SPLITS
from mubench_hf.metrics.populations import log_odds
from mubench_hf.runs.evaluate import measure_truths
from mubench_hf.runs.plan import Plan, make_plan, preset
from mubench_hf.runs.record import ORIGINAL, RunRecord
from mubench_hf.runs.setup import Setup
from mubench_hf.runs.shadows.population import (
    FOLDER,
    KINDS,
    Population,
    PopulationId,
    check_same,
    load_population,
    note_of,
    stacked,
)
from mubench_hf.runs.train import train_run
from mubench_hf.trainers import get_method
from mubench_hf.utils.locks import held

if TYPE_CHECKING:
    from mubench_hf.data.prepare import TaskData
    from mubench_hf.trainers import UnlearningConfig

SEEN, UNLEARNED, HALVES = 0, 1, 2
"""What a random stream of a model is for: its training, that of one that unlearns all of D_f, the draw of halves."""


@dataclass(frozen=True)
class Shadows:
    """The populations that one command makes: models of one kind, before and after some methods.

    Attributes:
        setup: Task, model, ratio and folder.
        kind: One of ``KINDS``.
        methods: Keys of methods; each has a population of its own, beside that which they are compared with.
        seed: Seed of the populations.
        use_cpu: Whether to train and measure on the CPU, whatever else there is.

    Raises:
        BadInput: If a kind is unknown, a method is not for the task's kind, or rows of that kind have no log-odds.
    """

    setup: Setup
    kind: str
    methods: tuple[str, ...] = ()
    seed: int = 0
    use_cpu: bool = False

    def __post_init__(self) -> None:
        """Check what was asked for."""
        if self.kind not in KINDS:
            raise BadInput(f"--kind is {self.kind!r}; allowed: {', '.join(KINDS)}.")
        task = self.setup.task
        get_measure(task.kind).check_truths()
        for key in self.methods:
            if key == ORIGINAL and self.kind == "half":
                raise BadInput("Models of the kind half that unlearn nothing are made anyway. Leave original out.")
            if key != ORIGINAL and not (method := get_method(key)).is_for(task.kind):
                kinds = ", ".join(method.kinds or ())
                raise BadInput(f"{key} is for {kinds}, but {task.name} is of the kind {task.kind}. Leave it out.")

    def population(self, method: str = "") -> PopulationId:
        """Return the name of a method's population; without one, of that which it is compared with."""
        setup = self.setup
        return PopulationId(
            setup.task.name, setup.variant, setup.model.name, self.kind, method, setup.del_ratio, self.seed
        )

    @property
    def populations(self) -> list[PopulationId]:
        """The names of all."""
        return [self.population(method) for method in ("", *self.methods)]

    @property
    def work(self) -> Path:
        """Folder of what is not finished."""
        return self.setup.out / FOLDER / f"{self.population().name}.work"

    def part(self, named: PopulationId, index: int) -> Path:
        """Return the file that holds one model of a population until all are there."""
        return self.work / "models" / f"{named.name}-{index}.npz"

    def missing(self, named: PopulationId, models: int) -> list[int]:
        """Return which of the first models of a population are neither in its file nor in files of their own."""
        there = self._kept(named)
        found = there.models if there else 0
        return [index for index in range(found, models) if not self.part(named, index).exists()]

    def make(self, index: int, data: TaskData, *, keep: bool = False) -> str:
        """Make one model with whatever of it is missing, and return how it ended, ``ok`` or ``diverged``.

        Args:
            index: Its number, from 0.
            data: The task's rows.
            keep: Whether its weights stay, from which another method can go on.

        Raises:
            BadInput: If what is there is of another population.
        """
        with held(self.work / "claims" / str(index), named=f"Model {index}", doing="making the same model"):
            wanted = [named for named in self.populations if index in self.missing(named, index + 1)]
            statuses = [self._make(named, index, data) for named in wanted]
            if not keep:
                shutil.rmtree(self.work / str(index), ignore_errors=True)
        return "diverged" if "diverged" in statuses else "ok"

    def assemble(self, named: PopulationId, models: int) -> Path:
        """Put the first models of a population into its file, and return it; one that has more stays as it is."""
        file, there = named.file(self.setup.out), self._kept(named)
        if there is None or there.models < models:
            rest = range(there.models if there else 0, models)
            parts = [load_population(self.part(named, index)) for index in rest]
            stacked([*([there] if there else []), *parts]).save(file)
        return file

    def clear(self, *, keep: bool = False) -> None:
        """Remove what is no longer needed once all files are there; weights stay if they are to be kept."""
        done = [self.work] if not keep else [place for place in self.work.glob("*") if not place.name.isdigit()]
        for place in done:
            shutil.rmtree(place, ignore_errors=True)

    def check(self, manifest: dict[str, Any]) -> None:
        """Check that populations that are there already are these.

        Args:
            manifest: The data set's.

        Raises:
            BadInput: If one is another one, with what differs.
        """
        for named in self.populations:
            if there := self._kept(named):
                check_same(there, self._note(named, manifest), str(named.file(self.setup.out)))

    def _kept(self, named: PopulationId) -> Population | None:
        file = named.file(self.setup.out)
        return load_population(file) if file.exists() else None

    def _make(self, named: PopulationId, index: int, data: TaskData) -> str:
        """Make one model of one population, and write its file."""
        member, stream = self._member(named, index, data)
        place = self.work / str(index) / f"trained{stream}"
        rows = replace(_rows(data, member), cache_dir=place.with_name("cache"))
        seed = model_seed(self.seed, index, stream)
        plan = self._plan(ORIGINAL, seed, place)
        record = train_run(plan, data=rows)
        if named.method not in ("", ORIGINAL):
            plan = self._plan(named.method, seed, place.with_name(named.method), start=str(place))
            record = train_run(plan, data=rows)
        note = {**self._note(named, data.manifest), "seeds": [seed], "statuses": [record.status]}
        said = self._said(plan, record, data)
        Population(note, {**said, "forget_member": member[None]}).save(self.part(named, index))
        return record.status

    def _member(self, named: PopulationId, index: int, data: TaskData) -> tuple[np.ndarray, int]:
        """Return which rows of D_f a model is trained on, in upstream order, and which stream its seed is from."""
        size = len(data.splits["forget"])
        if self.kind == "half":
            return half(size, self.seed, index), SEEN
        # Unlearned and retrained models are drawn apart from each other.
        return np.full(size, bool(named.method)), UNLEARNED if named.method else SEEN

    def _said(self, plan: Plan, record: RunRecord, data: TaskData) -> dict[str, np.ndarray]:
        """Return the log-odds of each row's truth, float32 ``[1, rows]`` for each split."""
        outputs = measure_truths(plan.folder, record, data, device=plan.args.device)
        return {
            f"{split}_log_odds": log_odds(split, outputs[f"{split}_logits"], outputs[f"{split}_labels"])[None].astype(
                np.float32
            )
            for split in SPLITS
        }

    def _plan(self, method: str, seed: int, folder: Path, start: str | None = None) -> Plan:
        return make_plan(self.setup, method, self._arguments(method, seed, start), start=start, folder=folder)

    def _arguments(self, method: str, seed: int, start: str | None = None) -> UnlearningConfig:
        config_class = get_method("retrain" if method == ORIGINAL else method).config_class
        settings = preset(self.setup, method, start, use_cpu=self.use_cpu)
        if self.use_cpu:  # A task may ask for it too.
            settings["use_cpu"] = True
        return config_class(output_dir=str(self.work), seed=seed, disable_tqdm=True, **settings)

    def _note(self, named: PopulationId, manifest: dict[str, Any]) -> dict[str, Any]:
        """Return a population's identity."""
        recipe = self._plan(ORIGINAL, 0, self.work)
        config: dict[str, Any] = {}
        external = dict(recipe.external)
        if named.method not in ("", ORIGINAL):
            # Whatever replays the recipe of a start has this one.
            replays = get_method(named.method).replays_recipe
            start = f"mubench/{self.setup.original(0).name}"
            plan = self._plan(named.method, 0, self.work, start=start)
            config, external = recipe.recorded if replays else plan.recorded, dict(plan.external)
        return note_of(named, manifest=manifest, recipe=recipe.recorded, config=config, external=external)


def model_seed(seed: int, index: int, stream: int = SEEN) -> int:
    """Return the seed of a model, 0 to 2**31 - 1: that of its training and of what it unlearns with."""
    return int(np.random.SeedSequence([seed, index, stream]).generate_state(1)[0] >> 1)


def half(size: int, seed: int, index: int) -> np.ndarray:
    """Return which of some rows a model of the kind ``half`` saw, bool ``[size]``: models 2k and 2k + 1 share them."""
    order = np.random.default_rng([seed, index // 2, HALVES]).permutation(size)
    first = np.zeros(size, dtype=bool)
    first[order[: size // 2]] = True
    return ~first if index % 2 else first


def _rows(data: TaskData, member: np.ndarray) -> TaskData:
    """Return a task's rows with only those rows of D_f that a model is trained on, which are its own D_f."""
    forget, retain = data.splits["forget"], data.splits["retain"]
    if not member.any():
        # All rows of D_r; which of them are called D_f, training does not ask.
        seen, rest = Subset(retain, [0]), Subset(retain, range(1, len(retain)))
    else:
        order = np.arange(len(forget)) if forget.index is None else np.argsort(forget.index, kind="stable")
        seen, rest = Subset(forget, np.sort(order[member]).tolist()), retain
    return replace(data, splits={**data.splits, "forget": seen, "retain": rest})


def checked_methods(references: Sequence[str]) -> tuple[str, ...]:
    """Return the keys of methods, each once, ``original`` among them if it is named.

    Raises:
        BadInput: If there is no such method.
    """
    keys = (each if each == ORIGINAL else get_method(each).method_key() for each in references)
    return tuple(dict.fromkeys(keys))
