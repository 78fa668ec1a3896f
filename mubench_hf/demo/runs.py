"""Finished runs to show: those in an output folder, or those that an organisation published on a Hub."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError

from mubench_hf.demo.bench import Bench, Checkpoint, DataPlace
from mubench_hf.demo.clips import Clips
from mubench_hf.demo.models import ModelCache
from mubench_hf.errors import BadInput, unknown_name
from mubench_hf.hub.bundle import RESULT
from mubench_hf.hub.cards import OUTPUTS
from mubench_hf.hub.download import checkpoint_folder
from mubench_hf.hub.retries import Retries, refusal
from mubench_hf.runs.checked import check_files
from mubench_hf.runs.record import ORIGINAL, load_record
from mubench_hf.runs.scores import REFERENCES
from mubench_hf.runs.store import load_logits, load_result, load_results
from mubench_hf.tasks import known_task, recorded_task

if TYPE_CHECKING:
    from huggingface_hub import HfApi, ModelInfo

    from mubench_hf.runs.result import RunResult

TAG = "machine-unlearning"
"""What published checkpoints are tagged with."""

REQUESTS = 8
"""Results fetched from a Hub at a time."""


class DemoRuns:
    """Runs by task and ratio.

    A task's key is the name of its data set, ``cifar100`` or ``cifar100-mini``; where there are runs of several models
    on it, the model's name follows.

    A ratio is ``None`` where the rows to forget were named: such a task has no other.

    Args:
        runs: All runs.
        places: Name of a data set → where it is.
    """

    def __init__(self, runs: Sequence[Checkpoint], places: Mapping[str, DataPlace]):
        models, groups = defaultdict(set), defaultdict(list)
        for checkpoint in runs:
            models[checkpoint.result.run.dataset_name].add(checkpoint.result.model)
        for checkpoint in sorted(runs, key=lambda checkpoint: checkpoint.result.name):
            run = checkpoint.result.run
            alone = len(models[run.dataset_name]) == 1
            groups[run.dataset_name if alone else run.table_name].append(checkpoint)
        self._groups: dict[str, list[Checkpoint]] = {
            key: group
            for key, group in sorted(groups.items())
            if any(checkpoint.result.method == ORIGINAL for checkpoint in group)
        }
        self._places = places
        self._benches: dict[tuple[str, int | None], Bench] = {}
        self._models, self._clips, self._lock = ModelCache(), Clips(), threading.Lock()

    @classmethod
    def local(cls, folder: Path | str) -> DemoRuns:
        """Return the runs of an output folder of ``mubench run``, or of one that holds such a folder for each task.

        Raises:
            BadInput: If it holds no finished original, a result cannot be read, or its task is not known here.
        """
        folder = Path(folder)
        below = sorted(child for child in folder.iterdir() if child.is_dir()) if folder.is_dir() else []
        outs = [out for out in (folder, *below) if (out / "results").is_dir()]
        runs, places = [], {}
        for out in outs:
            for result in load_results(out / "results"):
                recorded_task(result.task, result.external)  # Before the page is there, not when it is asked.
                runs.append(_on_disk(result, out))
                places[result.run.dataset_name] = DataPlace(out)
        found = cls(runs, places)
        if not found.tasks():
            raise BadInput(f"{folder} holds no finished run. Run: mubench run cifar100 --mini --out {folder}")
        return found

    @classmethod
    def hub(cls, org: str = "mubench") -> DemoRuns:
        """Return the runs that an organisation published, each at the commit that is its newest now.

        Only the results are fetched here; a model and its data set are when they are first shown.

        Raises:
            BadInput: If the Hub cannot be reached, or the organisation has no original on it.
        """
        from huggingface_hub import HfApi, constants

        api = HfApi()
        retries = Retries(api.endpoint)
        try:
            found = retries.ask(lambda: list(api.list_models(author=org, filter=TAG, expand=["sha"])))
            with ThreadPoolExecutor(REQUESTS) as pool:
                runs = [run for run in pool.map(partial(_on_hub, retries), found) if run]
            names = {run.result.run.dataset_name for run in runs}
            commits = {name: _commit(api, retries, f"{org}/{name}") for name in sorted(names)}
        except HfHubHTTPError as error:
            raise refusal(f"What {org} published cannot be listed", error) from error
        out = Path(constants.HF_HOME, "mubench")
        shown = cls(runs, {name: DataPlace(out, org, commit) for name, commit in commits.items()})
        if not shown.tasks():
            raise BadInput(f"{org} has published no original on {api.endpoint}. See: mubench publish --help")
        return shown

    def tasks(self) -> list[str]:
        """Return the keys of all tasks of which there is an original with a result."""
        return list(self._groups)

    def ratios(self, task: str) -> list[int | None]:
        """Return the deletion ratios of a task, in percent.

        Raises:
            BadInput: If there is no such task.
        """
        return sorted({checkpoint.result.del_ratio for checkpoint in self._group(task)}, key=lambda ratio: ratio or 0)

    def results(self, task: str, ratio: int | None) -> list[RunResult]:
        """Return all results of a task at a ratio, of every seed.

        Raises:
            BadInput: If there is no such task or ratio.
        """
        if ratio not in self.ratios(task):
            raise BadInput(f"There are no runs of {task} at {_share(ratio)}. Allowed: {_listed(self.ratios(task))}.")
        return [checkpoint.result for checkpoint in self._group(task) if checkpoint.result.del_ratio == ratio]

    def methods(self, task: str, ratio: int | None) -> list[str]:
        """Return the methods of which a model can be shown: original, retrain, then the others by name.

        Raises:
            BadInput: If there is no such task or ratio.
        """
        return list(self._shown(task, ratio))

    def bench(self, task: str, ratio: int | None) -> Bench:
        """Return a task at a ratio, the same one at every call.

        Raises:
            BadInput: If there is no such task or ratio.
        """
        results, shown = self.results(task, ratio), self._shown(task, ratio)
        with self._lock:
            if (task, ratio) not in self._benches:
                place = self._places[results[0].run.dataset_name]
                self._benches[task, ratio] = Bench(results, shown, place, self._models, self._clips)
            return self._benches[task, ratio]

    def _group(self, task: str) -> list[Checkpoint]:
        if task not in self._groups:
            raise unknown_name("task", task, self._groups)
        return self._groups[task]

    def _shown(self, task: str, ratio: int | None) -> dict[str, Checkpoint]:
        """Return the run of each method that is shown: the preset's, with the original's seed, else the lowest."""
        self.results(task, ratio)
        # An original serves all ratios; on a Hub it has its result at one of them.
        original = min(
            (checkpoint for checkpoint in self._group(task) if checkpoint.result.method == ORIGINAL),
            key=lambda each: (each.result.del_ratio != ratio, each.result.run.tag != "", each.result.seed),
        )
        runs = [
            checkpoint
            for checkpoint in self._group(task)
            if checkpoint.result.del_ratio == ratio and checkpoint.result.status != "failed"
        ]
        seed = original.result.seed
        runs.sort(key=lambda run: (run.result.run.tag != "", run.result.seed != seed, run.result.seed), reverse=True)
        # The last one of a method is the one that stays.
        by_method = {run.result.method: run for run in runs} | {ORIGINAL: original}
        order = sorted(by_method, key=lambda name: (name not in REFERENCES, name))
        return {name: by_method[name] for name in order}


def _on_disk(result: RunResult, out: Path) -> Checkpoint:
    folder, results = out / "mubench" / result.run.checkpoint_name, out / "results"
    return Checkpoint(result, partial(_checked, result, lambda: folder), partial(load_logits, result.name, results))


def _commit(api: HfApi, retries: Retries, dataset: str) -> str | None:
    """Return the newest commit of a data set; ``None`` where there is none, which loading it will say."""
    try:
        return retries.ask(api.dataset_info, dataset).sha
    except RepositoryNotFoundError:
        return None


def _on_hub(retries: Retries, repo: ModelInfo) -> Checkpoint | None:
    """Return a published run, ``None`` where a repository holds none that can be read, or one of an unknown task."""
    from huggingface_hub import hf_hub_download

    try:
        file = retries.ask(hf_hub_download, repo.id, RESULT, revision=repo.sha)
    except EntryNotFoundError:
        return None
    try:
        result = load_result(file)
        known = known_task(result.task, result.external)
    except BadInput:  # One bad repository hides no other.
        return None
    if known is None:
        return None
    # A commit never changes, so the Hub is asked for it once.
    folder = cache(partial(_checked, result, lambda: checkpoint_folder(repo.id, repo.sha)))
    return Checkpoint(result, folder, lambda: load_logits(Path(OUTPUTS).stem, folder(), result.hashes))


def _checked(result: RunResult, find: Callable[[], Path]) -> Path:
    """Return the folder of a run's checkpoint.

    Raises:
        BadInput: If it is that of another run, or none.
    """
    folder = find()
    record = load_record(folder)
    if record is None or not record.finished:
        raise BadInput(f"{folder} is not the checkpoint of a finished run of this benchmark. Run it to its end.")
    if record.run.at(result.del_ratio) != result.run:
        raise BadInput(f"{folder} is the checkpoint of {record.run.name}, not of {result.name}. Show another one.")
    check_files(folder, record, only_present=True)
    return folder


def _listed(ratios: Sequence[int | None]) -> str:
    return ", ".join(map(_share, ratios))


def _share(ratio: Any) -> str:
    return "named rows" if ratio is None else f"{ratio!r} %"
