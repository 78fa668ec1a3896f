"""What Python files declare, read without running them: listing what there is must not import torch."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Declaration:
    """A class or a module, and the constants that it declares.

    Attributes:
        file: Where it is declared.
        name: Name of the class; empty for the module itself.
        doc: Its docstring; empty if it has none.
        constants: Name → value of every constant assigned directly in its body.
        functions: Name → signature of every function defined directly in its body; a default stands as ``...``.
    """

    file: Path
    name: str
    doc: str = ""
    constants: dict[str, Any] = field(default_factory=dict)
    functions: dict[str, Signature] = field(default_factory=dict)


def declared_classes(folder: Path, constant: str) -> list[Declaration]:
    """Return the classes, in the Python files directly in a folder, that assign ``constant`` in their own body."""
    found = []
    for file, tree in _trees(folder):
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and constant in (constants := _constants(node.body)):
                found.append(Declaration(file, node.name, ast.get_docstring(node) or "", constants))
    return found


def declared_modules(folder: Path, constant: str) -> list[Declaration]:
    """Return the modules, among the Python files directly in a folder, that assign ``constant`` at their top level."""
    found = []
    for file, tree in _trees(folder):
        if constant in (constants := _constants(tree.body)):
            functions = {node.name: _signature(node.args) for node in tree.body if isinstance(node, ast.FunctionDef)}
            found.append(Declaration(file, "", ast.get_docstring(tree) or "", constants, functions))
    return found


def _signature(given: ast.arguments) -> Signature:
    positional = [*given.posonlyargs, *given.args]
    first_default = len(positional) - len(given.defaults)
    parameters = [
        Parameter(
            each.arg,
            Parameter.POSITIONAL_ONLY if each in given.posonlyargs else Parameter.POSITIONAL_OR_KEYWORD,
            default=... if place >= first_default else Parameter.empty,
        )
        for place, each in enumerate(positional)
    ]
    if given.vararg:
        parameters.append(Parameter(given.vararg.arg, Parameter.VAR_POSITIONAL))
    for each, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        parameters.append(
            Parameter(each.arg, Parameter.KEYWORD_ONLY, default=Parameter.empty if default is None else ...)
        )
    if given.kwarg:
        parameters.append(Parameter(given.kwarg.arg, Parameter.VAR_KEYWORD))
    return Signature(parameters)


def _trees(folder: Path) -> Iterator[tuple[Path, ast.Module]]:
    for file in sorted(folder.glob("*.py")):
        yield file, ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def _constants(body: Sequence[ast.stmt]) -> dict[str, Any]:
    """Return the constants assigned in a body, by name; ``a, b = 1, 2`` assigns two."""
    found: dict[str, Any] = {}
    targets: Sequence[ast.expr]
    for node in body:
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, assigned = [node.target], node.value
        elif isinstance(node, ast.Assign):
            targets, assigned = node.targets, node.value
        else:
            continue
        try:
            value = ast.literal_eval(_Infinity().visit(assigned))
        except ValueError:
            continue  # It is computed when the file runs, so it cannot be read here.
        for target in targets:
            if isinstance(target, ast.Name):
                found[target.id] = value
            elif isinstance(target, ast.Tuple):
                names = [part.id for part in target.elts if isinstance(part, ast.Name)]
                if len(names) == len(target.elts):
                    found |= dict(zip(names, value, strict=True))
    return found


class _Infinity(ast.NodeTransformer):
    """Reads ``float("inf")``, the one constant that has no literal."""

    def visit_Call(self, node: ast.Call) -> ast.expr:
        text = ast.unparse(node).replace('"', "'")
        return ast.copy_location(ast.Constant(math.inf), node) if text == "float('inf')" else node
