"""When states are saved that a killed run goes on from: by minutes, unless something else is asked for."""

from types import SimpleNamespace

import pytest
import torch
from transformers import TrainerCallback

from mubench_hf.errors import BadInput
from mubench_hf.trainers import _loop, get_method

MINUTES = {"save_strategy": "minutes", "save_minutes": 10.0, "save_total_limit": None}


class Killed(Exception):
    pass


class Steps(TrainerCallback):
    """Lets each step take so many minutes, notes it, and may end the run at one of them."""

    def __init__(self, monkeypatch, minutes, last=None):
        self.now, self.minutes, self.last, self.seen = 0.0, minutes, last, []
        monkeypatch.setattr(_loop, "time", SimpleNamespace(monotonic=lambda: self.now))

    def on_step_begin(self, args, state, control, **kwargs):
        self.now += 60 * self.minutes

    def on_step_end(self, args, state, control, **kwargs):
        self.seen.append(state.global_step)
        if state.global_step == self.last:
            raise Killed


def saved(folder):
    return sorted(
        int(state.parent.name.split("-")[1]) for state in folder.glob("run/checkpoint-*/unlearning_state.json")
    )


@pytest.mark.parametrize(("minutes", "expected"), [(4, [3, 6, 9]), (10, [1, 2, 3, 4, 5, 6, 7, 8, 9]), (0.9, [])])
def test_a_state_is_saved_when_its_time_has_come(minutes, expected, world, make, monkeypatch, tmp_path):
    trainer = make("finetune", world, max_steps=10, **MINUTES)
    trainer.add_callback(Steps(monkeypatch, minutes))
    trainer.train()
    assert saved(tmp_path) == expected, "and none at the end, where the run itself is saved"


def test_only_the_last_ones_are_kept(world, make, monkeypatch, tmp_path):
    trainer = make("finetune", world, max_steps=10, **{**MINUTES, "save_total_limit": 1})
    trainer.add_callback(Steps(monkeypatch, 4))
    trainer.train()
    assert saved(tmp_path) == [9]


@pytest.mark.parametrize("method", ["scrub", pytest.param("salun", marks=pytest.mark.slow)])
def test_a_killed_run_goes_on_from_it_to_the_same_bits(
    method, dropout_world, make, monkeypatch, weights_of, same_weights, rng
):
    settings = {**MINUTES, "num_train_epochs": 3, "save_total_limit": 1}
    whole = make(method, dropout_world, **settings)
    whole.train()
    killed_at = int(rng.integers(3, whole.state.max_steps))
    first = make(method, dropout_world, **settings)
    first.add_callback(Steps(monkeypatch, 5, last=killed_at))
    with pytest.raises(Killed):
        first.train()
    again, steps = make(method, dropout_world, **settings), Steps(monkeypatch, 0)
    again.add_callback(steps)
    again.train(resume_from_checkpoint=True)
    begun = (killed_at - 1) // 2 * 2
    assert steps.seen == list(range(begun + 1, whole.state.max_steps + 1)), "only what was left is done"
    assert same_weights(weights_of(again.model), weights_of(whole.model))


@pytest.mark.parametrize(
    ("given", "strategy"),
    [
        ({}, "minutes"),
        ({"save_minutes": 3}, "minutes"),
        ({"save_strategy": "epoch"}, "epoch"),
        ({"save_strategy": "no"}, "no"),
        ({"save_steps": 7}, "steps"),
        ({"save_steps": 7, "save_strategy": "epoch"}, "epoch"),
        ({"load_best_model_at_end": True, "eval_strategy": "epoch"}, "epoch"),
    ],
)
def test_what_is_asked_for_is_done(given, strategy, tmp_path):
    args = get_method("finetune").config_class(str(tmp_path), use_cpu=True, **given)
    assert getattr(args.save_strategy, "value", args.save_strategy) == strategy


def test_minutes_without_their_strategy_are_refused(tmp_path):
    with pytest.raises(BadInput, match="save_minutes is 3: states are saved by save_strategy epoch"):
        get_method("finetune").config_class(str(tmp_path), use_cpu=True, save_strategy="epoch", save_minutes=3)


def test_all_processes_save_if_it_is_time_for_one(world, make, monkeypatch):
    trainer = make("finetune", world, max_steps=10, **MINUTES)
    trainer.state.max_steps, trainer._saved_at = 10, _loop.time.monotonic()
    monkeypatch.setattr(type(trainer.args), "world_size", 2)
    for others, expected in ((0.0, False), (1.0, True)):
        monkeypatch.setattr(trainer.accelerator, "reduce", lambda due, how, others=others: due + torch.tensor(others))
        assert trainer._state_is_due() is expected
