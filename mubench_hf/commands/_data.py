"""The tasks that a command is asked for: registered ones by name, or one made from data."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mubench_hf.commands._tasks import named_tasks
from mubench_hf.data.manifest import learn_tasks
from mubench_hf.errors import BadInput
from mubench_hf.tasks import TaskSpec, Variant

FLAGS = {
    "data": "Your own data: ORG/NAME on the Hub, a folder (of images in folders called like their classes, for one), "
    "or a .csv, .json, .jsonl or .parquet file.",
    "label": "Column with the class, or with the text to write.",
    "inputs": "Columns that the model reads; may be left out where only one can be meant.",
    "forget": "5%% for rows drawn by the benchmark's rule (default), a file of row numbers, or COLUMN=VALUE.",
    "test": "Name of the test split, or other data; default: the split called test.",
    "hold_out": "Share of the train rows to hold out for testing where there is no test split: 20%%.",
    "kind": "classification, causal_lm or seq2seq, where columns and model do not tell.",
    "task_name": "What the task is called; default: the data's name.",
    "settings": "KEY=VALUE training arguments of every run on these data.",
    "recipe": "KEY=VALUE training arguments of the original alone.",
}
SEVERAL = ("inputs", "settings", "recipe")


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags by which data become a task."""
    group = parser.add_argument_group("your own data, in place of a task")
    for name, text in FLAGS.items():
        group.add_argument(f"--{name}", help=text, nargs="+" if name in SEVERAL else None)


def asked_tasks(arguments: dict[str, Any], variant: Variant, out: str | Path) -> list[TaskSpec]:
    """Return the tasks that the arguments ask for, and take what asks for them out of ``arguments``.

    Args:
        arguments: Parsed arguments: ``tasks``, ``model`` and those of ``add_data_flags``.
        variant: ``full`` or ``mini``.
        out: Output folder, whose own tasks are found by name.

    Raises:
        BadInput: If neither or both are named, or data do not make a task.
    """
    names, model = arguments.pop("tasks"), arguments.pop("model")
    asked = {name: value for name in FLAGS if (value := arguments.pop(name)) is not None}
    if not asked:
        if not names:
            raise BadInput("required: task (see `mubench list tasks`), or your own data: --data with --label.")
        learn_tasks(out)
        return named_tasks(names)
    if names or "data" not in asked or "label" not in asked or variant == "mini":
        shown = ", ".join(f"--{name}" for name in asked)
        raise BadInput(
            f"{shown} {'were' if len(asked) > 1 else 'was'} given"
            f"{f', and the task {names[0]}' if names else ''}{', and --mini' if variant == 'mini' else ''}. Data of "
            "one's own need --data and --label, no name of a task and no --mini."
        )

    from mubench_hf.runs.from_data import task_from_dataset

    asked |= {name: _pairs(name, asked[name]) for name in ("settings", "recipe") if name in asked}
    if "task_name" in asked:
        asked["name"] = asked.pop("task_name")
    return [task_from_dataset(asked.pop("data"), **asked, model=model)]


def _pairs(flag: str, texts: Sequence[str]) -> dict[str, Any]:
    """Return ``KEY=VALUE`` texts as a mapping, numbers and booleans as such."""
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise BadInput(f"--{flag} {text}: needed is KEY=VALUE, such as num_train_epochs=3.")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found
