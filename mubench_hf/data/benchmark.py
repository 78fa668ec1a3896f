"""``eval.yaml`` at a data set's root: with it, the Hub can show a leaderboard of the checkpoints made from it."""

from __future__ import annotations

from mubench_hf.data.blocks import config_name, source_blocks
from mubench_hf.tasks import TaskSpec, Variant

EVAL = "eval.yaml"
FRAMEWORK = "mubench_hf"
SCORED = ("test", "forget", "retain")
"""Splits with a leaderboard of their own at every deletion ratio."""


def task_id(ratio: int | None, split: str) -> str:
    """Return the name of one leaderboard of a data set, such as ``df_5pct_test``."""
    return f"{config_name(ratio)}_{split}"


def render_eval(task: TaskSpec, *, variant: Variant) -> str:
    """Return the text of ``eval.yaml``: one leaderboard per split and deletion ratio.

    Args:
        task: The task.
        variant: Where the rows come from.
    """
    import yaml

    stand_in = f"Mini data, not {task.title}: its numbers say nothing about {task.title}. " if variant == "mini" else ""
    content = {
        "name": f"MU-Bench: {task.title}" + (" (mini stand-in)" if variant == "mini" else ""),
        "description": (
            f"{stand_in}Machine unlearning on {task.title}: a model trained on all rows is made to forget the split "
            f"`forget` of a configuration. Values are {task.metric}, on the test set, on what was to be forgotten and "
            "on what was to be kept. On `forget` the best value is that of a model retrained without these rows."
        ),
        "evaluation_framework": FRAMEWORK,
        "tasks": [
            {"id": f"{config}_{split}", "config": config, "split": split}
            for config in source_blocks(task, variant).configs
            for split in SCORED
        ],
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=2**20)
