"""Fields of records and results, whoever wrote them: their types, and names that become parts of files' names."""

from __future__ import annotations

import json
import numbers
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from mubench_hf.errors import BadInput
from mubench_hf.tasks import VARIANTS

# These become parts of file names and Hub repository names, even if the JSON comes from a stranger.
NAME_PARTS = ("task", "model", "method")
SAFE_NAME = re.compile(r"(?!.*\.py$)[A-Za-z0-9][A-Za-z0-9._-]*")

LONGEST_NAME, LARGEST_SEED = 100, 2**64 - 1
"""Characters of a part of a name, so that files can be called after it, and the largest seed of any generator."""


def check_run(run: Any) -> None:
    """Check the parts of a run's name.

    Args:
        run: A ``RunId``, or whatever has its fields, of their types.

    Raises:
        BadInput: If a part cannot be one.
    """
    for name in NAME_PARTS:
        value = getattr(run, name)
        if not SAFE_NAME.fullmatch(value) or len(value) > LONGEST_NAME:
            raise BadInput(
                f"Field {name!r} is {value!r}; it must start with a letter or digit and hold only letters, digits, "
                f"'.', '_' and '-', at most {LONGEST_NAME}, because files are named after it, and not end in '.py'."
            )
    require(run.variant in VARIANTS, "variant", run.variant, f"one of {', '.join(VARIANTS)}")
    ratio = 1 if run.del_ratio is None else run.del_ratio
    require(1 <= ratio <= 10, "del_ratio", run.del_ratio, "1 to 10 (percent of the train set)")
    require(0 <= run.seed <= LARGEST_SEED, "seed", run.seed, f"0 to {LARGEST_SEED}")


def typed_fields(owner: Any, skipped: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the fields of a data class as plain types, each checked against its annotation.

    Raises:
        BadInput: If one has another type.
    """
    kept = (spec for spec in fields(owner) if spec.name not in skipped)
    return {spec.name: typed(spec.name, str(spec.type), getattr(owner, spec.name)) for spec in kept}


def typed(name: str, annotation: str, value: Any) -> Any:
    """Return ``value`` if it has the annotated type; a mapping is copied into plain JSON types."""
    if annotation.startswith("dict"):
        require(isinstance(value, Mapping), name, value, "a mapping")
        # Scores are converted one by one: they may be NumPy numbers, which JSON does not know.
        return dict(value) if name == "scores" else _plain(name, value)
    if annotation.endswith("| None") and value is None:
        return None
    kind = annotation.removesuffix(" | None")
    if kind == "int":
        require(isinstance(value, numbers.Integral) and not isinstance(value, bool), name, value, "a whole number")
        return int(value)
    if kind == "float":
        is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        require(is_number and 0 <= value < float("inf"), name, value, "a number, 0 or more")
        return value
    require(isinstance(value, str) and bool(value.strip() or name == "tag"), name, value, "text that is not empty")
    return value


def require(holds: bool, name: str, found: object, allowed: str) -> None:
    """Check that a field is what is allowed.

    Raises:
        BadInput: If it is not.
    """
    if not holds:
        raise BadInput(f"Field {name!r} is {found!r}; allowed: {allowed}.")


def _plain(name: str, value: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return json.loads(json.dumps(dict(value), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(f"Field {name!r} cannot be written as JSON: {error}.") from error
