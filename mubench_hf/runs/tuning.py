"""Chooses a method's settings on rows that are not reported: runs of each trial over the seeds, scored by their gap."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from mubench_hf.data.prepare import TaskData
from mubench_hf.data.tuning import tuning_task
from mubench_hf.errors import BadInput, shown
from mubench_hf.models import ModelSpec
from mubench_hf.runs.kept_tables import remove_tables
from mubench_hf.runs.pipeline import Pipeline, Step
from mubench_hf.runs.plan import preset
from mubench_hf.runs.record import ORIGINAL
from mubench_hf.runs.store import load_named_result
from mubench_hf.runs.trials import Outcome, Search, Trial
from mubench_hf.tasks import TaskSpec, Variant, get_task
from mubench_hf.trainers import METHODS, UnlearningTrainer, get_method
from mubench_hf.trainers._search import search_space
from mubench_hf.utils.progress import RunProgress

OBJECTIVE = "average_gap"
"""The score that a trial is judged by: to the model that was retrained with the same seed, on the same rows."""

SEEDS = (1, 2, 3)
"""Those of reported runs are others."""


class Tuning:
    """The runs that choose one method's settings.

    Args:
        task: The task that is tuned, see ``get_task``; what is run is its ``tuning_task``.
        variant: ``full`` or ``mini``.
        out: Output folder, which holds no run of the task itself.
        method: The method, see ``get_method``.
        model: The model, see ``resolve_model``; default: the source's.
        del_ratio: Percent of train to forget; default: the source's own.
        seeds: Seeds of the runs of each trial; each has its own original and retrained model.
        asked: Setting → smallest and largest number to try, beside and in place of what the method declares.
        sampler: ``random`` or ``tpe``.
        seed: Seed of what is tried.
        raw: Folder of upstream files, for a full source.
        use_cpu: Train and evaluate on the CPU, whatever else there is.

    Raises:
        BadInput: If something named is unknown or not allowed, optuna is missing, or the folder holds another search.
    """

    def __init__(
        self,
        task: str | Path | TaskSpec,
        *,
        variant: Variant,
        out: Path | str,
        method: str | Path | type[UnlearningTrainer],
        model: str | Path | ModelSpec | None = None,
        del_ratio: Any = None,
        seeds: Sequence[int] = SEEDS,
        asked: Mapping[str, tuple[float, float]] | None = None,
        sampler: str = "random",
        seed: int = 0,
        raw: Path | None = None,
        use_cpu: bool = False,
    ):
        trainer = get_method(method)
        self.method = trainer.method_key()
        if trainer.replays_recipe:
            raise BadInput(f"{self.method} is what methods are compared with; it has nothing to tune. Leave it out.")
        tuned = tuning_task(get_task(task))
        given = {"variant": variant, "out": out, "model": model, "methods": [method], "del_ratio": del_ratio}
        self.pipeline = Pipeline(tuned, **given, seeds=seeds, raw=raw, use_cpu=use_cpu)
        setup = self.pipeline.setup
        usual = preset(setup, self.method, use_cpu=use_cpu)
        space = search_space(trainer.config_class, usual, asked)
        ratio = "" if setup.del_ratio is None else f"-df{setup.del_ratio}pct"
        name = f"{setup.original(0).table_name}-{self.method}{ratio}"
        about = {"task": tuned.name, "variant": variant, "model": setup.model.name, "method": self.method,
                 "del_ratio": setup.del_ratio, "seeds": list(seeds), "external": self._external()}  # fmt: skip
        self.search = Search(setup.out, name, about, space, sampler=sampler, seed=seed)
        self.search.check()

    def run(self, count: int, progress: RunProgress) -> None:
        """Make the first ``count`` trials, as far as they are not made, and what they are compared with.

        Raises:
            BadInput: If a run's folder holds another run, or something that a run needs is missing.
        """
        self.progress = progress
        left = count - sum(trial.finished for trial in self.search.trials(count))
        if not left:
            return
        with progress.over(1 + (2 + left) * len(self.pipeline.seeds)):
            with progress.part("data set"):
                _ = self.data
            for step in self.pipeline.steps():
                if step.method in (ORIGINAL, "retrain"):
                    self.pipeline.make(step, self.data, progress)
            self.search.run(count, self.outcome, self._told)
        remove_tables(self.data.cache_dir)

    @cached_property
    def data(self) -> TaskData:
        """The rows, built if they are not there."""
        return self.pipeline.rows()

    def outcome(self, settings: Mapping[str, float]) -> Outcome:
        """Run the method with these settings over the seeds.

        Returns:
            The average gap of each seed, and why there is none if a run failed, diverged, or cannot have such settings.

        Raises:
            BadInput: If something else that a run needs is missing or damaged.
        """
        pipeline, setup = self.pipeline, self.pipeline.setup
        pipeline.settings = {self.method: dict(settings)}
        steps = [step for step in pipeline.steps() if step.method == self.method]
        try:
            pipeline.arguments(self.method, steps[0].seed)
        except BadInput as error:  # Settings that exclude each other.
            return {}, shown(error)
        gaps: dict[str, float] = {}
        for step in steps:
            name = pipeline.make(Step(*step), self.data, self.progress)
            result = load_named_result(setup.results / f"{name}.json")
            shutil.rmtree(setup.checkpoint(name), ignore_errors=True)  # The result is all that is needed from here on.
            gap = result.scores.get(OBJECTIVE)
            if result.status != "ok" or gap is None:
                why = result.status_reason or result.reasons.get(OBJECTIVE, "")
                return gaps, f"{result.status} with seed {step.seed}: {shown(why)}"
            gaps[str(step.seed)] = gap
        return gaps, ""

    def _told(self, trial: Trial) -> None:
        said = f"gap {trial.gap:.4f}" if trial.gap is not None else trial.reason
        self.progress.console.print(f"{self.method}, trial {trial.number}: {said}", highlight=False, markup=False)

    def _external(self) -> dict[str, Any]:
        """Return the method's and the model's origins; that of the task is always the tuning task's."""
        origin = METHODS.origin(get_method(self.method))
        found = {part: said for part, said in self.pipeline.setup.external.items() if part != "task"}
        return found | ({"method": asdict(origin)} if origin else {})
