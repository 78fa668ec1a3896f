"""``mubench.json`` at the root of a data set: what was built, from what, and the hash of every file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mubench_hf.errors import BadInput
from mubench_hf.tasks import TaskSpec, Variant, learn_task
from mubench_hf.utils.files import known_sha256
from mubench_hf.utils.json_files import parse_object, read_bytes
from mubench_hf.utils.sealed import seal_holds

FORMAT = 1
"""Version of the folder's layout."""

MANIFEST, CARD = "mubench.json", "README.md"


def fingerprint(files: Mapping[str, Mapping[str, Any]]) -> str:
    """Return one SHA-256 over the names and hashes of all parquet files."""
    return hashlib.sha256("".join(f"{name} {entry['sha256']}\n" for name, entry in files.items()).encode()).hexdigest()


def read_manifest(file: Path) -> dict[str, Any]:
    """Return the contents of a ``mubench.json``.

    Raises:
        BadInput: If there is no such file, or it has another layout.
    """
    try:
        manifest = parse_object(read_bytes(file))
        if manifest["format"] != FORMAT:
            raise ValueError(f"its layout is {manifest['format']!r}, not {FORMAT}")
        if not seal_holds(manifest):
            raise ValueError("it was changed after it was written")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{file.parent} is not a data set that this version builds: {file.name} is missing or not usable "
            f"({error}). Move or delete the folder, or choose another place."
        ) from error
    return manifest


def learn_tasks(out: Path | str) -> list[str]:
    """Make tasks that were made from data, and whose data sets are built under ``out``, known by their names.

    Returns:
        Their names. A folder that holds something else is passed over: whatever reads it says what is wrong.

    Raises:
        BadInput: If one has the name of one of the package's own tasks, or another version described it.
    """
    names = []
    for file in sorted(Path(out, "mubench").glob(f"*/{MANIFEST}")):
        try:
            manifest = parse_object(read_bytes(file))
            described = manifest.get("task_spec") if seal_holds(manifest) else None
        except (OSError, ValueError):
            continue
        if described is not None:
            names.append(learn_task(described).name)
    return names


def check_rows_of(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Check that the parquet files of a built data set are those that were built.

    Raises:
        BadInput: Naming those that are not.
    """
    wrong = _changed_files(folder, manifest)
    if manifest.get("fingerprint") != fingerprint(manifest["files"]):
        wrong.append(f"{MANIFEST} changed")
    if wrong:
        raise BadInput(
            f"{folder} is not as it was built: {'; '.join(wrong)}. Move or delete the folder, and build it again."
        )


def _changed_files(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Return a phrase per parquet file that is missing, or has other bytes or another number of rows than noted."""
    import pyarrow.parquet as pq

    wrong = []
    for name, entry in manifest.get("files", {}).items():
        file = folder / name
        if not file.is_file():
            wrong.append(f"{name} missing")
        elif file.stat().st_size != entry["bytes"] or known_sha256(file) != entry["sha256"]:
            wrong.append(f"{name} changed")
        elif pq.read_metadata(file).num_rows != entry["rows"]:
            wrong.append(f"{name} has not the {entry['rows']} rows that {MANIFEST} says")
    return wrong


def is_built(target: Path, task: TaskSpec, variant: Variant) -> bool:
    """Return whether ``target`` is the complete data set of a task's source.

    Returns:
        False if nothing is there.

    Raises:
        BadInput: If something else is there: another data set, another upstream revision, files changed or missing.
    """
    if not (target.exists() or target.is_symlink()):
        return False
    manifest, source = read_manifest(target / MANIFEST), task.source(variant)
    upstream, deletion, files = (manifest.get(key, {}) for key in ("upstream", "deletion_list", "files"))
    # A raw folder has no revision, and if none is pinned, any will do.
    pinned = None if upstream.get("raw") else source.revision
    asked, there = ({} if each is None else dict(each) for each in (task.description, manifest.get("task_spec")))
    pairs = {
        "task": (manifest.get("task"), task.name),
        "source": (manifest.get("source"), variant),
        "upstream": (upstream.get("id"), source.hub_id),
        "revision": (upstream.get("revision"), pinned or upstream.get("revision")),
        "stream": (deletion.get("stream"), source.stream),
        "deletion list": (deletion.get("sha256"), source.deletion_sha256 or deletion.get("sha256")),
        "fingerprint": (manifest.get("fingerprint"), fingerprint(files)),
    }
    wrong = [f"{what} {found!r} in place of {wanted!r}" for what, (found, wanted) in pairs.items() if found != wanted]
    # A description may be longer than a line, so only the names of the differing parts are given.
    parts = sorted(key for key in asked.keys() | there.keys() if asked.get(key) != there.get(key))
    wrong += [f"a task with another {', '.join(parts)}"] * bool(parts)
    wrong += _changed_files(target, manifest)
    card = target / CARD
    if not card.is_file():
        wrong.append(f"{CARD} missing")
    elif known_sha256(card) != manifest.get("card_sha256", known_sha256(card)):  # Earlier versions noted none.
        wrong.append(f"{CARD} changed")
    if wrong:
        raise BadInput(
            f"{target} holds something else: {'; '.join(wrong)}. Move or delete the folder, or choose another place."
        )
    return True
