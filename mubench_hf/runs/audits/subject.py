"""A checkpoint that is audited, and the ones that it is compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from mubench_hf.errors import BadInput
from mubench_hf.kinds.measures import get_measure
from mubench_hf.metrics.parameters import REFERENCES
from mubench_hf.runs.checked import check_files, hashed_files
from mubench_hf.runs.record import RunId, RunRecord, load_record, reference_names
from mubench_hf.runs.setup import Setup, setup_of
from mubench_hf.utils.sealed import content_sha256


@dataclass(frozen=True)
class Subject:
    """A checkpoint that is to be audited.

    Attributes:
        folder: Its folder.
        record: The finished run.
        find: The name of another checkpoint → its folder; ``None`` if it is not where this one is.
        out: Folder with its data set, where ``audits`` is written.
        ratio: For an original, which serves every ratio: the one to audit it at.
        org: Organisation on the Hub that has the data set, if it is not built.
        published: Whether it was fetched, so that files may be missing.
    """

    folder: Path
    record: RunRecord
    find: Callable[[str], Path | None]
    out: Path
    ratio: int | None = None
    org: str = "mubench"
    published: bool = False

    @cached_property
    def setup(self) -> Setup:
        """The table that the run belongs to."""
        return setup_of(self.record, self.folder, self.out, self.ratio)

    @property
    def run(self) -> RunId:
        """The run, at the ratio of its scores."""
        return self.record.run.at(self.setup.del_ratio)

    @cached_property
    def sha256(self) -> str:
        """Hash of the checkpoint's files."""
        return self.record.checkpoint_sha256 or content_sha256(hashed_files(self.folder))

    def check(self) -> None:
        """Check that the checkpoint is finished and as its run left it, and that something is measured of its kind.

        Raises:
            BadInput: If not.
        """
        if not self.record.finished:
            raise BadInput(f"{self.folder} is not finished. Run the command that started it again; it goes on there.")
        get_measure(self.setup.task.kind)
        check_files(self.folder, self.record, only_present=self.published)

    def references(self) -> dict[str, Subject]:
        """Return the original and the retrained model that this one is compared with, as far as they are there."""
        names = reference_names(self.run, self.record.base_model, self.record.external)
        found = {}
        for key in REFERENCES:
            folder = self.folder if self.run.method == key else self.find(names[key]) if key in names else None
            record = None if folder is None else load_record(folder)
            if folder and record and record.finished:
                found[key] = replace(self, folder=folder, record=record, ratio=self.setup.del_ratio)
        return found
