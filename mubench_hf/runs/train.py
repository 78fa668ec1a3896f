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
from mubench_hf.models.foreign import is_foreign
from mubench_hf.models.loading import fresh_model, load_model, load_processor, saved_processor, weights_sha256
from mubench_hf.models.pretrained import commit_of, split_reference
from mubench_hf.runs.environment import describe_environment, git_commit
from mubench_hf.runs.plan import RECIPE, Plan, recorded_arguments
from mubench_hf.runs.record import ORIGINAL, RunRecord, claim_folder, load_record
from mubench_hf.runs.setup import Setup
from mubench_hf.utils.files import write_atomic

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from mubench_hf.trainers import UnlearningConfig


def train_run(plan: Plan, *, data: TaskData | None = None, callbacks: Sequence[TrainerCallback] = ()) -> RunRecord:
    """Train one run's checkpoint in its folder, going on where an earlier attempt was cut off.

    Args:
        plan: The run.
        data: The task's prepared rows, if they are loaded already.
        callbacks: Passed to the trainer.

    Returns:
        The finished run's record. A finished run is returned as it is.

    Raises:
        BadInput: If something the run needs is missing, or its folder holds another run.
    """
    setup, args, original = plan.setup, plan.args, plan.run.method == ORIGINAL
    manifest = data.manifest if data else load_manifest(setup.task, variant=setup.variant, out=setup.out)
    model = None if original else load_model(plan.start, setup.model.architecture.auto_class)
    commit = _base_commit(plan) if original else None
    record = _new_record(plan, manifest, commit if model is None else weights_sha256(model))
    with args.main_process_first(desc="output folder"):
        earlier = claim_folder(plan.folder, record)
    if earlier.finished:
        return earlier
    data = data or load_rows(setup, plan.start)
    if commit:
        args.init_from = f"{split_reference(args.init_from)[0]}@{commit}"
    spec = setup.model.at(commit) if commit and args.init_from == f"{setup.model.hub_id}@{commit}" else setup.model
    model = model or fresh_model(spec, data.label_names, args.seed)
    _check_labels(model, data, plan.start)
    args.teacher_cache_dir = args.teacher_cache_dir or str(data.cache_dir / "train")
    trainer = plan.trainer(
        model,
        args,
        **_trainer_rows(data, original),
        eval_dataset=data.splits["test"],
        data_collator=data.collator,
        processing_class=data.processor,
        callbacks=list(callbacks),
    )
    if callbacks and args.disable_tqdm:
        # The callbacks show the progress that Trainer would otherwise print.
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
        _finish(plan, trainer.accelerator.unwrap_model(trainer.model), data.processor, record)
    trainer.accelerator.wait_for_everyone()
    return record


def load_rows(setup: Setup, checkpoint: str | Path | None = None) -> TaskData:
    """Load a table's rows, prepared for its model.

    Args:
        setup: The table.
        checkpoint: The checkpoint whose processor prepares them; default: the model's processor.

    Raises:
        BadInput: If the data set is missing.
    """
    loader = setup.model.architecture.processor_class
    processor = (
        partial(load_processor, setup.model)
        if checkpoint is None
        else lambda texts: saved_processor(checkpoint, processor_class=loader)
    )
    return load_task_data(setup.task, variant=setup.variant, ratio=setup.del_ratio, processor=processor, out=setup.out)


def _base_commit(plan: Plan) -> str | None:
    """Return the commit on the Hub of the checkpoint that an original starts from, if it is on the Hub.

    A run that was cut off goes on from the one that it began with; earlier versions recorded none.
    """
    if not plan.args.init_from or is_foreign(plan.setup.model):
        return None
    begun = load_record(plan.folder)
    return commit_of(plan.args.init_from) if begun is None else begun.base_revision


def _new_record(plan: Plan, manifest: Mapping[str, Any], base_revision: str | None) -> RunRecord:
    """Return the record of a run that is about to start from the weights with this hash or commit."""
    hardware, versions = describe_environment()
    return RunRecord(
        plan.run,
        recorded_arguments(plan.setup, plan.args),
        manifest["fingerprint"],
        manifest["deletion_list"]["sha256"],
        plan.base_model,
        base_revision,
        plan.settings,
        plan.external,
        hardware={**hardware, "device": _device_name(plan.args)},
        versions=versions,
        commit=git_commit(),
    )


def _trainer_rows(data: TaskData, original: bool) -> dict[str, Any]:
    """Return a trainer's two sets; for an original, D_r is all of train."""
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


def _device_name(args: UnlearningConfig) -> str:
    return torch.cuda.get_device_name(args.device) if args.device.type == "cuda" else args.device.type


def _finish(plan: Plan, model: PreTrainedModel, processor: Any, record: RunRecord) -> None:
    """Save the checkpoint, then the record that says it is finished, then drop the states to resume from."""
    folder = plan.folder
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    if record.run.method == ORIGINAL:
        recipe = json.dumps(recorded_arguments(plan.setup, plan.args), indent=2, sort_keys=True) + "\n"
        write_atomic(folder / RECIPE, lambda stream: stream.write(recipe.encode()))
    record.save(folder)
    for state in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        shutil.rmtree(state)
