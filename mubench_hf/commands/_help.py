"""``--help`` of the commands that make one run: the method's own settings first, not the 150 flags that all share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from functools import partial

from mubench_hf.commands._flags import add_flags

PRESETS = "A task may preset other values than these defaults; a flag overrides both."

OTHERS = """Flags of transformers.TrainingArguments, such as --learning_rate 1e-4 --seed 7, work too or are
refused in one line. See
https://huggingface.co/docs/transformers/main_classes/trainer#transformers.TrainingArguments.
The checkpoint goes to OUT/mubench/NAME OF THE RUN unless --output_dir names another folder."""


def show_help(command: str, about: str, names: type, argv: Sequence[str], method: str | None = None) -> None:
    """Print the help of a command and end the program, if ``argv`` asks for it.

    Args:
        command: Name of the command, ``unlearn``.
        about: What it does.
        names: The dataclass of what names a run.
        argv: Arguments of the command.
        method: The method whose settings it takes; by default the one that ``argv`` names.

    Raises:
        BadInput: If ``argv`` names an unknown method.
        SystemExit: With code 0, after help was printed.
    """
    asked = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    asked.add_argument("-h", "--help", action="store_true")
    asked.add_argument("--method", nargs="?", default=method)
    given = asked.parse_known_args(list(argv))[0]
    if given.help:
        print(run_help(command, about, names, given.method), end="")
        raise SystemExit(0)


def run_help(command: str, about: str, names: type, method: str | None) -> str:
    """Return the help of a command: a method's own settings, what names a run, and where other flags are documented.

    Without a method, it lists the methods and says how to see the settings of one.

    Raises:
        BadInput: If there is no such method.
    """
    takes_method = any(each.name == "method" for each in fields(names))
    chosen = f" --method {method or 'METHOD'}".replace("%", "%%") if takes_method else ""
    parser = argparse.ArgumentParser(
        usage=f"mubench {command} --task TASK{chosen} [flags]",
        description=about,
        add_help=False,
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, max_help_position=36),
    )
    if method is None:
        add_flags(parser.add_argument_group("the run"), names)
        parser.epilog = f"{_methods()}\n\n`mubench {command} --method NAME --help` shows the settings of one."
        return parser.format_help()

    from mubench_hf.trainers import UnlearningConfig, get_method

    chosen_method = get_method(method)
    config = chosen_method.config_class
    bases = config.__mro__[: config.__mro__.index(UnlearningConfig)]
    own = {name for base in bases for name in vars(base).get("__annotations__", {})} & {
        each.name for each in fields(config)
    }
    group = parser.add_argument_group(f"settings of {chosen_method.method_key()}", PRESETS if own else "It has none.")
    add_flags(group, config, own)
    add_flags(parser.add_argument_group("the run"), names)
    # Where a run's checkpoint goes follows from its name, so the config's own default says nothing here.
    shared = set(vars(UnlearningConfig)["__annotations__"]) - own - {"output_dir"}
    add_flags(parser.add_argument_group("settings of every method"), config, shared)
    parser.epilog = OTHERS
    return parser.format_help()


def _methods() -> str:
    """Return one line per method."""
    from mubench_hf.commands.list import method_rows

    rows = method_rows()[1:]
    width = max(len(row[0]) for row in rows)
    return "\n".join(["methods:", *(f"  {row[0]:{width}}  {row[1]}" for row in rows)])
