"""Files of a user's folder: read and checked, with the place of what is wrong in them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mubench_hf.errors import BadInput


def json_entries(file: Path) -> list[Any]:
    """Return the entries of a file that is one JSON array or has one JSON object a line.

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


def undecodable(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Decode every image once and yield the path of each that fails, and why, in the given order."""
    paths = list(paths)
    with ThreadPoolExecutor() as pool:  # Decoding lets other threads run.
        yield from ((path, reason) for path, reason in zip(paths, pool.map(_reason, paths), strict=True) if reason)


def _reason(path: str) -> str | None:
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return str(error).splitlines()[0]
    return None
