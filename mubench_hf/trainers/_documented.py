"""Settings whose help on the command line comes from their class's docstring."""

from __future__ import annotations

import inspect
import re
from dataclasses import Field, field
from typing import Any


def documented_arguments(doc: str | None) -> dict[str, str]:
    """Return argument → text of the ``Args:`` section of a google-style docstring, each text on one line."""
    section = re.search(r"^Args:\n((?: {4}.*\n?|\n)*)", inspect.cleandoc(doc or ""), re.MULTILINE)
    parts = re.split(r"^ {4}(\w+): ", section[1] if section else "", flags=re.MULTILINE)[1:]
    return {name: " ".join(text.split()) for name, text in zip(parts[::2], parts[1::2], strict=True)}


class Documented:
    """Base of a dataclass of arguments: a field's help is its text in the docstring of the class that declares it.

    A field that a class only gives another default keeps its help.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Put the texts where ``HfArgumentParser`` looks for them, before ``dataclass`` reads the fields."""
        super().__init_subclass__(**kwargs)
        texts = documented_arguments(vars(cls).get("__doc__"))
        inherited: dict[str, Field] = getattr(cls, "__dataclass_fields__", {})
        for name in set(vars(cls)) & {*texts, *inherited}:
            default = vars(cls)[name]
            own = default if isinstance(default, Field) else field(default=default)
            metadata = dict(inherited[name].metadata) if name in inherited else {}
            own.metadata = {**metadata, **own.metadata} | ({"help": texts[name]} if name in texts else {})
            setattr(cls, name, own)
