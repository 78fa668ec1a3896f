"""``run.json`` beside a checkpoint: which run made it, from what, and how it ended."""

from __future__ import annotations

import dataclasses
import enum
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mubench_hf.errors import BadInput
from mubench_hf.utils.files import write_atomic

if TYPE_CHECKING:
    from transformers import TrainingArguments

RECORD = "run.json"

_NOT_IDENTITY = frozenset(
    [
        "output_dir",
        "teacher_cache_dir",
        "disable_tqdm",
        "run_name",
        "report_to",
        "log_level",
        "log_level_replica",
        "save_total_limit",
        "save_strategy",
        "save_steps",
        "logging_strategy",
        "logging_steps",
        "eval_strategy",
        "eval_steps",
        "push_to_hub",
        "hub_model_id",
        "hub_token",
        "hub_strategy",
        "hub_private_repo",
        "hub_revision",
        "hub_always_push",
        "resume_from_checkpoint",
        "seed",
    ]
)
"""Arguments that say where and how loudly to work, not what comes out; the seed is part of the run's name."""


@dataclass(frozen=True)
class RunId:
    """Names one run.

    Attributes:
        task: Key of the task.
        variant: ``full`` or ``mini``.
        model: Name of the registered model.
        method: ``original``, or the key of a method.
        del_ratio: Percent of train to forget.
        seed: Seed of the run.
    """

    task: str
    variant: str
    model: str
    method: str
    del_ratio: int
    seed: int

    @property
    def dataset_name(self) -> str:
        """``<task>`` or ``<task>-mini``."""
        return f"{self.task}-mini" if self.variant == "mini" else self.task

    @property
    def original_name(self) -> str:
        """Name of the original's checkpoint, ``<task>[-mini]-<model>``; one serves all ratios."""
        return f"{self.dataset_name}-{self.model}"

    @property
    def name(self) -> str:
        """``<task>[-mini]-<model>-<method>-df<ratio>pct-s<seed>``: what the run's result is called."""
        return f"{self.original_name}-{self.method}-df{self.del_ratio}pct-s{self.seed}"

    @property
    def checkpoint_name(self) -> str:
        """Name of the run's checkpoint: ``name``, or ``original_name`` for an original."""
        return self.original_name if self.method == "original" else self.name


@dataclass(frozen=True)
class RunRecord:
    """One run and its outcome. The fields up to ``base_revision`` are its identity.

    Attributes:
        run: Which run it is. An original's ``del_ratio`` is 0: it deletes nothing.
        config: Settings that differ from the method's defaults.
        data_fingerprint: Identifies the rows.
        deletion_sha256: Hash of the deletion list.
        base_model: Checkpoint the run started from; ``None`` for random weights.
        base_revision: Hash of that checkpoint's weights.
        status: ``running``, ``ok`` or ``diverged``.
        status_reason: Why, if it diverged.
        seconds: Wall seconds of unlearning (of training, for an original).
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
    status: str = "running"
    status_reason: str | None = None
    seconds: float | None = None
    world_size: int = 1
    hardware: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    commit: str | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """What two runs must share to be the same run, as plain JSON types."""
        names = ("run", "config", "data_fingerprint", "deletion_sha256", "base_revision")
        return json.loads(json.dumps({name: asdict(self)[name] for name in names}))

    @property
    def finished(self) -> bool:
        """Whether the run came to its end, be it by divergence."""
        return self.status != "running"

    def save(self, folder: Path) -> None:
        """Write ``run.json`` into ``folder``, whole or not at all."""
        text = json.dumps(asdict(self), indent=2, sort_keys=True, allow_nan=False) + "\n"
        write_atomic(Path(folder) / RECORD, lambda stream: stream.write(text.encode()))


def load_record(folder: str | Path) -> RunRecord | None:
    """Return the record in ``folder``, or ``None`` if there is none.

    Raises:
        BadInput: If the file is not a run's record.
    """
    file = Path(folder) / RECORD
    if not file.exists():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return RunRecord(**{**content, "run": RunId(**content["run"])})
    except (ValueError, TypeError, KeyError) as error:
        raise BadInput(
            f"{file} is not the record of a run ({error}). Move the folder or choose another one."
        ) from error


def claim_folder(folder: Path, record: RunRecord) -> RunRecord:
    """Take ``folder`` for a run; return its record, the earlier one where the same run was here before.

    Raises:
        BadInput: If the folder holds another run or files that are no run's. Nothing is changed then.
    """
    earlier = load_record(folder)
    if earlier is None:
        if folder.exists() and any(folder.iterdir()):
            raise BadInput(f"{folder} holds files that are not a run's. Move them or choose another --output_dir.")
        record.save(folder)
        return record
    differences = _differences(earlier.identity, record.identity)
    if differences:
        raise BadInput(
            f"{folder} holds another run ({'; '.join(differences)}). Move it, or choose another --output_dir or --out."
        )
    return earlier


def _differences(found: dict[str, Any], wanted: dict[str, Any], prefix: str = "") -> list[str]:
    """Return a phrase for each leaf in which two nested identities differ."""
    phrases = []
    for key in sorted(found.keys() | wanted.keys()):
        there, asked = found.get(key, "default"), wanted.get(key, "default")
        if isinstance(there, dict) and isinstance(asked, dict):
            phrases += _differences(there, asked, f"{prefix}{key}.")
        elif there != asked:
            phrases.append(f"{prefix}{key} is {there}, not {asked}")
    return phrases


def changed_arguments(args: TrainingArguments) -> dict[str, Any]:
    """Return the settings of a config that differ from its class's defaults and bear on the outcome."""
    default = type(args)(output_dir=args.output_dir, use_cpu=args.use_cpu)
    changed = {}
    for spec in dataclasses.fields(args):
        value = getattr(args, spec.name)
        if spec.init and spec.name not in _NOT_IDENTITY and value != getattr(default, spec.name):
            value = value.value if isinstance(value, enum.Enum) else value
            changed[spec.name] = json.loads(json.dumps(value, default=str))
    return changed
