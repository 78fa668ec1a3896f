"""The whole benchmark of one task: data, original, retrained models, every method over seeds, results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mubench_hf.data.build import build
from mubench_hf.data.prepare import TaskData, load_task_data
from mubench_hf.data.splits import check_ratio
from mubench_hf.errors import BadInput
from mubench_hf.models import check_fits, get_model
from mubench_hf.models.loading import load_processor
from mubench_hf.runs.evaluate import evaluate_checkpoint, rescore
from mubench_hf.runs.record import RunId, RunRecord, load_record
from mubench_hf.runs.result import RunResult
from mubench_hf.runs.scores import failed_run
from mubench_hf.runs.store import load_result, load_results, save_result
from mubench_hf.runs.train import default_config, original_folder, train_run
from mubench_hf.tasks import Variant, get_task
from mubench_hf.trainers import get_method
from mubench_hf.utils.progress import RunProgress

if TYPE_CHECKING:
    from mubench_hf.trainers import UnlearningConfig

PAPER_METHODS = ("finetune", "neggrad", "rand_label", "bad_teaching", "scrub", "salun")
SEEDS = (42, 87, 21)


class Pipeline:
    """Runs one task's benchmark under one output folder; whatever is finished there is not done again.

    Args:
        task: Key of the task.
        variant: ``full`` or ``mini``.
        out: Output folder.
        model: Registered model; default: the source's.
        methods: Keys of the methods, beside original and retrain.
        del_ratio: Percent of train to forget.
        seeds: Seeds of the runs; the original is made with the first.
        raw: Folder of upstream files, for a full source.

    Raises:
        BadInput: If a name is unknown, the model does not fit the task, the ratio is not allowed or a seed repeats.
    """

    def __init__(
        self,
        task: str,
        *,
        variant: Variant,
        out: Path | str,
        model: str | None = None,
        methods: Sequence[str] = PAPER_METHODS,
        del_ratio: Any = 5,
        seeds: Sequence[int] = SEEDS,
        raw: Path | None = None,
    ):
        self.task, self.variant, self.out, self.raw = get_task(task), variant, Path(out), raw
        spec = get_model(model or self.task.source(variant).default_model)
        check_fits(self.task, spec)
        self.model = spec.name
        self.ratio, self.seeds = check_ratio(del_ratio), list(seeds)
        self.methods = [name for name in methods if get_method(name) and name != "retrain"]
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise BadInput(f"Seeds are {self.seeds}; give one or more different whole numbers, 0 or above.")
        self.results = self.out / "results"

    def run_id(self, method: str, seed: int) -> RunId:
        """Return the name of one run of this benchmark."""
        ratio = 0 if method == "original" else self.ratio
        return RunId(self.task.name, self.variant, self.model, method, ratio, seed)

    def plan(self) -> list[RunId]:
        """Return all runs in the order they are made: references first."""
        first = [self.run_id("original", self.seeds[0])]
        return first + [self.run_id(name, seed) for name in ("retrain", *self.methods) for seed in self.seeds]

    def run(self, progress: RunProgress | None = None) -> list[RunResult]:
        """Do what is not done yet and return all results of this benchmark.

        Raises:
            BadInput: If the output folder holds another run.
        """
        progress = progress or RunProgress()
        plan = self.plan()
        with progress.over(len(plan) + 2):
            with progress.part("data set"):
                build(self.task, variant=self.variant, out=self.out, raw=self.raw, progress=False)
                data = self._load_data()
            for run in plan:
                self._one(run, data, progress)
            with progress.part("scores"):
                # The original was evaluated before the model it is compared with.
                rescore(load_record(original_folder(plan[0], self.out)), data, self.results)
        names = {replace(run, del_ratio=self.ratio).name for run in plan}
        return [result for result in load_results(self.results) if result.name in names]

    def _load_data(self) -> TaskData:
        processor = partial(load_processor, get_model(self.model))
        return load_task_data(self.task, variant=self.variant, ratio=self.ratio, processor=processor, out=self.out)

    def _one(self, run: RunId, data: TaskData, progress: RunProgress) -> None:
        """Make one checkpoint and its result, unless both are finished."""
        folder = self.out / "mubench" / run.checkpoint_name
        with progress.part(f"{run.method}, seed {run.seed}") as part:
            file = self.results / f"{replace(run, del_ratio=self.ratio).name}.json"
            try:
                args = self._config(run, folder)
                record = train_run(run, args, out=self.out, data=data, callbacks=[part.callback])
                if self._has_result(file, record):
                    part.note("already there")
                    return
                evaluate_checkpoint(folder, record, data, self.results)
            except RuntimeError as error:  # Out of memory, for one: the other runs may still do.
                record = load_record(folder)
                if record is None or run.method == "original":
                    raise
                save_result(failed_run(record, data, str(error)), self.results)
                part.note(f"failed: {str(error).splitlines()[0]}")
                return
            part.note(record.status if record.status != "ok" else f"{record.seconds:.1f} s")

    def _has_result(self, file: Path, record: RunRecord) -> bool:
        if not file.exists():
            return False
        result = load_result(file)
        return result.status != "failed" and result.data_fingerprint == record.data_fingerprint

    def _config(self, run: RunId, folder: Path) -> UnlearningConfig:
        config_class = get_method("retrain" if run.method == "original" else run.method).config_class
        base = None if run.method == "original" else str(original_folder(run, self.out))
        settings = default_config(run, base)
        return config_class(output_dir=str(folder), seed=run.seed, disable_tqdm=True, **settings)
