"""Make a checkpoint: an original, its retrained reference, or an unlearned model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import PrinterCallback, TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from mubench_hf.data.joined import JoinedRows
from mubench_hf.data.loading import load_manifest
from mubench_hf.data.prepare import TaskData, load_task_data
from mubench_hf.errors import BadInput
from mubench_hf.kinds import get_kind
from mubench_hf.models import check_fits, get_model
from mubench_hf.models.loading import fresh_model, load_model, load_processor, saved_processor, weights_sha256
from mubench_hf.runs.environment import describe_environment, git_commit
from mubench_hf.runs.record import RunId, RunRecord, changed_arguments, claim_folder, load_record
from mubench_hf.tasks import get_task
from mubench_hf.trainers import UnlearningConfig, get_method
from mubench_hf.utils.files import write_atomic

if TYPE_CHECKING:
    from transformers import PreTrainedModel

RECIPE = "recipe.json"
"""Beside an original's weights: the settings that made it, which ``retrain`` replays."""


def original_folder(run: RunId, out: Path | str) -> Path:
    """Return where a run's original is kept under ``out``."""
    return Path(out, "mubench", run.original_name)


def find_original(run: RunId, out: Path | str, base: str | None = None) -> str:
    """Return the original of a run: ``base`` if given, the one under ``out``, or the Hub's.

    Raises:
        BadInput: If ``base`` is a checkpoint of another task or not an original, or a mini one is missing.
    """
    folder = Path(base) if base else original_folder(run, out)
    record = load_record(folder) if folder.is_dir() else None
    if record and (record.run.task, record.run.variant) != (run.task, run.variant):
        raise BadInput(
            f"{folder} is a checkpoint of {record.run.dataset_name}, not of {run.dataset_name}. "
            f"Give an original of {run.dataset_name}, or leave --base out to use {original_folder(run, out)}."
        )
    if record and record.run.method != "original":
        raise BadInput(f"{folder} was made by {record.run.method}; unlearning starts from an original.")
    if record and not record.finished:
        raise BadInput(f"The training of {folder} was interrupted. Run the same `mubench train` again to finish it.")
    if folder.is_dir():
        return str(folder)
    if run.variant == "mini" and not base:
        mini = f"--task {run.task} --mini --model {run.model} --out {out}"
        raise BadInput(f"There is no original at {folder}. Run: mubench train {mini}")
    return base or f"mubench/{run.original_name}"


def default_config(run: RunId, base: str | None = None) -> dict[str, Any]:
    """Return the settings a run has before any flag: its source's preset, or the recipe of its original.

    Args:
        run: The run.
        base: Its original, whose recipe a method that replays one takes.

    Raises:
        BadInput: If that original has no recipe.
    """
    source = get_task(run.task).source(run.variant)
    if run.method == "original":
        return {**source.recipe, "init_from": get_model(run.model).hub_id}
    if get_method(run.method).replays_recipe and base and Path(base).is_dir():
        recipe = Path(base, RECIPE)
        if not recipe.exists():
            raise BadInput(
                f"{base} has no {RECIPE}, so there is no recipe to replay. Use an original made by `mubench train`."
            )
        return json.loads(recipe.read_text(encoding="utf-8"))
    return dict(source.presets.get(run.method, {}))


def train_run(
    run: RunId,
    args: UnlearningConfig,
    *,
    out: Path | str = ".",
    base: str | None = None,
    data: TaskData | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> RunRecord:
    """Train one run's checkpoint into ``args.output_dir``, going on where an earlier attempt was cut off.

    Args:
        run: Which run; ``original`` trains on all rows.
        args: The method's config; its seed is the run's.
        out: Folder with the data set and originals.
        base: Original to start from, if not the one under ``out``.
        data: The task's prepared rows, if they are loaded already.
        callbacks: Given to the trainer.

    Returns:
        The finished run's record. A finished run is returned as it is.

    Raises:
        BadInput: If the task, model, method or ratio is unknown, the model does not fit the task, something the run
            needs is missing, or the folder holds another run.
    """
    task, spec = get_task(run.task), get_model(run.model)
    check_fits(task, spec)
    original = run.method == "original"
    method = get_method("retrain" if original else run.method)
    manifest = data.manifest if data else load_manifest(task, variant=run.variant, out=out)
    checkpoint = None if original else find_original(run, out, base)
    model = None if original else load_model(checkpoint, spec.architecture.auto_class)
    record = _new_record(run, args, manifest, spec.hub_id if original else _hub_name(checkpoint), model)
    folder = Path(args.output_dir)
    with args.main_process_first(desc="output folder"):
        earlier = claim_folder(folder, record)
    if earlier.finished:
        return earlier
    if data is None:
        loader = spec.architecture.processor_class
        processor = (
            partial(load_processor, spec) if original else lambda _: saved_processor(checkpoint, processor_class=loader)
        )
        # An original has no deletion ratio; its rows are those of every ratio.
        data = load_task_data(task, variant=run.variant, ratio=run.del_ratio or 1, processor=processor, out=out)
    model = model or fresh_model(spec, data.label_names, args.seed)
    _check_labels(model, data, checkpoint)
    args.teacher_cache_dir = args.teacher_cache_dir or str(data.cache_dir / "train")
    trainer = method(
        model,
        args,
        **_trainer_rows(data, original),
        eval_dataset=data.splits["test"],
        data_collator=data.collator,
        processing_class=data.processor,
        callbacks=list(callbacks),
    )
    if callbacks and args.disable_tqdm:
        # They show the progress that Trainer would otherwise print.
        trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=True)
    record = replace(
        record,
        status=trainer.status,
        status_reason=trainer.status_reason,
        seconds=trainer.unlearn_seconds,
        world_size=args.world_size,
        hardware={**record.hardware, "threads": torch.get_num_threads()},
    )
    if trainer.is_world_process_zero():
        _finish(folder, trainer.accelerator.unwrap_model(trainer.model), data.processor, record, args)
    trainer.accelerator.wait_for_everyone()
    return record


def _new_record(
    run: RunId, args: UnlearningConfig, manifest: Mapping[str, Any], base: str | None, model: PreTrainedModel | None
) -> RunRecord:
    """Return the record of a run that is about to start from the weights of ``model``."""
    hardware, versions = describe_environment()
    return RunRecord(
        run,
        changed_arguments(args),
        manifest["fingerprint"],
        manifest["deletion_list"]["sha256"],
        base,
        None if model is None else weights_sha256(model),
        hardware={**hardware, "device": _device_name(args)},
        versions=versions,
        commit=git_commit(),
    )


def _trainer_rows(data: TaskData, original: bool) -> dict[str, Any]:
    """Return a trainer's two sets; an original's D_r is all of train."""
    forget, retain = data.splits["forget"], data.splits["retain"]
    if original:
        return {"retain_dataset": JoinedRows(forget, retain)}
    return {"forget_dataset": forget, "retain_dataset": retain}


def _check_labels(model: PreTrainedModel, data: TaskData, checkpoint: str | None) -> None:
    found, needed = getattr(model.config, "num_labels", None), len(data.label_names)
    if get_kind(data.task.kind).label_is_class and found != needed:
        raise BadInput(
            f"The model {checkpoint} has num_labels={found}, but {data.task.dataset_name(data.variant)} has {needed} "
            "classes. Give an original of this task and source."
        )


def _hub_name(checkpoint: str) -> str:
    """Return the name a checkpoint has on the Hub; one on disk is ``mubench/<folder>``, wherever it lies."""
    return f"mubench/{Path(checkpoint).resolve().name}" if Path(checkpoint).is_dir() else checkpoint


def _device_name(args: UnlearningConfig) -> str:
    return torch.cuda.get_device_name(args.device) if args.device.type == "cuda" else args.device.type


def _finish(folder: Path, model: PreTrainedModel, processor: Any, record: RunRecord, args: UnlearningConfig) -> None:
    """Save the checkpoint, then the record that says it is finished, then drop the states to resume from."""
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    if record.run.method == "original":
        recipe = json.dumps(changed_arguments(args), indent=2, sort_keys=True) + "\n"
        write_atomic(folder / RECIPE, lambda stream: stream.write(recipe.encode()))
    record.save(folder)
    for state in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        shutil.rmtree(state)
