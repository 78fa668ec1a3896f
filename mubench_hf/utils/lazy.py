"""Public names of a package that are imported when first used, declared once for run time and for editors."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

Exports = tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]


def lazy_exports(package: str, file: str) -> Exports:
    """Return the ``__getattr__``, ``__dir__`` and ``__all__`` of a package that declares its names for type checkers.

    The package's ``__init__`` imports its public names under ``if TYPE_CHECKING:``, which an editor reads and Python
    skips. Reading the same lines here makes them the only list of public names.

    Args:
        package: Name of the package, its ``__name__``.
        file: Its source, ``__file__``.

    Raises:
        AttributeError: From the ``__getattr__`` that is returned, for a name that is not declared.
    """
    homes = declared_imports(Path(file))

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return get, names, sorted(homes)


def declared_imports(file: Path) -> Mapping[str, str]:
    """Return name → module of every ``from module import name as name`` under ``if TYPE_CHECKING:`` in a file."""
    found: dict[str, str] = {}
    for node in ast.parse(file.read_text(encoding="utf-8"), filename=str(file)).body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for each in node.body:
                if isinstance(each, ast.ImportFrom) and each.module:
                    found |= {name.name: each.module for name in each.names if name.asname == name.name}
    return found
