"""Flags of the command line, made from the fields of a dataclass without importing anything heavy."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from dataclasses import MISSING, Field, fields
from enum import Enum
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints


def add_flags(
    to: argparse.ArgumentParser | argparse._ArgumentGroup, kind: type, names: Collection[str] | None = None
) -> None:
    """Add a flag for each field of a dataclass, with its type, its default and the help of its metadata.

    Args:
        to: A parser, or a group of one.
        kind: The dataclass. Fields may be texts, numbers, booleans, ``Literal``, enums, lists of these, or ``None``.
        names: The fields to add; all by default.
    """
    hints = get_type_hints(kind)
    for each in fields(kind):
        if each.init and (names is None or each.name in names):
            _add(to, kind, each, hints[each.name])


def add_mini(to: argparse.ArgumentParser, text: str = "The small stand-in data, which need no network.") -> None:
    """Add the flag that chooses a task's mini source; ``variant`` is ``full`` without it."""
    to.add_argument("--mini", dest="variant", action="store_const", const="mini", default="full", help=text)


def _add(to: argparse.ArgumentParser | argparse._ArgumentGroup, kind: type, each: Field, hint: Any) -> None:
    default = each.default_factory() if each.default_factory is not MISSING else each.default
    reading, dashed = _reading(hint), each.name.replace("_", "-")
    if default is MISSING:
        to.add_argument(f"--{each.name}", required=True, help=_help(kind, each.name, default), **reading)
        return
    to.add_argument(f"--{each.name}", default=default, help=_help(kind, each.name, default), **reading)
    unseen: dict[str, Any] = {"dest": each.name, "default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
    if dashed != each.name:
        to.add_argument(f"--{dashed}", **unseen, **reading)
    if default is True:
        to.add_argument(f"--no_{each.name}", f"--no-{dashed}", action="store_false", **unseen)


def _reading(hint: Any) -> dict[str, Any]:
    """Return the arguments of ``add_argument`` that read a value of this type."""
    choices = [part for part in get_args(hint) if part is not NoneType]
    if get_origin(hint) is Literal:
        return {"type": type(choices[0]), "choices": choices, "metavar": "|".join(map(str, choices))}
    if get_origin(hint) is list:
        return {**_reading(choices[0]), "nargs": "+"}
    if choices:  # A union: values of several types can all be written as text.
        return _reading(choices[0] if len(choices) == 1 else str)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {"type": hint, "metavar": "|".join(str(member.value) for member in hint)}
    if hint is bool:
        return {"type": _truth, "nargs": "?", "const": True, "metavar": "true|false"}
    number = hint if hint in (int, float) else None
    return {"type": number, "metavar": hint.__name__.upper()} if number else {"metavar": "TEXT"}


def _truth(text: str) -> bool:
    truths = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in truths:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return truths[text.lower()]


def _help(kind: type, name: str, default: Any) -> str:
    """Return a field's help from its metadata, or from the nearest base class that has one, with its default."""
    bases = [base.__dict__.get("__dataclass_fields__", {}) for base in kind.__mro__]
    texts = [base[name].metadata.get("help") for base in bases if name in base]
    text = " ".join(next(filter(None, texts), "").split())
    if default is not MISSING and default not in (None, "") and "default:" not in text:
        shown = getattr(default, "value", default)
        if isinstance(default, bool):
            shown = str(default).lower()
        elif isinstance(default, list):
            shown = " ".join(map(str, default))
        text = f"{text} (default: {shown})".strip()
    return text.replace("%", "%%")  # argparse formats help with %.
