"""Command-line arguments: a run's names first, then the flags of its method's config."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mubench_hf.errors import BadInput
from mubench_hf.tasks import Variant
from mubench_hf.utils.files import disk_is_full


@dataclass
class TaskArguments:
    """What every command on a task takes."""

    task: str = field(
        metadata={"help": "A task of `mubench list tasks`, or your own: path/to/file.py, package.module:TASK."}
    )
    mini: bool = field(default=False, metadata={"help": "Use the small stand-in data, which need no network."})
    model: str | None = field(
        default=None, metadata={"help": "A model of `mubench list models`, a Hub id or a folder; default: the task's."}
    )
    out: str = field(default=".", metadata={"help": "Folder with data set, checkpoints and results."})

    @property
    def variant(self) -> Variant:
        """Which source is meant."""
        return "mini" if self.mini else "full"


@dataclass
class UnlearnArguments(TaskArguments):
    """What unlearning takes beside its method's config."""

    method: str = field(
        default="",
        metadata={"help": "A method of `mubench list methods`, or your own: file.py:Trainer, package.module:Trainer."},
    )
    del_ratio: str | None = field(default=None, metadata={"help": "Percent of train to forget, 1 to 10; default: 5."})
    base: str | None = field(default=None, metadata={"help": "Original to start from: a folder or a Hub repository."})
    original_seed: int | None = field(
        default=None, metadata={"help": "Seed of the original to start from; default: the run's own seed."}
    )
    evaluate: bool = field(default=True, metadata={"help": "Evaluate the checkpoint into OUT/results afterwards."})


class CommandParser(argparse.ArgumentParser):
    """Refuses arguments the way the rest of the program refuses input."""

    def __init__(self, command: str, description: str):
        super().__init__(prog=f"mubench {command}", description=description, allow_abbrev=False)

    def error(self, message: str) -> None:
        """Raise what was wrong.

        Raises:
            BadInput: Always.
        """
        raise BadInput(f"{message}. See: {self.prog} --help")


def parse(kind: type, argv: Sequence[str], defaults: dict[str, Any] | None = None, rest: bool = False) -> Any:
    """Parse ``argv`` into the dataclass ``kind``.

    Args:
        kind: The dataclass.
        argv: Arguments, without the program's name.
        defaults: Values that take the place of the dataclass's defaults; flags override them.
        rest: Return the arguments that ``kind`` does not know as well, instead of refusing them.

    Raises:
        BadInput: If an argument is unknown, missing or not of its type; the nearest flag is suggested.
    """
    from transformers import HfArgumentParser

    parser = HfArgumentParser(kind, prog="mubench", allow_abbrev=False)
    parser.set_defaults(**(defaults or {}))
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            parsed, unknown = parser.parse_args_into_dataclasses(list(argv), return_remaining_strings=True)
    except SystemExit as end:
        if end.code == 0:  # --help
            raise
        raise BadInput(complaint.getvalue().strip().splitlines()[-1].removeprefix("mubench: error: ")) from None
    except (ValueError, TypeError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"The arguments do not fit together: {error}") from error
    if rest:
        return parsed, unknown
    if unknown:
        flags = [flag for action in parser._actions for flag in action.option_strings]
        near = difflib.get_close_matches(unknown[0].split("=")[0], flags, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise BadInput(f"Unknown argument {unknown[0]!r}.{hint} See --help for what is allowed.")
    return parsed


def seed_flag(flags: Sequence[str]) -> int:
    """Return the seed among the flags of a config, whose default it has; what is no number is refused later."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--seed", default="42")
    seed = parser.parse_known_args(list(flags))[0].seed
    return int(seed) if seed.isdecimal() else 42


def exit_with(main: Callable[[Sequence[str]], None], argv: Sequence[str] | None = None) -> None:
    """Call ``main`` with the command line; bad input or a full disk is one line on standard error and exit code 2.

    Raises:
        SystemExit: With code 2, on bad input or a full disk.
    """
    try:
        main(sys.argv[1:] if argv is None else argv)
    except Exception as error:
        if isinstance(error, BadInput):
            line = str(error)
        elif disk_is_full(error):
            line = (
                f"The disk is full: {error}. What was finished before is kept. Make room and give the same command; "
                "it goes on from there."
            )
        else:
            raise
        if int(os.environ.get("RANK", 0)) == 0:
            print(f"mubench: {' '.join(line.split())}", file=sys.stderr)
        raise SystemExit(2) from None
