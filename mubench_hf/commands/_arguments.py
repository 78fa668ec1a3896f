"""Command-line arguments: a run's names first, then the flags of its method's config."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NoReturn

from mubench_hf.commands._ending import exit_with as exit_with  # Every command ends by it.
from mubench_hf.commands._flags import add_flags
from mubench_hf.errors import BadInput
from mubench_hf.metrics import get_metric
from mubench_hf.models.adapter_settings import AdapterSettings
from mubench_hf.runs.choice import ALL
from mubench_hf.tasks import Variant, get_task
from mubench_hf.utils.files import disk_is_full

METRICS_HELP = (
    "Metrics beside the task's and the default ones: names of `mubench list metrics`, your own as file.py or "
    "package.module, or all."
)

_REFUSALS = (ArithmeticError, ImportError, OSError, RuntimeError, TypeError, ValueError)
"""How ``TrainingArguments`` says that it cannot use a setting; for several of them a package is missing here."""


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
class MethodArguments(TaskArguments):
    """What names a run of a method."""

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
    metrics: list[str] = field(default_factory=list, metadata={"help": METRICS_HELP})


@dataclass
class UnlearnArguments(AdapterSettings, MethodArguments):
    """What unlearning takes beside its method's config: what names the run, and the adapter that it trains."""

    @property
    def adapter(self) -> AdapterSettings:
        """The adapter that is trained."""
        return AdapterSettings(**{each.name: getattr(self, each.name) for each in fields(AdapterSettings)})


class Refusing:
    """Makes an argument parser refuse arguments as the rest of the program refuses input."""

    def error(self, message: str) -> NoReturn:
        """Raise what was wrong.

        Raises:
            BadInput: Always.
        """
        raise BadInput(f"{message}. See --help for what is allowed.")


class CommandParser(Refusing, argparse.ArgumentParser):
    """The parser of one command."""

    def __init__(self, command: str, description: str):
        super().__init__(prog=f"mubench {command}", description=description, allow_abbrev=False)


def parse(
    kind: type,
    argv: Sequence[str],
    defaults: dict[str, Any] | None = None,
    rest: bool = False,
    names: type | None = None,
) -> Any:
    """Parse ``argv`` into the dataclass ``kind``.

    Args:
        kind: The dataclass.
        argv: Arguments, without the program's name.
        defaults: Values that take the place of the dataclass's defaults; flags override them.
        rest: Also return the arguments that ``kind`` does not know, instead of refusing them.
        names: The dataclass whose flags were already taken out of ``argv``; a misspelt flag may be one of them.

    Raises:
        BadInput: If an argument is unknown, missing or not of its type; the nearest flag is suggested.
    """
    parser = _parser(kind)
    parser.set_defaults(**(defaults or {}))
    values, unknown = parser.parse_known_args(list(argv))
    if unknown and not rest:
        parsers = [parser, *([_parser(names)] if names else [])]
        flags = [flag for each in parsers for action in each._actions for flag in action.option_strings]
        near = difflib.get_close_matches(unknown[0].split("=")[0], flags, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise BadInput(f"Unknown argument {unknown[0]!r}.{hint} See --help for what is allowed.")
    try:
        parsed = kind(**vars(values))
    except _REFUSALS as error:
        if isinstance(error, BadInput) or disk_is_full(error):
            raise
        given = ", ".join(word.partition("=")[0] for word in argv if word.startswith("--"))
        raise BadInput(f"These settings ({given}) cannot be used, or not together: {error}") from error
    return (parsed, unknown) if rest else parsed


def _parser(kind: type) -> argparse.ArgumentParser:
    """Return a parser for the flags of a dataclass: for a config, the one made for ``TrainingArguments``.

    The arguments that name a run are read without it, because importing it takes a second.
    """
    if not any(base.__module__.startswith("transformers.") for base in kind.__mro__):
        parser: argparse.ArgumentParser = CommandParser("", "")
        add_flags(parser, kind)
        return parser
    from transformers import HfArgumentParser

    class ConfigParser(Refusing, HfArgumentParser):
        pass

    return ConfigParser(kind, prog="mubench", allow_abbrev=False)


def add_use_cpu(parser: argparse.ArgumentParser) -> None:
    """Add the flag that keeps a command from a GPU, called as for ``TrainingArguments``."""
    parser.add_argument("--use_cpu", action="store_true", help="Run models on the CPU, whatever else there is.")


def add_metrics(parser: argparse.ArgumentParser) -> None:
    """Add the flag for metrics beside the default ones."""
    parser.add_argument("--metrics", nargs="+", default=[], help=METRICS_HELP)


def bring_metrics(references: Sequence[str]) -> None:
    """Check that metrics are known, and make those from outside known to this process.

    Raises:
        BadInput: If there is no such metric, or it does not declare what a metric must.
    """
    for reference in references:
        if reference != ALL:
            get_metric(reference)


def metrics_flag(words: Sequence[str]) -> list[str]:
    """Return the metrics that the words of a command ask for."""
    parser = CommandParser("", "")
    add_metrics(parser)
    return parser.parse_known_args(list(words))[0].metrics


def add_own_task(parser: argparse.ArgumentParser) -> None:
    """Add the flag that makes a task from outside known, whose runs name it without saying where its file is."""
    parser.add_argument("--task", help="The task of the runs, if it is your own: path/to/file.py, package.module:TASK.")


def bring_task(reference: str | None) -> None:
    """Make a task from outside known to this process.

    Raises:
        BadInput: If there is none.
    """
    if reference is not None:
        get_task(reference)


def seed_flag(flags: Sequence[str]) -> int:
    """Return the seed that a config's flags give, or its default; anything but a number is refused later."""
    parser = CommandParser("unlearn", "")
    parser.add_argument("--seed", default="42")
    seed = parser.parse_known_args(list(flags))[0].seed
    try:
        return int(seed)
    except ValueError:
        return 42


def use_cpu_flag(flags: Sequence[str]) -> bool:
    """Return whether a config's flags ask for the CPU; anything but a truth is refused later."""
    parser = CommandParser("unlearn", "")
    parser.add_argument("--use_cpu", "--use-cpu", nargs="?", const="true", default="false")
    return parser.parse_known_args(list(flags))[0].use_cpu.lower() in ("true", "yes", "t", "y", "1")
