"""What the clock counts: unlearning with its preparation, without evaluation and saving."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from methods import methods_for
from transformers import TrainerCallback

from mubench_hf.models.loading import weights_sha256
from mubench_hf.trainers import _clock
from mubench_hf.trainers._clock import Clock
from mubench_hf.utils.sealed import sealed
from mubench_hf.utils.spent import Spent


@pytest.fixture
def now(monkeypatch):
    """A clock on the wall that moves by hand, and a processor that works half the time."""
    wall = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(_clock, "reading", lambda: Spent(wall.seconds, wall.seconds / 2))
    return wall


def test_clock(now):
    clock = Clock()
    now.seconds += 5
    assert clock.seconds == 0
    with clock.running():
        now.seconds += 3
        assert clock.seconds == 3
        with clock.paused():
            now.seconds += 50
            assert clock.seconds == 3
        now.seconds += 2
    now.seconds += 9
    assert clock.seconds == 5
    with clock.running():
        clock.set(Spent(70, 7))
        now.seconds += 1
        assert clock.spent == (71, 7.5)
        clock.charge(Spent(10, 2))
        assert clock.spent == (81, 9.5)
    with clock.paused():
        now.seconds += 4
    assert clock.spent == (81, 9.5)
    clock.charge(Spent(1, None))
    assert clock.spent == (82, None), "a part did not record its processor seconds"


def test_a_device_is_waited_for_before_every_reading(now):
    """What it was given before a pause would otherwise run in the pause, and what it does in one afterwards."""
    given = {"seconds": 0}

    def settle():
        now.seconds += given["seconds"]
        given["seconds"] = 0

    clock = Clock(settle)
    with clock.running():
        given["seconds"] = 3
        with clock.paused():
            given["seconds"] = 500
        given["seconds"] = 4
    assert clock.seconds == 7


def test_clock_stops_when_training_fails(now):
    clock = Clock()
    with pytest.raises(KeyError), clock.running():
        now.seconds += 2
        with clock.paused():
            now.seconds += 30
            raise KeyError
    now.seconds += 7
    assert clock.seconds == 2


class Wall(TrainerCallback):
    """Every update takes a second, every evaluation, log and save a thousand."""

    def __init__(self, now):
        self.now = now

    def on_step_begin(self, *args, **kwargs):
        self.now.seconds += 1

    def late(self, *args, **kwargs):
        self.now.seconds += 1000

    on_evaluate = on_save = on_log = on_prediction_step = late


def test_evaluation_logging_and_saving_are_not_counted(now, world, make, tmp_path):
    trainer = make("finetune", world, eval_strategy="epoch", save_strategy="epoch", logging_strategy="epoch",
                   num_train_epochs=3, kwargs={"eval_dataset": world.forget, "callbacks": [Wall(now)]})  # fmt: skip
    prepared = trainer.prepare

    def prepare():
        now.seconds += 20
        prepared()

    trainer.prepare = prepare
    start = now.seconds
    trainer.train()
    steps = trainer.state.global_step
    assert steps == 15 and now.seconds - start > 3 * 3000
    assert trainer.clock.spent == (20 + steps, (20 + steps) / 2)
    (mark,) = tmp_path.glob("run/checkpoint-15/unlearning_state.json")
    assert json.loads(mark.read_text())["seconds"] == 20 + steps


@pytest.mark.parametrize("best", [False, True])
def test_evaluation_at_the_start_and_reading_the_best_model_are_not_counted(now, world, make, best, monkeypatch):
    settings = {"save_strategy": "epoch", "load_best_model_at_end": True} if best else {"eval_on_start": True}
    trainer = make("finetune", world, eval_strategy="epoch", num_train_epochs=2, **settings,
                   kwargs={"eval_dataset": world.forget, "callbacks": [Wall(now)]})  # fmt: skip
    loads, load = [], trainer._load_best_model

    def late():
        loads.append(1)
        now.seconds += 1000
        load()

    monkeypatch.setattr(trainer, "_load_best_model", late)
    trainer.train()
    assert trainer.unlearn_seconds == trainer.state.global_step and len(loads) == best


@pytest.mark.parametrize("method", methods_for("classification"))
@pytest.mark.parametrize("epochs", [1, 3])
def test_a_table_is_charged_for_the_rows_that_are_read(now, method, epochs, world, make, spy, tmp_path):
    """Whether this run computed the table or an earlier one did; a method without a table is charged for none."""
    settings = {"teacher_cache_dir": str(tmp_path / "cache"), "num_train_epochs": epochs}
    make(method, world, **settings).prepare()
    (tmp_path / "cache").mkdir(exist_ok=True)
    mark = tmp_path / "cache" / f"{weights_sha256(world.original())[:32]}.json"
    if mark.exists():
        mark.write_text(json.dumps(sealed({**json.loads(mark.read_text()), "seconds": 1000.0})))
    trainer = make(method, world, **settings)
    served, original_teacher = [], trainer.original_teacher

    def watched(where=None):
        served.append(world.is_forget | True if where is None else where)
        return original_teacher(where)

    trainer.original_teacher = watched
    seen = spy(trainer)
    trainer.train()
    rows = np.unique(np.concatenate([batch.rows for batch in seen.batches]))
    read = sum(int(where[rows].sum()) for where in served)
    assert trainer.unlearn_seconds == pytest.approx(1000 * read / len(world.labels))
