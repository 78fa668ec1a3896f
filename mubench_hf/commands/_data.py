"""The tasks that a command is asked for: registered tasks by name, or one made from data."""

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
    "data": "Your own data: ORG/NAME on the Hub, a folder (for example of images in folders named after their "
    "classes), or a .csv, .json, .jsonl or .parquet file.",
    "label": "Column with the class, or with the text to write.",
    "inputs": "Columns that the model reads; not needed if only one is possible.",
    "forget": "5%% for rows drawn by the benchmark's rule (default), a file of row numbers, or COLUMN=VALUE.",
    "test": "Name of the test split, or other data; default: the split called test.",
    "hold_out": "Share of the train rows to hold out for testing if there is no test split, such as 20%%.",
    "kind": "classification, causal_lm or seq2seq, if columns and model do not tell.",
    "task_name": "What the task is called; default: the data's name.",
    "settings": "Training arguments of every run on these data, as KEY=VALUE.",
    "recipe": "Training arguments of the original alone, as KEY=VALUE.",
}
SEVERAL = ("inputs", "settings", "recipe")


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that turn data into a task."""
    group = parser.add_argument_group("your own data, in place of a task")
    for name, text in FLAGS.items():
        group.add_argument(f"--{name}", help=text, nargs="+" if name in SEVERAL else None)


def asked_tasks(arguments: dict[str, Any], variant: Variant, out: str | Path) -> list[TaskSpec]:
    """Return the tasks that the arguments ask for, and remove those arguments from ``arguments``.

    Args:
        arguments: Parsed arguments: ``tasks``, ``model`` and those of ``add_data_flags``.
        variant: ``full`` or ``mini``.
        out: Output folder; tasks made from data in it are found by name.

    Raises:
        BadInput: If neither tasks nor data are named, or both, or the data do not make a task.
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
            f"{f', and the task {names[0]}' if names else ''}{', and --mini' if variant == 'mini' else ''}. Your own "
            "data need --data and --label, and allow neither the name of a task nor --mini."
        )

    be_quiet()

    from mubench_hf.runs.from_data import task_from_dataset

    asked |= {name: pairs(name, asked[name]) for name in ("settings", "recipe") if name in asked}
    if "task_name" in asked:
        asked["name"] = asked.pop("task_name")
    return [task_from_dataset(asked.pop("data"), **asked, model=model)]


def be_quiet() -> None:
    """Show only this command's own progress and errors."""
    import datasets
    import transformers

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()


def pairs(flag: str, texts: Sequence[str]) -> dict[str, Any]:
    """Return ``KEY=VALUE`` texts as a mapping, numbers and booleans as such.

    Raises:
        BadInput: If one is not like that.
    """
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise BadInput(f"--{flag} {text} is not KEY=VALUE. Write it like num_train_epochs=3.")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found
