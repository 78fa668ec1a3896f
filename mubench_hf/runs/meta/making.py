"""Makes the models of every state for one task and seed, and keeps what metrics and audits find of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mubench_hf.errors import BadInput
from mubench_hf.kinds import get_kind
from mubench_hf.kinds.measures import get_measure
from mubench_hf.models.device import exact_arithmetic
from mubench_hf.models.loading import load_model
from mubench_hf.runs.audits.relearning import Relearning, relearn
from mubench_hf.runs.choice import ALL, choose
from mubench_hf.runs.kept_tables import using_tables
from mubench_hf.runs.meta.hiding import BATCH, NotMade, filtered
from mubench_hf.runs.meta.states import CHANGED, FILTERED, KNOWN, RELEARN_STEPS
from mubench_hf.runs.meta.training import FOLDER, Bench, makers, target
from mubench_hf.runs.pipeline import Pipeline
from mubench_hf.runs.setup import Setup, make_setup
from mubench_hf.runs.train import load_rows
from mubench_hf.utils.files import write_atomic
from mubench_hf.utils.json_files import parse_object, read_bytes
from mubench_hf.utils.locks import sole_owner
from mubench_hf.utils.progress import RunProgress

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NOTE, OUTPUTS, AUDITS = "state.json", "outputs.npz", "audits.json"

AUDITED_ON = ("retain", "unrelated")
"""What models are trained on for a few steps to see what comes back of D_f.

A tenth of D_f is not among them: one of the states was shown a tenth.
"""


def check_states(setup: Setup) -> None:
    """Check that models of known state can be made for a task.

    Raises:
        BadInput: If its rows are not of one class each.
    """
    kind = setup.task.kind
    if not (get_kind(kind).label_is_class and get_kind(kind).keeps_outputs):
        raise BadInput(
            f"{setup.task.name} is of the kind {kind}; models of known state are made for tasks that give each row one "
            "class. Leave it out."
        )


def make_states(task: str, out: Path | str, seed: int) -> dict[str, Any]:
    """Make the models of every state of one task's mini source, unless they are there, and measure and audit them.

    Args:
        task: The task, see ``get_task``.
        out: Output folder of this task.
        seed: The seed.

    Returns:
        State → what is noted of it: ``reason`` if it could not be made, or what ``audited`` returns.

    Raises:
        BadInput: If the folder holds other runs, or the original or the retrained model diverged.
    """
    pipeline = Pipeline(task, variant="mini", out=out, methods=(), seeds=(seed,), metrics=(ALL,), use_cpu=True)
    for result in pipeline.run(RunProgress(quiet=True)):
        if result.status != "ok":
            raise BadInput(f"{result.name} is {result.status}: {result.status_reason}. Choose other seeds.")
    setup = make_setup(task, variant="mini", out=out)
    bench = Bench(setup, load_rows(setup), seed)
    makes = {state: partial(_state, state, make) for state, make in makers().items()}
    makes |= {state: partial(Bench.model, state=state) for state in CHANGED}
    with exact_arithmetic(torch.device("cpu"), 1), sole_owner(setup.out / FOLDER / f"seed-{seed}"):
        return {state: _noted(bench, state, make) for state, make in makes.items()}


def _noted(bench: Bench, state: str, make: Callable[[Bench], PreTrainedModel]) -> dict[str, Any]:
    """Return what is noted of a state: why there is no model, or what audits find, which is computed once."""
    try:
        model = make(bench)
    except NotMade as error:
        return {"reason": str(error)}
    if state not in CHANGED:  # Those two are runs, whose outputs are kept as of any run.
        _measure(bench, state, model)
    file, made_of = bench.folder(state) / AUDITS, bench.made_of(state)
    there = _read(file)
    if there.get("made_of") == made_of:
        return there["audits"]
    found = audited(model, bench)
    _write(file, {"made_of": made_of, "audits": found})
    return found


def audited(model: PreTrainedModel, bench: Bench) -> dict[str, Any]:
    """Return loss and score on D_f after a few steps on other rows.

    Args:
        model: The model; it is not changed.
        bench: Its task and seed.

    Returns:
        What it was trained on (``retain``, ``unrelated``) → steps, as text → loss and score.
    """
    settings = Relearning(steps=(RELEARN_STEPS,), most_steps=RELEARN_STEPS, batch_size=BATCH, seed=bench.seed)
    found = {}
    for on in AUDITED_ON:
        points = relearn(model, bench.data, on=on, settings=settings, use_cpu=True).main
        found[on] = {
            str(step): [loss, score]
            for step, loss, score in zip(points.steps, points.losses, points.scores, strict=True)
            if score is not None
        }
    return found


def _state(state: str, make: Callable[[Bench], PreTrainedModel], bench: Bench) -> PreTrainedModel:
    """Return the model of a state; it is made unless it is there.

    Raises:
        NotMade: If it did not become what it should be.
    """
    folder, made_of = bench.folder(state), bench.made_of(state)
    note, auto_class = folder / NOTE, bench.setup.model.architecture.auto_class
    there = _read(note)
    if there.get("made_of") == made_of:
        if reason := there.get("reason"):
            raise NotMade(reason)
        return load_model(folder, auto_class)
    try:
        model = make(bench)
    except NotMade as error:
        _write(note, {"made_of": made_of, "reason": str(error)})
        raise
    (folder / OUTPUTS).unlink(missing_ok=True)
    model.save_pretrained(folder)
    _write(note, {"made_of": made_of})  # Last: a folder without a note was interrupted.
    return model


def _measure(bench: Bench, state: str, model: PreTrainedModel) -> None:
    """Keep what metrics read of a state's model, unless it is there; a metric that is new may read more."""
    measure, file = get_measure(bench.setup.task.kind), bench.folder(state) / OUTPUTS
    wanted = choose(bench.setup.task.metrics, [ALL]).arrays(KNOWN)
    if file.is_file():
        with np.load(file, allow_pickle=False) as there:
            if wanted & measure.on_request <= {*there.files}:
                return
    with using_tables(bench.data.cache_dir):
        outputs = measure.measure(model, bench.data, bench.seed, wanted=wanted)
    if state == FILTERED:
        outputs = filtered(outputs, target(bench))
    write_atomic(file, lambda stream: np.savez(stream, allow_pickle=False, **outputs))


def _write(file: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    write_atomic(file, lambda stream: stream.write(text.encode()))


def _read(file: Path) -> dict[str, Any]:
    """Return what ``_write`` wrote; nothing if it is not there or damaged."""
    try:
        return parse_object(read_bytes(file))
    except (OSError, ValueError):
        return {}
