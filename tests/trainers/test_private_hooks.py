"""`transformers` still has the private hooks that the base trainer overrides, with the parameters it relies on."""

import inspect

import pytest
from transformers import Trainer

from mubench_hf.trainers import UnlearningTrainer

HOOKS = {
    "_run_epoch": {"epoch", "steps_in_epoch", "num_update_steps_per_epoch"},
    "_init_training_state": {"max_steps", "num_update_steps_per_epoch", "resume_from_checkpoint"},
    "set_initial_training_values": {"args", "dataloader"},
    "_get_num_items_in_batch": {"batch_samples", "device"},
    "_maybe_log_save_evaluate": {"tr_loss", "model", "epoch"},
    "_save_checkpoint": {"model", "trial"},
    "_load_from_checkpoint": {"resume_from_checkpoint", "model"},
    "_push_from_checkpoint": {"checkpoint_folder"},
    "_save": {"output_dir", "state_dict"},
    "init_hf_repo": {"token", "private"},
    "push_to_hub": {"commit_message", "blocking", "token", "revision", "private"},
    "create_model_card": {"language", "license", "tags", "model_name", "finetuned_from", "tasks", "dataset_tags"},
    "prediction_step": {"model", "inputs", "prediction_loss_only"},
    "training_step": {"model", "inputs", "num_items_in_batch"},
    "create_optimizer": set(),
    "get_train_dataloader": set(),
}


@pytest.mark.parametrize("name", HOOKS)
def test_hook_is_there(name):
    assert HOOKS[name] <= set(inspect.signature(getattr(Trainer, name)).parameters)


def test_every_overridden_private_hook_is_listed():
    own = {name for name in vars(UnlearningTrainer) if callable(getattr(UnlearningTrainer, name))}
    overridden = {name for name in own & set(dir(Trainer)) if not name.startswith("__")}
    assert {name for name in overridden if name.startswith("_")} <= set(HOOKS)


@pytest.mark.parametrize(
    ("caller", "call"),
    [
        ("_inner_training_loop", "self._run_epoch("),
        ("_inner_training_loop", "epoch=epoch,"),
        ("_inner_training_loop", "self._init_training_state("),
        ("_inner_training_loop", "self.set_initial_training_values("),
        ("_run_epoch", "self._maybe_log_save_evaluate("),
        ("_run_epoch", "self.get_batch_samples("),
        ("get_batch_samples", "self._get_num_items_in_batch("),
        ("_maybe_log_save_evaluate", "self._save_checkpoint("),
        ("train", "self._load_from_checkpoint("),
        ("training_step", "self.loss_is_scaled_for_ga"),
        ("prediction_step", "self.compute_loss("),
        ("_save_checkpoint", "self._push_from_checkpoint("),
        ("push_to_hub", "self.create_model_card(model_name=model_name"),
        ("push_to_hub", "folder_path=self.args.output_dir"),
        ("save_model", "self._save("),
    ],
)
def test_hook_is_called(caller, call):
    assert call in inspect.getsource(getattr(Trainer, caller))


def test_what_the_hooks_return():
    values = inspect.signature(Trainer.set_initial_training_values).return_annotation
    assert len(values.__args__) == 7
    assert len(inspect.signature(Trainer._init_training_state).return_annotation.__args__) == 2
