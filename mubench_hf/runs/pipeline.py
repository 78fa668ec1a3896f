"""The whole benchmark of one task: data, originals, retrained models, every method over seeds, results."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mubench_hf.data.build import build
from mubench_hf.data.prepare import TaskData
from mubench_hf.errors import BadInput
from mubench_hf.models import ModelSpec
from mubench_hf.models.adapter_settings import AdapterSettings
from mubench_hf.models.device import give_back_memory
from mubench_hf.models.foreign import is_foreign
from mubench_hf.models.loading import random_model
from mubench_hf.runs.choice import Reference, choose
from mubench_hf.runs.completed import completed_all
from mubench_hf.runs.evaluate import evaluate_checkpoint
from mubench_hf.runs.finished import has_result, save_failure
from mubench_hf.runs.kept_tables import remove_tables
from mubench_hf.runs.plan import Plan, check_seed, find_original, make_plan, preset
from mubench_hf.runs.record import ORIGINAL
from mubench_hf.runs.setup import make_setup
from mubench_hf.runs.store import Results, load_results, save_result
from mubench_hf.runs.train import load_rows, owner_of, train_run
from mubench_hf.runs.updates import divided
from mubench_hf.tasks import TaskSpec, Variant
from mubench_hf.trainers import UnlearningConfig, UnlearningTrainer, get_method
from mubench_hf.utils.processes import by_first, joined, launched_processes, together
from mubench_hf.utils.progress import RunProgress

PAPER_METHODS = ("finetune", "neggrad", "rand_label", "bad_teaching", "scrub", "salun")
SEEDS = (42, 87, 21)


class Step(NamedTuple):
    """One run of the benchmark.

    Attributes:
        method: ``original`` or the key of a method.
        seed: Its seed.
        original_seed: Seed of the original that it starts from.
    """

    method: str
    seed: int
    original_seed: int


def run(
    task: str | Path | TaskSpec,
    *,
    variant: Variant,
    out: Path | str,
    model: str | Path | ModelSpec | None = None,
    methods: Sequence[str | Path | type[UnlearningTrainer]] = PAPER_METHODS,
    del_ratio: Any = None,
    seeds: Sequence[int] = SEEDS,
    original_seeds: Sequence[int] | None = None,
    raw: Path | None = None,
    adapter: AdapterSettings | None = None,
    use_cpu: bool = False,
    metrics: Sequence[Reference] = (),
) -> Results:
    """Run one task's benchmark, as ``mubench run`` does, and return its results; the arguments are ``Pipeline``'s.

    Raises:
        BadInput: As ``Pipeline`` does, or if the output folder holds another run.
    """
    return Pipeline(
        task,
        variant=variant,
        out=out,
        model=model,
        methods=methods,
        del_ratio=del_ratio,
        seeds=seeds,
        original_seeds=original_seeds,
        raw=raw,
        adapter=adapter,
        use_cpu=use_cpu,
        metrics=metrics,
    ).run()


class Pipeline:
    """Runs one task's benchmark in one output folder; whatever is finished there is not done again.

    Args:
        task: The task, see ``get_task``.
        variant: ``full`` or ``mini``.
        out: Output folder.
        model: The model, see ``resolve_model``; default: the source's.
        methods: The methods, see ``get_method``, in addition to original and retrain.
        del_ratio: Percent of train to forget; default: the source's own, 5 for most.
        seeds: Seeds of the runs.
        original_seeds: Seed of the original that the runs of each seed start from, in the order of ``seeds``, or one
            for all; default: each seed has its own original.
        raw: Folder of upstream files, for a full source.
        adapter: What the methods train in place of the original's own weights; default: these. Originals and retrained
            models are whole.
        use_cpu: Train and evaluate on the CPU, whatever else there is.
        metrics: What to compute beside the task's metrics and the default ones, see ``get_metric``; ``all``: all.

    Attributes:
        settings: Method → the config fields that its runs change in addition to the preset; none at first.

    Raises:
        BadInput: If a name is unknown, the model does not fit the task or does not take the adapter, the ratio is not
            allowed, a seed repeats, the originals are neither one for all runs nor one per seed, or processes cannot
            share the updates of a preset equally.
    """

    def __init__(
        self,
        task: str | Path | TaskSpec,
        *,
        variant: Variant,
        out: Path | str,
        model: str | Path | ModelSpec | None = None,
        methods: Sequence[str | Path | type[UnlearningTrainer]] = PAPER_METHODS,
        del_ratio: Any = None,
        seeds: Sequence[int] = SEEDS,
        original_seeds: Sequence[int] | None = None,
        raw: Path | None = None,
        adapter: AdapterSettings | None = None,
        use_cpu: bool = False,
        metrics: Sequence[Reference] = (),
    ):
        self.setup = make_setup(task, variant=variant, model=model, del_ratio=del_ratio, out=out)
        self.metrics = list(metrics)
        choose(self.setup.task.metrics, self.metrics)
        self.raw, self.seeds, self.adapter = raw, list(seeds), adapter or AdapterSettings()
        self.use_cpu = use_cpu
        self.settings: dict[str, Mapping[str, Any]] = {}
        self._check_adapter()
        chosen = [get_method(reference) for reference in methods]
        for method in chosen:
            if not method.is_for(self.setup.task.kind):
                raise BadInput(
                    f"{method.method_key()} is for {', '.join(method.kinds or ())}, but {self.setup.task.name} is of "
                    f"the kind {self.setup.task.kind}. Leave it out."
                )
        self.methods = [key for key in dict.fromkeys(each.method_key() for each in chosen) if key != "retrain"]
        for seed in (*self.seeds, *(original_seeds or ())):
            check_seed(seed)
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise BadInput(f"Seeds are {self.seeds}; give one or more different whole numbers, 0 or above.")
        given = list(original_seeds) if original_seeds is not None else self.seeds
        self.original_seeds = given * len(self.seeds) if len(given) == 1 else given
        if len(self.original_seeds) != len(self.seeds):
            raise BadInput(
                f"Seeds of originals are {given}; give one for all runs, or one for each of the seeds {self.seeds}."
            )
        for method in (ORIGINAL, *self.methods):
            self.arguments(method, self.seeds[0])

    def _check_adapter(self) -> None:
        """Check that the model takes the adapter, before anything is trained; one from outside is seen when loaded."""
        spec = self.setup.model
        if not self.adapter.peft or is_foreign(spec) or ":" in spec.architecture.auto_class:
            return
        with torch.device("meta"):  # No weight is made.
            self.adapter.add_to(random_model(spec), seed=0)

    def steps(self) -> list[Step]:
        """Return all runs in the order in which they are made: originals, retrained models, methods."""
        pairs = list(zip(self.seeds, self.original_seeds, strict=True))
        originals = [Step(ORIGINAL, seed, seed) for seed in dict.fromkeys(self.original_seeds)]
        return originals + [Step(method, *pair) for method in ("retrain", *self.methods) for pair in pairs]

    def run(self, progress: RunProgress | None = None) -> Results:
        """Do what is not done yet and return all results of this benchmark.

        Raises:
            BadInput: If the output folder holds another run.
        """
        progress, steps = progress or RunProgress(quiet=joined()[0] > 0), self.steps()
        with together(), progress.over(len(steps) + 2):
            with progress.part("data set"):
                data = self.rows()
            names = [self.make(step, data, progress) for step in steps]
            with progress.part("scores"):
                results = by_first(partial(self._results, names))
                if all(result.status != "failed" for result in results):  # The same command tries those again.
                    by_first(partial(remove_tables, data.cache_dir))
                return results

    def rows(self) -> TaskData:
        """Build the data set, unless it is there, and return its rows.

        Raises:
            BadInput: If its folder holds something else.
        """
        build(self.setup.task, variant=self.setup.variant, out=self.setup.out, raw=self.raw, progress=False)
        return load_rows(self.setup)

    def _results(self, names: Collection[str]) -> Results:
        """Return the results of these names, with scores that others made possible."""
        folder = self.setup.results
        there = [result for result in load_results(folder) if result.name in names]
        # Originals were evaluated before the models that they are compared with; metrics may be new.
        results = completed_all(there, folder, self.metrics)
        for before, result in zip(there, results, strict=True):
            if result is not before:
                save_result(result, folder)
        return results

    def make(self, step: Step, data: TaskData, progress: RunProgress) -> str:
        """Make one checkpoint and its result, unless both are finished; return the result's name.

        Raises:
            BadInput: If something that the run needs is missing, or its folder holds another run.
        """
        with progress.part(f"{step.method}, seed {step.seed}") as part:
            plan = self._plan(step)
            name = plan.run.at(self.setup.del_ratio).name
            try:
                with owner_of(plan):
                    record = train_run(plan, data=data, callbacks=[part.callback])
                    if by_first(partial(has_result, self.setup.results / f"{name}.json", record, self.metrics)):
                        part.note("already there")
                        return name
                    folder, results = plan.folder, self.setup.results
                    evaluate_checkpoint(folder, record, data, results, metrics=self.metrics, device=plan.args.device)
            except RuntimeError as error:  # Out of memory, for example: the other runs may still succeed.
                if step.method == ORIGINAL or joined()[1] > 1:  # The other processes may be anywhere in the run.
                    raise
                # Not the error itself, whose frames hold the model and whatever else there was no room for.
                failure = str(error)
            else:
                part.note(record.status if record.status != "ok" else f"{record.seconds:.1f} s")
                return name
            give_back_memory()
            save_failure(plan, data, failure, self.metrics)
            part.note(f"failed: {failure.splitlines()[0]}")
        return name

    def _plan(self, step: Step) -> Plan:
        start = None if step.method == ORIGINAL else find_original(self.setup, step.original_seed)
        args = self.arguments(step.method, step.seed, start)
        adapter = None if step.method in (ORIGINAL, "retrain") else self.adapter
        return make_plan(self.setup, step.method, args, start=start, adapter=adapter)

    def arguments(self, method: str, seed: int, start: str | None = None) -> UnlearningConfig:
        """Return the config of a run.

        Raises:
            BadInput: If a setting is not allowed.
        """
        config_class = get_method("retrain" if method == ORIGINAL else method).config_class
        settings = divided(preset(self.setup, method, start, use_cpu=self.use_cpu), config_class, launched_processes())
        settings |= self.settings.get(method, {})
        if self.use_cpu:  # A task may ask for it too.
            settings["use_cpu"] = True
        return config_class(output_dir=str(self.setup.out), seed=seed, disable_tqdm=True, **settings)
