"""A submission's own folder in a results data set: named after what it holds, so that nobody can add to another's."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mubench_hf.errors import BadInput
from mubench_hf.utils.json_files import parse_object, read_bytes

SUBMISSIONS, MANIFEST = "submissions", "submission.json"
"""Folder of all submissions, and the file in each one's folder that lists its results."""

FLAT = ""
"""What the results are called that lie in no submission's folder: together they are one submission."""

ID = re.compile("[0-9a-f]{12}")

LARGEST_MANIFEST = 2**20
"""Bytes of a list of results; one of a thousand runs has a tenth of it."""


@dataclass(frozen=True)
class Manifest:
    """What a submission holds.

    Attributes:
        runs: Data set and name of a run, ``cifar100/RUN`` → SHA-256 of its result and of its outputs, which may be
            missing.
        references: Whose originals and retrained models its scores are compared with: ``None`` for its own, else the
            id of another submission.
    """

    runs: Mapping[str, tuple[str, str]]
    references: str | None = None

    def to_bytes(self) -> bytes:
        """Return the content of the file; equal submissions give equal bytes."""
        content = {"references": self.references, "runs": dict(sorted(self.runs.items()))}
        return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()

    @property
    def id(self) -> str:
        """The submission's name: a hash of all that it holds."""
        return hashlib.sha256(self.to_bytes()).hexdigest()[:12]

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the list of the submission whose folder this is.

        Raises:
            BadInput: If there is none, it is not one that ``to_bytes`` wrote, or the folder has not its id as name.
        """
        file = folder / MANIFEST
        if not ID.fullmatch(folder.name) or not file.is_file():
            raise BadInput(
                f"A submission's folder has {MANIFEST} in it and 12 digits of its hash as name, unlike "
                f"{folder.name[:60]!r}. Submit it by `mubench submit`."
            )
        try:
            content = parse_object(read_bytes(file, LARGEST_MANIFEST))
            runs, references = content.pop("runs"), content.pop("references")
            if content or not all(isinstance(each, str) for pair in runs.values() for each in pair):
                raise ValueError("other fields than runs and references, or other values than pairs of texts")
            runs = {place: (result, outputs) for place, (result, outputs) in runs.items()}
            if references not in (None, FLAT) and not ID.fullmatch(references):
                raise ValueError(f"references are {references!r}")
            found = cls(runs, references)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadInput(f"Its {MANIFEST} is no list of a submission's results ({error}). Submit it anew.") from error
        if found.id != folder.name:
            raise BadInput(
                f"Its {MANIFEST} has the id {found.id}, and its folder is called {folder.name}: it was changed, or put "
                "under another's name. Submit it anew."
            )
        return found


def submission_of(path: str) -> str:
    """Return the id of the submission that a file belongs to by its path in a results data set."""
    parts = path.split("/")
    return parts[1] if parts[0] == SUBMISSIONS and len(parts) > 2 else FLAT
