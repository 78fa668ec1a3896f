"""The files of a finished checkpoint are those that its run ended with, or they are not used."""

from __future__ import annotations

from pathlib import Path

from mubench_hf.errors import BadInput
from mubench_hf.runs.record import RECORD, RunRecord
from mubench_hf.utils.files import known_sha256

STATES = "checkpoint-"
"""How the folders of saved states begin."""


def hashed_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a checkpoint, without its record, saved states and what is hidden."""
    found = {}
    for file in sorted(folder.rglob("*")):
        path = file.relative_to(folder)
        hidden = any(part.startswith((".", STATES)) for part in path.parts)
        if file.is_file() and not hidden and path.as_posix() != RECORD:
            found[path.as_posix()] = known_sha256(file)
    return found


def check_files(folder: str | Path, record: RunRecord, *, only_present: bool = False) -> None:
    """Check that the files of a checkpoint are as they were when its run ended; earlier versions noted no hashes.

    Args:
        folder: The checkpoint.
        record: Its record.
        only_present: Whether files may be missing, as in a published checkpoint, which has only some of them.

    Raises:
        BadInput: Naming each file that was changed or is missing.
    """
    wrong = []
    for path, sha256 in record.files.items():
        file = Path(folder, path)
        if not file.is_file():
            wrong += [] if only_present else [f"{path} is missing"]
        elif known_sha256(file) != sha256:
            wrong.append(f"{path} was changed")
    if wrong:
        raise BadInput(
            f"{folder} is not as its run left it: {'; '.join(wrong)}. Put the file back, or delete the folder and give "
            "the command that made it again."
        )
