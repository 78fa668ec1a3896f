"""What the runs of one table share: task, rows, model, how much is deleted, and where they are kept."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mubench_hf.data.blocks import ratio_of
from mubench_hf.data.manifest import learn_tasks
from mubench_hf.errors import BadInput
from mubench_hf.models import MODELS, check_fits
from mubench_hf.models.foreign import foreign_model, is_foreign, resolve_model, weights_digest
from mubench_hf.runs.record import ORIGINAL, RunId, RunRecord, load_record, tag_of
from mubench_hf.tasks import TASKS, TaskSpec, Variant, get_task, recorded_task

if TYPE_CHECKING:
    from mubench_hf.models import ModelSpec


@dataclass(frozen=True)
class Setup:
    """What the runs of one table share.

    Attributes:
        task: The task.
        variant: Where its rows come from.
        model: The model.
        del_ratio: Percent of train to forget; ``None`` if the rows are named.
        out: Folder with data set, checkpoints and results.
        external: Task and model, if they are not part of this package, see ``RunRecord``.
    """

    task: TaskSpec
    variant: Variant
    model: ModelSpec
    del_ratio: int | None
    out: Path
    external: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def results(self) -> Path:
        """Folder of the results."""
        return self.out / "results"

    def checkpoint(self, name: str) -> Path:
        """Return the folder of the checkpoint called ``name``."""
        return self.out / "mubench" / name

    def original(self, seed: int) -> RunId:
        """Return the original that a run of this seed starts from by default."""
        return self.run_id(ORIGINAL, seed, tag_of({}, self.external))

    def run_id(self, method: str, seed: int, tag: str = "") -> RunId:
        """Return the name of a run of this table; that of an original has no ratio."""
        ratio = None if method == ORIGINAL else self.del_ratio
        return RunId(self.task.name, self.variant, self.model.name, method, ratio, seed, tag)


def make_setup(
    task: str | Path | TaskSpec,
    *,
    variant: Variant,
    model: str | Path | ModelSpec | None = None,
    base: str | Path | None = None,
    del_ratio: Any = None,
    out: Path | str = ".",
) -> Setup:
    """Look up what the user named.

    Args:
        task: See ``get_task``; also the name of a task made from data, whose data set is built under ``out``.
        variant: ``full`` or ``mini``.
        model: See ``resolve_model``; default: the task's, or that of ``base``.
        base: Original to start from, a folder or a Hub repository, instead of the one under ``out``.
        del_ratio: Percent of train to forget, 1 to 10; default: the source's own, 5 for most.
        out: Folder with data set, checkpoints and results.

    Raises:
        BadInput: If something named does not exist, or the model does not fit the task or is not that of ``base``.
    """
    learn_tasks(out)
    found = get_task(task)
    ratio = ratio_of(found, variant, del_ratio)
    spec = _model_of(base, found, variant, model) if base else None
    model = model or found.source(variant).default_model
    if spec is None and model is None:
        raise BadInput(f"{found.name} has no model of its own. Name one: --model, a key, a Hub id or a folder.")
    spec = spec or resolve_model(model, found)
    check_fits(found, spec)
    external = _external(found, spec)
    if base and "model" in external and (record := _record_in(base)):
        # These may be the weights that the original ended with; what it started from is in its record.
        external["model"] = record.external.get("model", external["model"])
    return Setup(found, variant, spec, ratio, Path(out), external)


def _record_in(checkpoint: str | Path) -> RunRecord | None:
    return load_record(checkpoint) if Path(checkpoint).is_dir() else None


def _external(task: TaskSpec, model: ModelSpec) -> dict[str, dict[str, str]]:
    """Return the parts that do not belong to this package, with their names and hashes."""
    found = {}
    if origin := TASKS.origin(task):
        found["task"] = asdict(origin)
    if origin := MODELS.origin(model):
        found["model"] = asdict(origin)
    elif is_foreign(model):
        found["model"] = {"name": model.architecture.title, "sha256": weights_digest(model.hub_id)}
    return found


def _model_of(base: str | Path, task: TaskSpec, variant: Variant, model: str | Path | None) -> ModelSpec:
    """Return the model of an original that the user brings: the one in its record, else one named like the original."""
    record = _record_in(base)
    if record is None:
        spec = foreign_model(Path(base).resolve().name if Path(base).is_dir() else str(base), task, str(base))
        named = resolve_model(model, task).name if model else spec.name
    else:
        known = (record.run.task, record.run.variant)
        if known != (task.name, variant):
            wanted = task.dataset_name(variant)
            raise BadInput(
                f"{base} is a checkpoint of {record.run.dataset_name}, not of {wanted}. Give an original of {wanted}, "
                "or leave --base out."
            )
        asked = resolve_model(model, task) if model else None
        spec = recorded_model(record.run.model, task, str(base))
        named = asked.name if asked else spec.name
        if asked and named == spec.name:
            spec = asked  # If it is not registered, with the weights that the original started from.
    if named != spec.name:
        raise BadInput(f"{base} is a {spec.name}, not a {named}. Leave out one of --model and --base.")
    return spec


def recorded_model(name: str, task: TaskSpec, checkpoint: str) -> ModelSpec:
    """Return the model of a finished run, which need not be registered."""
    try:
        return resolve_model(name, task)
    except BadInput:
        return foreign_model(name, task, checkpoint)


def setup_of(record: RunRecord, checkpoint: str | Path, out: str | Path, del_ratio: Any) -> Setup:
    """Return the table that a finished run belongs to.

    Args:
        record: The run.
        checkpoint: Its folder.
        out: Folder with its data set.
        del_ratio: For an original, which serves every ratio: the one to use; ``None`` for the source's own.

    Raises:
        BadInput: If its task is not known here, see ``recorded_task``, or the ratio is not allowed.
    """
    learn_tasks(out)
    task = recorded_task(record.run.task, record.external)
    run = record.run.at(ratio_of(task, record.run.variant, del_ratio))
    return Setup(task, run.variant, recorded_model(run.model, task, str(checkpoint)), run.del_ratio, Path(out))
