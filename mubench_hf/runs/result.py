"""The result of one run: its scores, or why there are none, and everything needed to repeat it."""

from __future__ import annotations

import json
import math
import numbers
from dataclasses import dataclass, field, fields
from typing import Any

from mubench_hf.errors import BadInput
from mubench_hf.runs.cost import TIMES, check_cost
from mubench_hf.runs.draws import check_draws
from mubench_hf.runs.fields import check_run, require, typed_fields
from mubench_hf.runs.record import RunId, tag_of
from mubench_hf.tasks import Variant
from mubench_hf.utils.json_files import parse_object
from mubench_hf.utils.sealed import SEAL, seal_holds, sealed

SCHEMA_VERSION = 2
"""Version 1 called ``variant`` ``source`` and had no ``settings``, ``external`` and ``metrics``."""

STATUSES = ("ok", "diverged", "failed")

ADDED = ("hashes", "evaluated", "cost", "draws")
"""Fields that results of earlier versions lack: what they hold was not recorded then."""

LARGEST_SCORE = 1e12
"""Beyond any score and any time in seconds; means and spreads of scores within it are finite."""

_DISTANCES = tuple(f"{split}_frechet_distance" for split in ("test", "forget", "retain"))
_NOT_NEGATIVE = (*TIMES, "average_gap", *_DISTANCES)


@dataclass(frozen=True)
class RunResult:
    """One evaluated run. Mappings are copied and converted to plain JSON types, so that a result read again is equal.

    Attributes:
        task: Key of the task, ``cifar100``.
        variant: ``full`` (the real data) or ``mini`` (the stand-in).
        data_fingerprint: Identifies the rows of every split.
        deletion_sha256: Hash of the deletion list.
        model: Name of the registered model, ``vit-tiny``.
        method: ``original``, ``retrain`` or the key of an unlearning method.
        del_ratio: Share of the train set that is deleted, in percent, 1 to 10; ``None`` if the rows are named.
        seed: Seed of the run.
        status: ``ok``, ``diverged`` (trained, but to a useless model) or ``failed`` (no model to score).
        scores: Score name to value; ``None`` if it could not be computed. Shares lie in [0, 1], times are seconds.
        status_reason: Why the status is not ``ok``; ``None`` if it is.
        reasons: For each score that is ``None``, why.
        config: Method config and training arguments that differ from the defaults.
        settings: What differs from the task's preset, see ``RunRecord``.
        external: Part that is not from this package → its name and SHA-256, see ``RunRecord``.
        metrics: Metric that is not from this package → its name and SHA-256. It changes no other number, so it is not
            part of the run's identity.
        base_model: Model the run started from.
        base_revision: Hash of its weights, or its Hub commit.
        hardware: Device, processor names, threads.
        cost: Processor seconds, memory and load, see ``runs.cost.COSTS``; empty in results of earlier versions.
        world_size: Number of processes that trained together.
        versions: Package name to version; ``None`` for one that is not installed.
        commit: Commit of the source checkout the run was made with.
        hashes: SHA-256 of what the scores were computed from, where it was noted: of the ``checkpoint``'s files, and of
            the ``outputs``, the npz beside the result.
        evaluated: The ``device`` that the scores were measured on and the ``dtype`` of the weights there; empty in
            results of earlier versions, which measured on a CPU. Of scores that read many models also which these were,
            see ``RunPopulations``.
        draws: Score name → how it moves when the rows are drawn anew, see ``runs.draws``; empty in results of earlier
            versions, and without those scores of which nothing says what a row contributes.
    """

    task: str
    variant: Variant
    data_fingerprint: str
    deletion_sha256: str
    model: str
    method: str
    del_ratio: int | None
    seed: int
    status: str
    scores: dict[str, float | None]
    status_reason: str | None = None
    reasons: dict[str, str] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    external: dict[str, dict[str, str]] = field(default_factory=dict)
    metrics: dict[str, dict[str, str]] = field(default_factory=dict)
    base_model: str | None = None
    base_revision: str | None = None
    hardware: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)
    world_size: int = 1
    versions: dict[str, str | None] = field(default_factory=dict)
    commit: str | None = None
    hashes: dict[str, str] = field(default_factory=dict)
    evaluated: dict[str, str] = field(default_factory=dict)
    draws: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            BadInput: If a field has the wrong type or range, a score is not finite, or scores and reasons disagree.
        """
        for name, value in typed_fields(self).items():
            object.__setattr__(self, name, value)
        check_run(self)
        require(self.status in STATUSES, "status", self.status, f"one of {', '.join(STATUSES)}")
        require(self.world_size >= 1, "world_size", self.world_size, "1 or more")
        check_cost(self.cost)
        check_draws(self.draws)
        if (self.status == "ok") != (self.status_reason is None):
            raise BadInput(
                f"Field 'status_reason' is {self.status_reason!r} while status is {self.status!r}; "
                "say why a run is not ok, and leave it None when it is."
            )
        object.__setattr__(self, "scores", {key: _score(key, value) for key, value in self.scores.items()})
        self._check_reasons()

    def _check_reasons(self) -> None:
        missing = {key for key, value in self.scores.items() if value is None}
        for key in sorted(missing - self.reasons.keys()):
            raise BadInput(f"Score {key!r} is None without a reason; put one into reasons[{key!r}].")
        for key in sorted(self.reasons.keys() - missing):
            raise BadInput(f"reasons[{key!r}] explains a missing score, but {key!r} is not None in scores; drop one.")
        for key, reason in self.reasons.items():
            if not isinstance(reason, str) or not reason.strip():
                raise BadInput(f"reasons[{key!r}] is {reason!r}; it must say why the score is missing.")

    @property
    def run(self) -> RunId:
        """The run whose result this is, at the ratio of its scores."""
        return RunId(
            self.task,
            self.variant,
            self.model,
            self.method,
            self.del_ratio,
            self.seed,
            tag_of(self.settings, self.external),
        )

    @property
    def name(self) -> str:
        """``RunId.name``: the result's file name without its ending."""
        return self.run.name

    def to_json(self) -> str:
        """Return the result as JSON text with a hash of its content, byte for byte the same for equal results."""
        content = {spec.name: getattr(self, spec.name) for spec in fields(self)}
        content["schema_version"] = SCHEMA_VERSION
        return json.dumps(sealed(content), indent=2, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> RunResult:
        """Read a result that ``to_json`` wrote.

        Raises:
            BadInput: If the text is no JSON object of this schema version, a field is unknown, missing or invalid, or
                it was changed after ``to_json`` had written it.
        """
        try:
            content = parse_object(text)
        except ValueError as error:
            raise BadInput(f"Not the JSON of a run: {error}.") from error
        written = dict(content)
        content.pop(SEAL, None)
        version = content.pop("schema_version", None)
        if isinstance(version, bool) or version not in range(1, SCHEMA_VERSION + 1):
            raise BadInput(f"Field 'schema_version' is {version!r}; this version reads 1 to {SCHEMA_VERSION}.")
        if version == 1:
            content = _from_version_1(content)
        known = {spec.name for spec in fields(cls)}
        for what, names in (("Unknown", content.keys() - known), ("Missing", known - content.keys() - {*ADDED})):
            if names:
                raise BadInput(f"{what} field{'s' * (len(names) > 1)} {', '.join(map(repr, sorted(names)))}.")
        result = cls(**content)
        if not seal_holds(written):
            raise BadInput(
                f"It was changed after it was written: it is not what its {SEAL} says. Compute the result again, or "
                f"remove {SEAL} to say that it is made by hand."
            )
        return result


def _from_version_1(content: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a result of schema version 1 as this version calls them."""
    named = {("variant" if name == "source" else name): value for name, value in content.items()}
    return {"settings": {}, "external": {}, "metrics": {}, **named}


def _score(key: object, value: object) -> float | None:
    if not isinstance(key, str) or not key:
        raise BadInput(f"Score name {key!r} is not text.")
    if value is None:
        return None
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise BadInput(f"Score {key!r} is {value!r}; it must be a number, or None with a reason.")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise BadInput(f"Score {key!r} is {number}; a score that is not finite must be None with a reason.")
    if abs(number) > LARGEST_SCORE:
        raise BadInput(f"Score {key!r} is {number:g}; allowed: at most {LARGEST_SCORE:g} either way.")
    if key in _NOT_NEGATIVE and number < 0:
        raise BadInput(f"Score {key!r} is {number}; it cannot be negative.")
    return number
