"""Settings whose help on the command line comes from their class's docstring."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import Field, field
from types import MappingProxyType
from typing import Any, ClassVar

from mubench_hf.trainers._settings import ALLOWED, Range


def documented_arguments(doc: str | None) -> dict[str, str]:
    """Return argument → text of the ``Args:`` section of a google-style docstring, each text on one line."""
    section = re.search(r"^Args:\n((?: {4}.*\n?|\n)*)", inspect.cleandoc(doc or ""), re.MULTILINE)
    parts = re.split(r"^ {4}(\w+): ", section[1] if section else "", flags=re.MULTILINE)[1:]
    return {name: " ".join(text.split()) for name, text in zip(parts[::2], parts[1::2], strict=True)}


class Documented:
    """Base of a dataclass of arguments: a field's help is its text in the docstring of the class that declares it.

    A field that a class only gives another default keeps its help, and the numbers that it may be.

    Attributes:
        ranges: Name of a field → the numbers that it may be, where ``setting`` declares them.
    """

    ranges: ClassVar[Mapping[str, Range]] = MappingProxyType({})

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Put the texts where ``HfArgumentParser`` looks for them, before ``dataclass`` reads the fields."""
        super().__init_subclass__(**kwargs)
        texts = documented_arguments(vars(cls).get("__doc__"))
        inherited: dict[str, Field] = getattr(cls, "__dataclass_fields__", {})
        made = {name for name, value in vars(cls).items() if isinstance(value, Field)}
        ranges = dict(cls.ranges)
        for name in made | set(vars(cls)) & {*texts, *inherited}:
            default = vars(cls)[name]
            own = default if isinstance(default, Field) else field(default=default)
            metadata = {**(inherited[name].metadata if name in inherited else {}), **own.metadata}
            # The parser makes a flag of all that stands in the metadata.
            if allowed := metadata.pop(ALLOWED, None):
                ranges[name] = allowed
            if name in texts:
                bounds = ranges[name].bounds if name in ranges else ""
                metadata["help"] = f"{texts[name]} Allowed: {bounds}." if bounds else texts[name]
            own.metadata = metadata
            setattr(cls, name, own)
        cls.ranges = MappingProxyType(ranges)
