"""`transformers` still has the private hooks that the base trainer overrides, with the parameters it relies on."""

import inspect

import pytest
from transformers import Trainer

from mubench_hf.trainers import UnlearningTrainer, get_method, list_methods

HOOKS = {  # None: an attribute.
    "_run_epoch": {"epoch", "steps_in_epoch", "num_update_steps_per_epoch"},
    "_init_training_state": {"max_steps", "num_update_steps_per_epoch", "resume_from_checkpoint"},
    "set_initial_training_values": {"args", "dataloader"},
    "_get_num_items_in_batch": {"batch_samples", "device"},
    "_maybe_log_save_evaluate": {"tr_loss", "model", "epoch"},
    "_save_checkpoint": {"model", "trial"},
    "_finalize_training": set(),
    "_load_from_checkpoint": {"resume_from_checkpoint", "model"},
    "_load_best_model": set(),
    "_push_from_checkpoint": {"checkpoint_folder"},
    "_save": {"output_dir", "state_dict"},
    "save_model": {"output_dir", "_internal_call"},
    "init_hf_repo": {"token", "private"},
    "push_to_hub": {"commit_message", "blocking", "token", "revision", "private"},
    "create_model_card": {"language", "license", "tags", "model_name", "finetuned_from", "tasks", "dataset_tags"},
    "compute_loss": {"model", "inputs", "return_outputs", "num_items_in_batch"},
    "prediction_step": {"model", "inputs", "prediction_loss_only"},
    "training_step": {"model", "inputs", "num_items_in_batch"},
    "get_train_dataloader": set(),
    "_prepare_inputs": {"inputs"},
    "_prepare_for_training": {"max_steps", "train_dataloader", "resume_from_checkpoint"},
    "_inner_training_loop": {"batch_size", "resume_from_checkpoint"},
    "hyperparameter_search": set(),
    "_remove_unused_columns": {"dataset", "description"},
    "_get_collator_with_removed_columns": {"data_collator", "description"},
    "train": {"resume_from_checkpoint"},
    "evaluate": {"eval_dataset"},
    "predict": {"test_dataset"},
    "loss_is_scaled_for_ga": None,
}


@pytest.mark.parametrize("name", HOOKS)
def test_hook_is_there(name):
    hook = getattr(Trainer, name)
    assert HOOKS[name] is None or HOOKS[name] <= set(inspect.signature(hook).parameters)


def overridden(trainer):
    """Return what any class between a trainer and `Trainer` has in the place of something of `Trainer`'s."""
    between = [each for each in trainer.__mro__ if each not in Trainer.__mro__]
    return {name for each in between for name in vars(each) if hasattr(Trainer, name) and not name.startswith("__")}


def test_what_is_listed_is_overridden_or_called():
    found = [overridden(trainer) for trainer in (UnlearningTrainer, *map(get_method, list_methods()))]
    assert set.union(*found) | {"init_hf_repo"} == set(HOOKS)


@pytest.mark.parametrize("method", list_methods())
def test_every_hook_that_a_method_overrides_is_listed(method):
    assert overridden(get_method(method)) <= set(HOOKS), "list it above, with the parameters that are relied on"


def test_the_guard_sees_every_class_between():
    class Between:
        def _wrap_model(self, model):
            return model

    class Mine(Between, UnlearningTrainer):
        def _prepare_input(self, data):
            return data

    class Later(Mine):
        pass

    assert {"_wrap_model", "_prepare_input"} == overridden(Later) - set(HOOKS)


@pytest.mark.parametrize(
    ("caller", "call"),
    [
        ("_inner_training_loop", "self._run_epoch("),
        ("_inner_training_loop", "epoch=epoch,"),
        ("_inner_training_loop", "self._init_training_state("),
        ("_inner_training_loop", "self.set_initial_training_values("),
        ("_inner_training_loop", "self._prepare_for_training("),
        ("_run_epoch", "self._maybe_log_save_evaluate("),
        ("_run_epoch", "self.get_batch_samples("),
        ("get_batch_samples", "self._get_num_items_in_batch("),
        ("_maybe_log_save_evaluate", "self._save_checkpoint("),
        ("train", "self._load_from_checkpoint("),
        ("_prepare_for_training", "self._load_from_checkpoint(resume_from_checkpoint, self.model_wrapped)"),
        ("train", "self._inner_training_loop, self._train_batch_size"),
        ("training_step", "self._prepare_inputs("),
        ("_finalize_training", "self._load_best_model("),
        ("_save_checkpoint", "self._get_output_dir(trial=trial)"),
        ("_get_dataloader", "self._remove_unused_columns("),
        ("_get_dataloader", "self._get_collator_with_removed_columns("),
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


def test_a_gradient_is_masked_before_it_is_clipped():
    source = inspect.getsource(Trainer._run_epoch)
    assert source.index("self.training_step(") < source.index("self._clip_grad_norm(")


def test_a_sharded_model_is_prepared_before_a_state_is_put_into_it():
    source = inspect.getsource(Trainer._prepare_for_training)
    assert source.index("self.model = self.model_wrapped = model") < source.index("self._load_from_checkpoint(")


def test_a_callback_hears_of_each_step_at_once():
    source = inspect.getsource(Trainer._run_epoch)
    places = [
        source.index(call) for call in ("self.optimizer.step()", ".on_optimizer_step(", "self.lr_scheduler.step()")
    ]
    assert places == sorted(places)


def test_what_the_hooks_return():
    values = inspect.signature(Trainer.set_initial_training_values).return_annotation
    assert len(values.__args__) == 7
    assert len(inspect.signature(Trainer._init_training_state).return_annotation.__args__) == 2
