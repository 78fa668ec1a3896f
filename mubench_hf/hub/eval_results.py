"""``.eval_results/mubench.yaml`` of a checkpoint: its scores as the Hub's leaderboards read them."""

from __future__ import annotations

from mubench_hf.data.benchmark import SCORED, task_id
from mubench_hf.hub.cards import HUB, SPLIT_TITLES
from mubench_hf.runs.result import RunResult
from mubench_hf.tasks import get_task

EVAL_RESULTS = ".eval_results/mubench.yaml"


def render_eval_results(result: RunResult, *, repo_id: str) -> str | None:
    """Return the text of the file, written by ``huggingface_hub``; ``None`` for a run without these scores.

    Args:
        result: Scores of the checkpoint; they are those of one deletion ratio.
        repo_id: The checkpoint's repository, ``org/name``, whose organisation has the data set too.
    """
    import yaml
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    metric, org = get_task(result.task).metric, repo_id.split("/")[0]
    entries = [
        EvalResultEntry(
            dataset_id=f"{org}/{result.run.dataset_name}",
            task_id=task_id(result.del_ratio, split),
            value=result.scores[f"{split}_{metric}"],
            source_url=f"{HUB}/{repo_id}/blob/main/run_result.json",
            source_name="run_result.json",
            notes=f"{metric} on {SPLIT_TITLES[split]}, {result.method}, seed {result.seed}",
        )
        for split in SCORED
        if result.scores.get(f"{split}_{metric}") is not None
    ]
    if not entries:
        return None
    return yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, width=2**20)
