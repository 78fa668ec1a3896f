"""``run.json`` beside a checkpoint: which run made it, from what, and how it ended."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mubench_hf.errors import BadInput
from mubench_hf.runs.cost import check_cost
from mubench_hf.runs.fields import check_run, require, typed_fields
from mubench_hf.tasks import Variant
from mubench_hf.utils.differences import differences
from mubench_hf.utils.files import write_atomic
from mubench_hf.utils.json_files import parse_object, read_bytes
from mubench_hf.utils.locks import is_lock
from mubench_hf.utils.sealed import SEAL, content_sha256, seal_holds, sealed

RECORD = "run.json"

STATUSES = ("running", "ok", "diverged", "failed")

ORIGINAL = "original"
"""Stands in place of a method for the run that trains on all rows."""


@dataclass(frozen=True)
class RunId:
    """Names one run.

    Attributes:
        task: Key of the task.
        variant: ``full`` or ``mini``.
        model: Name of the model.
        method: ``original``, or the key of a method.
        del_ratio: Percent of train to forget; ``None`` if the rows to forget are named, and for an original, which
            forgets nothing and is scored at one ratio at a time, see ``at``.
        seed: Seed of the run.
        tag: Eight hex digits that stand for whatever differs from the preset, see ``tag_of``; empty if nothing does.
    """

    task: str
    variant: Variant
    model: str
    method: str
    del_ratio: int | None
    seed: int
    tag: str = ""

    @property
    def dataset_name(self) -> str:
        """``<task>`` or ``<task>-mini``."""
        return f"{self.task}-mini" if self.variant == "mini" else self.task

    @property
    def table_name(self) -> str:
        """``<task>[-mini]-<model>``, shared by all runs that can be compared."""
        return f"{self.dataset_name}-{self.model}"

    @property
    def name(self) -> str:
        """``<task>[-mini]-<model>-<method>[-df<ratio>pct]-s<seed>[-x<tag>]``: the name of the run's result."""
        ratio = "" if self.del_ratio is None else f"-df{self.del_ratio}pct"
        return f"{self.table_name}-{self.method}{ratio}-s{self.seed}" + (f"-x{self.tag}" if self.tag else "")

    @property
    def checkpoint_name(self) -> str:
        """Name of the run's checkpoint: ``name``, without a ratio for an original, which serves all of them."""
        return replace(self, del_ratio=None).name if self.method == ORIGINAL else self.name

    def at(self, del_ratio: int | None) -> RunId:
        """Return the run with the name of its scores at ``del_ratio`` percent."""
        return replace(self, del_ratio=del_ratio) if self.method == ORIGINAL else self


def tag_of(settings: Mapping[str, Any], external: Mapping[str, Any]) -> str:
    """Return the tag of a run with these ``settings`` and ``external`` parts, see ``RunRecord``; empty without any."""
    if not settings and not external:
        return ""
    text = json.dumps({"settings": settings, "external": external}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _but_the_method(external: Mapping[str, Any]) -> dict[str, Any]:
    return {part: origin for part, origin in external.items() if part != "method"}


def own_original(run: RunId, external: Mapping[str, Any]) -> str:
    """Return the name of the original that a run starts from unless its settings say otherwise: that of its seed."""
    return replace(run, method=ORIGINAL, del_ratio=None, tag=tag_of({}, _but_the_method(external))).name


def reference_names(run: RunId, base_model: str | None, external: Mapping[str, Any]) -> dict[str, str]:
    """Return the checkpoints' names of the runs that a run's scores are compared with.

    Args:
        run: The run.
        base_model: What it started from, see ``RunRecord``.
        external: See ``RunRecord``.

    Returns:
        ``original``: what it started from, left out if that is not a run of this benchmark; ``retrain``: the retrained
        model of the same seed from the same original.
    """
    shared, own = _but_the_method(external), own_original(run, external)
    start = run.checkpoint_name if run.method == ORIGINAL else str(base_model).removeprefix("mubench/")
    # Before 0.2 one original, called like the table, served every seed.
    beside = {} if start in (own, run.table_name) else {"original": start}
    found = {"retrain": replace(run, method="retrain", tag=tag_of(beside, shared)).name}
    name = start.rpartition("/")[2]
    return found | ({"original": name} if name.startswith(f"{run.table_name}-{ORIGINAL}-s") else {})


@dataclass(frozen=True)
class RunRecord:
    """One run and its outcome.

    Attributes:
        run: Which run it is.
        config: Settings that differ from the method's defaults.
        data_fingerprint: Identifies the rows.
        deletion_sha256: Hash of the deletion list.
        base_model: Checkpoint the run started from: ``mubench/<name>`` for an original of this benchmark, else its name
            on the Hub or that of its folder; ``None`` for random weights.
        base_revision: Hash of that checkpoint's weights, or its commit on the Hub if that is where an original's are.
        settings: What differs from the preset: name of the setting → value. ``original`` is the name of what the run
            started from, if that is not the original of the same seed with the preset recipe.
        external: Part that is not from this package (``task``, ``model``, ``method``) → its name and SHA-256.
        files: File of the finished checkpoint → its SHA-256; empty before it is finished, or from an earlier version.
        status: ``running``, ``ok`` or ``diverged``.
        status_reason: Why, if it diverged.
        seconds: Wall seconds of unlearning (of training, for an original).
        cost: Processor seconds, memory and load, see ``runs.cost.COSTS``; empty in records of earlier versions.
        world_size: Number of processes.
        hardware: What it ran on.
        versions: Versions of the packages.
        commit: Commit of the source checkout.
    """

    run: RunId
    config: dict[str, Any]
    data_fingerprint: str
    deletion_sha256: str
    base_model: str | None
    base_revision: str | None
    settings: dict[str, Any] = field(default_factory=dict)
    external: dict[str, dict[str, str]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    status: str = "running"
    status_reason: str | None = None
    seconds: float | None = None
    cost: dict[str, Any] = field(default_factory=dict)
    world_size: int = 1
    hardware: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    commit: str | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """What two runs must have in common to be the same run, as plain JSON types."""
        names = ("run", "config", "settings", "external", "data_fingerprint", "deletion_sha256", "base_revision")
        return json.loads(json.dumps({name: asdict(self)[name] for name in names}))

    @property
    def checkpoint_sha256(self) -> str | None:
        """One hash of the finished checkpoint's files; ``None`` if they have none."""
        return content_sha256(self.files) if self.files else None

    @property
    def finished(self) -> bool:
        """Whether the run has ended, even if by divergence."""
        return self.status != "running"

    def save(self, folder: Path) -> None:
        """Write ``run.json`` into ``folder``, whole or not at all."""
        write_atomic(Path(folder) / RECORD, lambda stream: stream.write(self.to_json().encode()))

    def to_json(self) -> str:
        """Return the content of ``run.json``, with a hash of itself."""
        return json.dumps(sealed(asdict(self)), indent=2, sort_keys=True, allow_nan=False) + "\n"


def load_record(folder: str | Path) -> RunRecord | None:
    """Return the record in ``folder``, or ``None`` if there is none.

    Raises:
        BadInput: If the file is not a run's record.
    """
    file = Path(folder) / RECORD
    if not file.exists():
        return None
    try:
        content = parse_object(read_bytes(file))
        if not seal_holds(content):
            raise ValueError("it was changed after it was written")
        content.pop(SEAL, None)
        return _checked(RunRecord(**{**content, "run": RunId(**_renamed(content["run"]))}))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadInput(
            f"{file} is not the record of a run ({error}). Move the folder or choose another one."
        ) from error


def _checked(record: RunRecord) -> RunRecord:
    """Return a record that anybody may have written, if its fields are what they have to be.

    Raises:
        BadInput: Naming the first that is not.
    """
    run = RunId(**typed_fields(record.run))
    check_run(run)
    if run.tag and not re.fullmatch("[0-9a-f]{8}", run.tag):
        raise BadInput(f"Field 'tag' is {run.tag!r}; allowed: eight hex digits, or none.")
    checked = RunRecord(run, **typed_fields(record, skipped=("run",)))
    require(record.status in STATUSES, "status", record.status, f"one of {', '.join(STATUSES)}")
    require(record.world_size >= 1, "world_size", record.world_size, "1 or more")
    check_cost(checked.cost)
    return checked


def _renamed(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a run's name as this version calls them."""
    named = dict(run)
    if "source" in named:  # Before 0.2, when an original's ratio was 0.
        named["variant"] = named.pop("source")
        named["del_ratio"] = named["del_ratio"] or None
    return named


def check_folder(folder: Path, record: RunRecord) -> RunRecord | None:
    """Check that a run may use ``folder``, and return the record of the same run if it was here before.

    What a run left that never took a step stands in nobody's way.

    Raises:
        BadInput: If the folder holds another run or other files.
    """
    earlier = load_record(folder)
    others = {file.name for file in folder.iterdir() if not is_lock(file.name)} if folder.exists() else set()
    if not others - {RECORD} and not (earlier and earlier.finished):
        return None
    if earlier is None:
        raise BadInput(f"{folder} holds files that are not a run's. Move them or choose another --output_dir.")
    phrases = differences(earlier.identity, record.identity)
    if phrases:
        raise BadInput(
            f"{folder} holds another run ({'; '.join(phrases)}). Move it, or choose another --output_dir or --out."
        )
    return earlier
