"""Reads and checks files of a user's folder; errors say where in a file something is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mubench_hf.errors import BadInput


def json_entries(file: Path) -> list[Any]:
    """Return the entries of a file that is one JSON array or has one JSON object per line.

    Raises:
        BadInput: If it is neither, naming the line, or is not UTF-8.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"{file} is not UTF-8 text: {error.reason} at byte {error.start}. Fetch it again.") from error
    try:
        if text.lstrip().startswith("["):
            return json.loads(text)
    except json.JSONDecodeError as error:
        raise BadInput(f"{file}, line {error.lineno}: no JSON ({error.msg}). Fetch the file again.") from error
    entries = []
    for number, line in enumerate(text.split("\n"), 1):
        try:
            entries += [json.loads(line)] if line.strip() else []
        except json.JSONDecodeError as error:
            raise BadInput(f"{file}, line {number}: no JSON ({error.msg}). Fetch the file again.") from error
    return entries
