"""The report of one audited model: what was measured, part by part, and the scores that follow; JSON with a seal."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mubench_hf.errors import BadInput
from mubench_hf.metrics.parameters import SPLITS
from mubench_hf.runs.audits.curves import Curve
from mubench_hf.runs.fields import check_run, require, typed_fields
from mubench_hf.runs.record import RunId, tag_of
from mubench_hf.tasks import Variant
from mubench_hf.utils.files import write_atomic
from mubench_hf.utils.json_files import parse_object, read_bytes
from mubench_hf.utils.sealed import SEAL, seal_holds, sealed

SCHEMA_VERSION = 1

FOLDER = "audits"
"""Folder of the reports, beside that of the results."""

AS_IS = "as_is"
"""The part that every report has: the model's loss and score on each split before anything is done to it."""

PARTS = ("relearn", "retain", "unrelated", "tenth", "quantise", "prune")
"""The parts that can be chosen: training on D_f, on D_r, on unrelated rows, on a tenth of D_f; fewer bits; pruning."""

_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class AuditReport:
    """What an audit found of one model.

    Attributes:
        task: Key of the task.
        variant: ``full`` or ``mini``.
        model: Name of the model.
        method: ``original``, ``retrain`` or the key of a method.
        del_ratio: Percent of train to forget; ``None`` if the rows are named.
        seed: Seed of the run.
        data_fingerprint: Identifies the rows.
        deletion_sha256: Hash of the deletion list.
        checkpoint_sha256: Hash of the checkpoint's files.
        audit: How it was audited: each setting, and the training arguments that they come to.
        settings: What differs from the task's preset in the run, see ``RunRecord``.
        external: Part that is not from this package, see ``RunRecord``.
        merged: Whether the checkpoint is an adapter, which was merged into its base before anything else.
        parts: Part → what was measured, or ``reason``, why nothing was; see ``docs/audit.md``.
        scores: Score → value; ``None`` if it could not be computed.
        reasons: For each score that is ``None``, why.
        references: ``original`` and ``retrain`` → the hash of the checkpoint that scores are compared with.
    """

    task: str
    variant: Variant
    model: str
    method: str
    del_ratio: int | None
    seed: int
    data_fingerprint: str
    deletion_sha256: str
    checkpoint_sha256: str
    audit: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    external: dict[str, dict[str, str]] = field(default_factory=dict)
    merged: bool = False
    parts: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, float | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    references: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the fields, which may come from a stranger's file.

        Raises:
            BadInput: If one is not what it has to be.
        """
        for name, value in typed_fields(self, skipped=("merged",)).items():
            object.__setattr__(self, name, value)
        check_run(self)
        require(isinstance(self.merged, bool), "merged", self.merged, "true or false")
        require(bool(_SHA256.fullmatch(self.checkpoint_sha256)), "checkpoint_sha256", self.checkpoint_sha256, "a hash")
        for name, part in self.parts.items():
            require(name in (AS_IS, *PARTS), "parts", name, ", ".join((AS_IS, *PARTS)))
            require(isinstance(part, Mapping), f"parts[{name!r}]", part, "what was measured")
            _check_part(name, part)
        for name, value in self.scores.items():
            require(
                value is None or _is_number(value), f"scores[{name!r}]", value, "a finite number, or null with a reason"
            )
        missing = {name for name, value in self.scores.items() if value is None}
        require(missing == set(self.reasons), "reasons", sorted(self.reasons), "a reason for each missing score")

    @property
    def run(self) -> RunId:
        """The run that was audited, at the ratio of its scores."""
        tag = tag_of(self.settings, self.external)
        return RunId(self.task, self.variant, self.model, self.method, self.del_ratio, self.seed, tag)

    @property
    def identity(self) -> dict[str, Any]:
        """What two reports have in common if parts of one can stand in the other, as plain JSON types."""
        names = ("task", "variant", "model", "method", "del_ratio", "seed", "data_fingerprint", "deletion_sha256",
                 "checkpoint_sha256", "audit", "settings", "external")  # fmt: skip
        return json.loads(json.dumps({name: getattr(self, name) for name in names}))

    def to_json(self) -> str:
        """Return the report as JSON text with a hash of its content, byte for byte the same for equal reports."""
        content = {spec.name: getattr(self, spec.name) for spec in fields(self)}
        content["schema_version"] = SCHEMA_VERSION
        return json.dumps(sealed(content), indent=2, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> AuditReport:
        """Read a report that ``to_json`` wrote.

        Raises:
            BadInput: If the text is none of a version that is read here, or was changed since.
        """
        try:
            written = parse_object(text)
        except ValueError as error:
            raise BadInput(f"Not the JSON of an audit: {error}.") from error
        content = {name: value for name, value in written.items() if name != SEAL}
        version = content.pop("schema_version", None)
        if isinstance(version, bool) or version not in range(1, SCHEMA_VERSION + 1):
            raise BadInput(f"Field 'schema_version' is {version!r}; this version reads 1 to {SCHEMA_VERSION}.")
        known = {spec.name for spec in fields(cls)}
        for what, names in (("Unknown", content.keys() - known), ("Missing", known - content.keys())):
            if names:
                raise BadInput(f"{what} field{'s' * (len(names) > 1)} {', '.join(map(repr, sorted(names)))}.")
        if not seal_holds(written) or SEAL not in written:
            raise BadInput(f"It was changed after it was written: it is not what its {SEAL} says. Audit again.")
        return cls(**content)


def _check_part(name: str, part: Mapping[str, Any]) -> None:
    """Check that a part holds what is read of it."""
    if "reason" in part:
        require(isinstance(part["reason"], str) and bool(part["reason"].strip()), name, part["reason"], "a reason")
    elif name == AS_IS:
        _check_splits(name, part)
    elif name in ("quantise", "prune"):
        levels = part.get("levels")
        require(isinstance(levels, Mapping) and bool(levels), name, levels, "levels, each with its splits")
        for key, made in levels.items():
            require(bool(re.fullmatch("[0-9.]{1,8}", key)), f"{name}.levels", key, "a number")
            _check_splits(f"{name} {key}", made)
    else:
        Curve.from_dict(part)
        asked, target = part.get("asked"), part.get("target")
        steps = isinstance(asked, list) and all(type(step) is int and step > 0 for step in asked)
        require(steps, f"{name}.asked", asked, "numbers of steps")
        require(target is None or _is_number(target), f"{name}.target", target, "a loss")


def _check_splits(name: str, made: Any) -> None:
    for split in SPLITS:
        at = made.get(split) if isinstance(made, Mapping) else None
        require(isinstance(at, Mapping) and at.keys() == {"loss", "score", "reason"}, f"{name} {split}", at, "a score")
        require(_is_number(at["loss"]), f"{name} {split}", at["loss"], "a loss")
        told = _is_number(at["score"]) if at["score"] is not None else isinstance(at["reason"], str)
        require(told, f"{name} {split}", at["score"], "a number, or null with a reason")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def load_report(path: Path) -> AuditReport:
    """Read one report.

    Raises:
        BadInput: If the file is missing or holds no valid report; the message names it.
    """
    try:
        return AuditReport.from_json(read_bytes(path).decode("utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"Cannot read the audit {path}: {error} Move it, or audit into another --out.") from error


def save_report(report: AuditReport, path: Path) -> None:
    """Write a report, whole or not at all; one that is there already in the same words is left alone."""
    text = report.to_json().encode()
    if not path.is_file() or path.read_bytes() != text:
        write_atomic(path, lambda stream: stream.write(text))
