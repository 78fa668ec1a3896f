"""Make a checkpoint: an original, its retrained reference, or an unlearned model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
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
from mubench_hf.models.device import device_name, give_back_memory
from mubench_hf.models.foreign import is_foreign
from mubench_hf.models.loading import fresh_model, load_model, load_processor, saved_processor, weights_sha256
from mubench_hf.models.precision import in_float32
from mubench_hf.models.pretrained import commit_of, split_reference
from mubench_hf.runs.checked import check_files, hashed_files
from mubench_hf.runs.cost import Meter, joined_cost
from mubench_hf.runs.environment import describe_environment, git_commit
from mubench_hf.runs.evaluate import check_labels
from mubench_hf.runs.kept_tables import using_tables
from mubench_hf.runs.plan import RECIPE, SELECTION_SPLIT, Plan
from mubench_hf.runs.record import ORIGINAL, RunRecord, check_folder, load_record
from mubench_hf.runs.setup import Setup
from mubench_hf.runs.updates import check_equal_updates, of_one_process
from mubench_hf.trainers._identity import selects
from mubench_hf.utils.files import write_atomic
from mubench_hf.utils.locks import sole_owner
from mubench_hf.utils.processes import agreed, together

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from mubench_hf.trainers import UnlearningConfig

LoadRows = Callable[[Setup, "str | Path | None"], TaskData]
"""What ``load_rows`` is: table and checkpoint → the table's rows, prepared as for that checkpoint."""


def train_run(plan: Plan, *, data: TaskData | None = None, callbacks: Sequence[TrainerCallback] = ()) -> RunRecord:
    """Train one run's checkpoint in its folder, going on where an earlier attempt was cut off.

    Args:
        plan: The run.
        data: The task's prepared rows, if they are loaded already.
        callbacks: Passed to the trainer.

    Returns:
        The finished run's record. A finished run is returned as it is.

    Raises:
        BadInput: If something the run needs is missing, its folder holds another run, or is held by another process.
    """
    with owner_of(plan):
        try:
            return _train(plan, data, callbacks)
        finally:
            # Model, gradients, optimizer and teachers: evaluation needs the room.
            give_back_memory()


def owner_of(plan: Plan) -> AbstractContextManager[None]:
    """Return what holds a run's folder: nobody else makes the run while inside.

    One process of several holds it. Only one alone may wait, since the others would wait for it in vain.
    """
    alone = plan.args.world_size == 1
    return sole_owner(plan.folder, waits=alone) if plan.args.process_index == 0 else nullcontext()


def _train(plan: Plan, data: TaskData | None, callbacks: Sequence[TrainerCallback]) -> RunRecord:
    setup, args, original = plan.setup, plan.args, plan.run.method == ORIGINAL
    manifest = data.manifest if data else load_manifest(setup.task, variant=setup.variant, out=setup.out)
    model = None if original else start_of(plan)
    commit = _base_commit(plan) if original else None
    record = new_record(plan, manifest, commit if model is None else weights_sha256(model))
    earlier = check_folder(plan.folder, record)
    if earlier and earlier.finished:
        check_files(plan.folder, earlier)
        return earlier
    data = data or load_rows(setup, plan.start)
    if commit:
        args.init_from = f"{split_reference(args.init_from)[0]}@{commit}"
    spec = setup.model.at(commit) if commit and args.init_from == f"{setup.model.hub_id}@{commit}" else setup.model
    model = model or fresh_model(spec, data.label_names, args.seed)
    check_labels(model, data, plan.start)
    evaluated = _evaluation_split(args, data)
    # Its hash above is that of the weights as they are stored, which an adapter leaves as they are.
    model = plan.adapter.add_to(model, args.seed) if plan.adapter.peft else in_float32(model)
    args.teacher_cache_dir = args.teacher_cache_dir or str(data.cache_dir / "train")
    trainer = plan.trainer(
        model,
        args,
        **_trainer_rows(data, original),
        eval_dataset=data.splits[evaluated],
        data_collator=data.collator,
        processing_class=data.processor,
        callbacks=[_Claim(plan.folder, record), *callbacks],
    )
    if callbacks and args.disable_tqdm:
        # The callbacks show the progress that Trainer would otherwise print.
        trainer.remove_callback(PrinterCallback)
    if args.world_size > 1:
        alone = of_one_process(args, plan.usual).gradient_accumulation_steps
        check_equal_updates(trainer.sampler, trainer.epochs, alone)
    meter = Meter(plan.folder, args.device)
    with using_tables(data.cache_dir), meter.running():
        trainer.train(resume_from_checkpoint=True)
    with together():
        parts = agreed(partial(meter.cost, trainer.clock.spent, max(1, args.n_gpu)))
    record = replace(
        record,
        status=trainer.status,
        status_reason=trainer.status_reason,
        seconds=trainer.unlearn_seconds,
        cost=joined_cost(parts),
        world_size=args.world_size,
        hardware={**record.hardware, "threads": torch.get_num_threads()},
    )
    # All processes have to be there: of a sharded model, each holds a part.
    weights = trainer.whole_state()
    if trainer.is_world_process_zero():
        record = _finish(plan, trainer.accelerator.unwrap_model(trainer.model), weights, data.processor, record)
    trainer.accelerator.wait_for_everyone()
    return record


def load_rows(setup: Setup, checkpoint: str | Path | None = None, org: str = "mubench") -> TaskData:
    """Load a table's rows, prepared for its model.

    Args:
        setup: The table.
        checkpoint: The checkpoint whose processor prepares them; default: the model's processor.
        org: Organisation on the Hub that has the data set, if it is not built.

    Raises:
        BadInput: If the data set is missing.
    """
    loader = setup.model.architecture.processor_class
    processor = (
        partial(load_processor, setup.model)
        if checkpoint is None
        else lambda texts: saved_processor(checkpoint, processor_class=loader)
    )
    where = {"out": setup.out, "org": org}
    return load_task_data(setup.task, variant=setup.variant, ratio=setup.del_ratio, processor=processor, **where)


def _base_commit(plan: Plan) -> str | None:
    """Return the commit on the Hub of the checkpoint that an original starts from, if it is on the Hub.

    A run that was cut off goes on from the one that it began with; earlier versions recorded none.
    """
    if not plan.args.init_from or is_foreign(plan.setup.model):
        return None
    begun = load_record(plan.folder)
    return commit_of(plan.args.init_from) if begun is None else begun.base_revision


class _Claim(TrainerCallback):
    """Says in a run's folder whose it is, from the first step on: before, there is nothing to keep."""

    def __init__(self, folder: Path, record: RunRecord):
        self.folder, self.record, self.done = folder, record, False

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the record, before the first state is saved."""
        if state.is_world_process_zero and not self.done:
            self.record.save(self.folder)
        self.done = True


def _evaluation_split(args: UnlearningConfig, data: TaskData) -> str:
    """Return the rows that are evaluated during training: those of test, unless that chooses the run's weights.

    Raises:
        BadInput: If it chooses them and there are no validation rows, or by something that is not measured.
    """
    if args.metric_for_best_model not in (None, "loss", "eval_loss"):
        raise BadInput(f"metric_for_best_model is {args.metric_for_best_model!r}; only loss is measured in training.")
    if not selects(args):
        return "test"
    if SELECTION_SPLIT not in data.splits:
        raise BadInput(
            "load_best_model_at_end, save_strategy 'best' and reduce_lr_on_plateau choose weights by evaluation, but "
            f"{data.task.dataset_name(data.variant)} has no {SELECTION_SPLIT} rows, and on test rows that are scored "
            "afterwards the score would be chosen, not measured. Leave it out."
        )
    return SELECTION_SPLIT


def start_of(plan: Plan) -> PreTrainedModel:
    """Return the original that a run starts from, as it was when its training ended.

    Raises:
        BadInput: If there is none, or a file of it is damaged.
    """
    if Path(plan.start).is_dir() and (record := load_record(plan.start)):
        check_files(plan.start, record)
    return load_model(plan.start, plan.setup.model.architecture.auto_class)


def new_record(plan: Plan, manifest: Mapping[str, Any], base_revision: str | None) -> RunRecord:
    """Return the record of a run that is about to start from the weights with this hash or commit."""
    hardware, versions = describe_environment()
    return RunRecord(
        plan.run,
        plan.recorded,
        manifest["fingerprint"],
        manifest["deletion_list"]["sha256"],
        plan.base_model,
        base_revision,
        plan.settings,
        plan.external,
        hardware={**hardware, "device": device_name(plan.args.device)},
        versions=versions,
        commit=git_commit(),
    )


def _trainer_rows(data: TaskData, original: bool) -> dict[str, Any]:
    """Return a trainer's two sets; for an original, D_r is all of train."""
    forget, retain = data.splits["forget"], data.splits["retain"]
    if original:
        return {"retain_dataset": JoinedRows(forget, retain)}
    return {"forget_dataset": forget, "retain_dataset": retain}


def _finish(
    plan: Plan, model: PreTrainedModel, weights: dict[str, Any] | None, processor: Any, record: RunRecord
) -> RunRecord:
    """Save the checkpoint, then the record with the hashes of its files, then drop the states to resume from."""
    folder = plan.folder
    model.save_pretrained(folder, **({} if weights is None else {"state_dict": weights}))
    (folder / "README.md").unlink(missing_ok=True)  # `peft` leaves one to be filled in; cards are written to publish.
    processor.save_pretrained(folder)
    if record.run.method == ORIGINAL:
        recipe = json.dumps(plan.recorded, indent=2, sort_keys=True) + "\n"
        write_atomic(folder / RECIPE, lambda stream: stream.write(recipe.encode()))
    record = replace(record, files=hashed_files(folder))
    record.save(folder)
    for state in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        shutil.rmtree(state)
    return record
