"""``verified.json``: which results were recomputed, by the hashes of the two files that were read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from mubench_hf.errors import BadInput
from mubench_hf.utils.files import write_atomic
from mubench_hf.utils.json_files import parse_object, read_bytes

MARKS = "verified.json"
"""At the root of a results data set. A submission never holds it: it is what maintainers say of one."""

Marks = dict[str, tuple[str, str]]
"""``Entry.key`` → SHA-256 of its result and of its outputs. Other files of that name are not what was verified."""


def read_marks(folder: Path) -> Marks:
    """Return the marks of a folder, none where there is no ``verified.json``.

    Raises:
        BadInput: If the file is not one that ``write_marks`` wrote.
    """
    file = folder / MARKS
    if not file.is_file():
        return {}
    try:
        content = parse_object(read_bytes(file))
        return {str(name): (str(mark["result"]), str(mark["outputs"])) for name, mark in content.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{file} is not a list of verified results ({type(error).__name__}). Delete it and verify again."
        ) from error


def write_marks(folder: Path, marks: Mapping[str, tuple[str, str]]) -> Path:
    """Write ``verified.json`` and return its path; equal marks give equal bytes."""
    content = {name: {"result": result, "outputs": outputs} for name, (result, outputs) in sorted(marks.items())}
    text = json.dumps(content, indent=1) + "\n"
    return write_atomic(folder / MARKS, lambda stream: stream.write(text.encode()))
