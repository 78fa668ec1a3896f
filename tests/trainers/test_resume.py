"""A run that was cut off ends in the weights, to the bit, that it would have had."""

import json
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from methods import methods_for
from torch.utils.data import StackDataset
from transformers import TrainerCallback

from mubench_hf.errors import BadInput
from mubench_hf.models import get_model
from mubench_hf.models.loading import fresh_model
from mubench_hf.trainers import UnlearningConfig, get_method
from mubench_hf.trainers._states import STATE_FILE, read_state, state_folders
from mubench_hf.utils.sealed import sealed

# Weight decay, a schedule, clipping, accumulation and dropout: all that a run carries along.
SETTINGS = {
    "num_train_epochs": 3,
    "weight_decay": 0.1,
    "warmup_steps": 2,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
}


class CutOff(Exception):
    pass


def last_complete_state(output_dir):
    """Return the last state that is whole, whoever's it is."""

    def whole(folder):
        try:
            return read_state(folder)
        except BadInput:
            return None

    return next((str(folder) for folder in state_folders(output_dir) if whole(folder)), None)


def switched_on(method):
    """Return every switch that a method adds and leaves off, on: such as draws that each epoch makes anew."""
    added = {field.name: field.default for field in fields(get_method(method).config_class)}
    return {name: True for name, off in added.items() if off is False and not hasattr(UnlearningConfig, name)}


def cut_off_at(step):
    class Cut(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == step:
                raise CutOff

    return Cut()


@pytest.mark.parametrize("method", methods_for("classification"))
def test_ends_in_the_same_weights(method, dropout_world, make, weights_of, same_weights, tmp_path):
    settings = {**SETTINGS, **switched_on(method)}
    whole = make(method, dropout_world, **settings)
    whole.train()
    assert whole.state.global_step > 5
    expected = weights_of(whole.model)
    per_epoch = whole.sampler.update_count(0)
    strategies = {
        "epoch": ({"save_strategy": "epoch"}, per_epoch + 1, per_epoch),
        "steps": ({"save_strategy": "steps", "save_steps": per_epoch + 1}, per_epoch + 2, per_epoch + 1),
    }
    for name, (saving, cut, saved) in strategies.items():
        folder = tmp_path / name
        assert cut < whole.state.max_steps
        first = make(method, dropout_world, output_dir=str(folder), **settings, **saving)
        first.add_callback(cut_off_at(cut))
        with pytest.raises(CutOff):
            first.train()
        assert last_complete_state(folder) == str(folder / f"checkpoint-{saved}")
        torch.rand(5)

        steps = []

        class Count(TrainerCallback):
            def on_step_end(self, args, state, control, steps=steps, **kwargs):
                steps.append(state.global_step)

        again = make(method, dropout_world, output_dir=str(folder), **settings, **saving)
        again.add_callback(Count())
        again.train(resume_from_checkpoint=True)
        assert steps == list(range(saved + 1, whole.state.max_steps + 1)), "only what was left is done"
        assert same_weights(weights_of(again.model), expected), name


def test_dropout_makes_the_course_depend_on_the_random_state(dropout_world, make, weights_of, same_weights):
    """Otherwise the test above would not see a random state that is not restored."""
    one, other = make("finetune", dropout_world), make("finetune", dropout_world)
    one.train()

    class Draw(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            torch.rand(1)

    other.add_callback(Draw())
    other.train()
    assert not same_weights(weights_of(one.model), weights_of(other.model))


def test_what_is_drawn_before_training_does_not_reach_the_weights(dropout_world, make, weights_of, same_weights):
    one, other = make("rand_label", dropout_world), make("rand_label", dropout_world)
    one.train()
    torch.rand(3)
    other.train()
    assert same_weights(weights_of(one.model), weights_of(other.model))


def test_cut_off_before_anything_was_saved(dropout_world, make, weights_of, same_weights):
    whole, first, again = (make("finetune", dropout_world, **SETTINGS) for _ in range(3))
    whole.train()
    first.add_callback(cut_off_at(1))
    with pytest.raises(CutOff):
        first.train()
    again.train(resume_from_checkpoint=True)
    assert same_weights(weights_of(again.model), weights_of(whole.model))


def test_a_state_that_was_not_saved_to_its_end_is_passed_over(dropout_world, make, weights_of, same_weights, tmp_path):
    saving = {**SETTINGS, "save_strategy": "epoch", "save_total_limit": 3}
    whole = make("finetune", dropout_world, output_dir=str(tmp_path / "run"), **saving)
    whole.train()
    per_epoch = whole.sampler.update_count(0)
    states = [tmp_path / "run" / f"checkpoint-{number * per_epoch}" for number in (1, 2, 3)]
    assert last_complete_state(tmp_path / "run") == str(states[2])
    (states[2] / STATE_FILE).unlink()
    (states[2] / "model.safetensors").write_bytes(b"cut off")
    assert last_complete_state(tmp_path / "run") == str(states[1])
    again = make("finetune", dropout_world, output_dir=str(tmp_path / "run"), **saving)
    again.train(resume_from_checkpoint=True)
    assert same_weights(weights_of(again.model), weights_of(whole.model))
    for state in states:
        (state / STATE_FILE).unlink(missing_ok=True)
    assert last_complete_state(tmp_path / "run") is None
    assert last_complete_state(tmp_path / "nowhere") is None


def test_states_are_tried_from_the_highest_number_down(tmp_path):
    for number in (9, 10, 100, 20):
        (tmp_path / f"checkpoint-{number}").mkdir()
    (tmp_path / "checkpoint-best").mkdir()
    assert [folder.name for folder in state_folders(tmp_path)] == [f"checkpoint-{n}" for n in (100, 20, 10, 9)]


def test_the_mark_is_written_last(dropout_world, make, monkeypatch, tmp_path):
    """A kill while the state is written leaves no mark."""
    trainer = make("finetune", dropout_world, save_strategy="epoch")

    def cut(output_dir):
        raise CutOff

    monkeypatch.setattr(trainer, "_save_rng_state", cut)
    with pytest.raises(CutOff):
        trainer.train()
    assert list(tmp_path.glob("run/checkpoint-*/model.safetensors")), "the weights were saved by then"
    assert last_complete_state(tmp_path / "run") is None


def test_a_finished_run_is_not_trained_on(dropout_world, make, weights_of, same_weights):
    whole = make("scrub", dropout_world, save_strategy="epoch")
    whole.train()
    again = make("scrub", dropout_world, save_strategy="epoch")
    again.train(resume_from_checkpoint=True)
    assert same_weights(weights_of(again.model), weights_of(whole.model))
    assert again.state.global_step == whole.state.global_step


def test_resuming_from_a_folder(dropout_world, make, weights_of, same_weights, tmp_path):
    saving = {**SETTINGS, "save_strategy": "epoch", "save_total_limit": 3}
    whole = make("salun", dropout_world, **saving)
    whole.train()
    state = min(tmp_path.glob("run/checkpoint-*"), key=lambda folder: int(folder.name.split("-")[1]))
    again = make("salun", dropout_world, **saving)
    again.train(resume_from_checkpoint=str(state))
    assert same_weights(weights_of(again.model), weights_of(whole.model))


def test_a_folder_that_holds_no_complete_state_is_refused(dropout_world, make, tmp_path):
    (tmp_path / "checkpoint-3").mkdir()
    with pytest.raises(BadInput, match=rf"checkpoint-3.* no {STATE_FILE}"):
        make("finetune", dropout_world).train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))


def test_clock_goes_on(dropout_world, make, tmp_path):
    saving = {**SETTINGS, "save_strategy": "epoch"}
    first = make("neggrad", dropout_world, **saving)
    first.add_callback(cut_off_at(first.sampler.update_count(0)))
    with pytest.raises(CutOff):
        first.train()
    mark = Path(last_complete_state(tmp_path / "run"), STATE_FILE)
    saved = json.loads(mark.read_text())["seconds"]
    assert 0 < saved <= first.unlearn_seconds
    mark.write_text(json.dumps(sealed({**json.loads(mark.read_text()), "seconds": 5000.0})))
    again = make("neggrad", dropout_world, **saving)
    again.train(resume_from_checkpoint=True)
    assert 5000 < again.unlearn_seconds < 5060
    assert json.loads(Path(last_complete_state(tmp_path / "run"), STATE_FILE).read_text())["seconds"] > 5000


def test_a_run_goes_on_with_as_many_processes_as_it_began_with(dropout_world, make, tmp_path):
    """With others its sums round, and its dropout is, otherwise: it would end in the weights of neither."""
    saving = {**SETTINGS, "save_strategy": "steps", "save_steps": 1, "max_steps": 1}
    make("neggrad", dropout_world, **saving).train()
    mark = Path(last_complete_state(tmp_path / "run"), STATE_FILE)
    state = json.loads(mark.read_text())
    assert state["run"]["processes"] == 1
    mark.write_text(json.dumps(sealed({**state, "run": {**state["run"], "processes": 2}})))
    with pytest.raises(BadInput, match=r"the state of another run \(processes is 2, not 1\)"):
        make("neggrad", dropout_world, **saving).train(resume_from_checkpoint=True)


SIZES = {"resnet-tiny": 32, "vit-tiny": 16, "swin-micro": 16, "convnext-tiny": 32, "mobilenet-v1-tiny": 64,
         "mobilenet-v2-tiny": 64}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
def test_every_image_architecture_resumes(name, make, rng, weights_of, same_weights, tmp_path):
    spec, size = get_model(name), SIZES[name]
    pixels = torch.from_numpy(rng.normal(size=(16, 3, size, size)).astype("f4"))
    labels = torch.from_numpy(rng.integers(3, size=16))
    world = SimpleNamespace(
        forget=StackDataset(pixel_values=pixels[:4], labels=labels[:4]),
        retain=StackDataset(pixel_values=pixels[4:], labels=labels[4:]),
        original=lambda: fresh_model(spec, "abc", seed=1),
    )
    settings = {"save_strategy": "epoch", "num_train_epochs": 2, "save_total_limit": 2}
    whole = make("scrub", world, **settings)
    whole.train()
    states = sorted(tmp_path.glob("run/checkpoint-*"), key=lambda folder: int(folder.name.split("-")[1]))
    again = make("scrub", world, **settings)
    again.train(resume_from_checkpoint=str(states[0]))
    assert same_weights(weights_of(again.model), weights_of(whole.model))
