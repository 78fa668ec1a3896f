"""Each field of `TrainingArguments` that is not refused changes what it should."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from mubench_hf.errors import BadInput
from mubench_hf.trainers._arguments import ARGUMENTS

REFUSED = {name for name, each in ARGUMENTS.items() if each.only and name != "hub_strategy"}

COSINE = {"lr_scheduler_type": "cosine_with_restarts"}
RMSPROP = {"optim": "rmsprop"}
WEIGHTS = {
    "per_device_train_batch_size": ({}, 5),
    "num_train_epochs": ({"max_steps": -1, "num_train_epochs": 1}, 1.5),
    "max_steps": ({}, 4),
    "learning_rate": ({}, 2e-3),
    "lr_scheduler_type": ({}, "cosine"),
    "lr_scheduler_kwargs": (COSINE, {"num_cycles": 2}),
    "warmup_steps": ({}, 2),
    "optim": ({}, "sgd"),
    "optim_args": (RMSPROP, "momentum=0.9"),
    "weight_decay": ({}, 0.5),
    "adam_beta1": ({}, 0.5),
    "adam_beta2": ({}, 0.5),
    "adam_epsilon": ({}, 0.1),
    "gradient_accumulation_steps": ({}, 2),
    "max_grad_norm": ({"optim": "sgd"}, 1e-3),
    "bf16": ({}, True),
    "neftune_noise_alpha": ({}, 5.0),
    "seed": ({}, 12),
    "data_seed": ({}, 12),
}
"""Field → other settings, and a value with which training ends in other weights than with the default."""


@pytest.fixture
def ends(world, make, weights_of):
    def ends(**settings):
        trainer = make("finetune", world, **{"max_steps": 3, **settings})
        trainer.train()
        assert trainer.status == "ok"
        return weights_of(trainer.model)

    return ends


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights(name, ends, same_weights):
    others, value = WEIGHTS[name]
    assert same_weights(ends(**others), ends(**others)), "or any difference would do"
    assert not same_weights(ends(**others), ends(**{**others, name: value}))


# What can be seen elsewhere ------------------------------------------------------------------------------------------


class Count(TrainerCallback):
    """Counts the calls of each event."""

    def __init__(self):
        self.calls = {}

    def __getattribute__(self, name):
        if not name.startswith("on_"):
            return super().__getattribute__(name)

        def called(*args, **kwargs):
            self.calls[name] = self.calls.get(name, 0) + 1

        return called


class Bench:
    """Makes and runs trainers of one world."""

    def __init__(self, world, make, tmp_path, monkeypatch):
        self.world, self.make, self.folder, self.patch = world, make, tmp_path / "run", monkeypatch

    def made(self, *, kwargs=None, **settings):
        more = {"eval_dataset": self.world.forget, **(kwargs or {})}
        return self.make("finetune", self.world, kwargs=more, **{"max_steps": 4, **settings})

    def trained(self, **settings):
        trainer = self.made(**settings)
        trainer.train()
        return trainer

    def logged(self, key, **settings):
        return [entry["step"] for entry in self.trained(**settings).state.log_history if key in entry]

    def saved(self, **settings):
        self.trained(**{"save_strategy": "steps", "save_steps": 1, "save_total_limit": None, **settings})
        return sorted(int(state.name.rsplit("-")[-1]) for state in self.folder.glob("checkpoint-*"))

    def loader(self, **settings):
        return self.made(**settings).get_train_dataloader()

    def counted(self, target, name, **settings):
        """Count the calls of a function while training and evaluating."""
        calls, through = [], getattr(target, name)
        self.patch.setattr(target, name, lambda *args, **kwargs: calls.append(kwargs) or through(*args, **kwargs))
        trainer = self.trained(**settings)
        trainer.predict(self.world.retain)
        return len(calls)


@pytest.fixture
def bench(world, make, tmp_path, monkeypatch):
    return Bench(world, make, tmp_path, monkeypatch)


def output_dir(bench):
    other = bench.folder.parent / "elsewhere"
    bench.trained(output_dir=str(other), save_strategy="epoch")
    assert list(other.glob("checkpoint-*")) and not bench.folder.exists()


def activation_checkpointing(bench):
    assert not bench.trained().model.is_activation_checkpointing
    assert bench.trained(activation_checkpointing=True).model.is_activation_checkpointing


def activation_checkpointing_kwargs(bench):
    kwargs = {"use_reentrant": False, "preserve_rng_state": False}
    model = bench.trained(activation_checkpointing=True, activation_checkpointing_kwargs=kwargs, max_steps=1).model
    made = [vars(module).get("_gradient_checkpointing_func") for module in model.modules()]
    assert any(made) and all(kwargs.items() <= each.keywords.items() for each in made if each)


def gradient_checkpointing(bench):
    assert bench.trained(gradient_checkpointing=True).model.is_activation_checkpointing


def gradient_checkpointing_kwargs(bench):
    args = bench.made(gradient_checkpointing_kwargs={"use_reentrant": False}).args
    assert args.activation_checkpointing_kwargs == {"use_reentrant": False}


def full_eval(name, dtype):
    def check(bench):
        trainer = bench.made(**{name: True})
        trainer.evaluate()
        assert trainer.model.dtype == dtype
        assert bench.trained(**{name: True}).model.dtype == torch.float32

    return check


def fp16(bench):
    with pytest.raises(BadInput, match="^fp16 is True: its loss scaling needs a GPU"):
        bench.made(fp16=True)


def tf32(bench):
    assert bench.made(tf32=False).args.tf32 is False
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="tf32"):
            bench.made(tf32=True)


def torch_compile(bench):
    from accelerate.utils import is_compiled_module

    trainer = bench.trained(torch_compile=True, torch_compile_backend="eager", max_steps=1)
    assert is_compiled_module(trainer.model_wrapped) and not is_compiled_module(trainer.model)
    torch._dynamo.reset()


def torch_compile_backend(bench):
    plugin = bench.made(torch_compile_backend="eager").accelerator.state.dynamo_plugin
    assert plugin.backend == "EAGER"


def torch_compile_mode(bench):
    trainer = bench.made(torch_compile_mode="reduce-overhead")
    assert trainer.accelerator.state.dynamo_plugin.mode == "reduce-overhead"


def use_cache(bench):
    assert bench.made().model.config.use_cache is False
    assert bench.made(use_cache=True).model.config.use_cache is True


def torch_empty_cache_steps(bench):
    calls = []
    bench.patch.setattr("transformers.trainer.clear_device_cache", lambda *args: calls.append(args))
    bench.trained()
    assert not calls
    bench.trained(torch_empty_cache_steps=2)
    assert len(calls) == 2


def auto_find_batch_size(bench):
    trainer = bench.made(auto_find_batch_size=True, per_device_train_batch_size=8, max_steps=2)
    sizes, through = [], trainer.forward

    def forward(model, inputs, *args):
        sizes.append(len(inputs["labels"]))
        if sizes[-1] > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        return through(model, inputs, *args)

    trainer.forward = forward
    trainer.train()
    assert sizes[0] > 4 >= max(sizes[-2:]) and trainer.state.train_batch_size == 4 == trainer._train_batch_size


def logging_strategy(bench):
    assert bench.logged("loss", logging_strategy="epoch", max_steps=-1, num_train_epochs=2) == [5, 10]


def logging_steps(bench):
    assert bench.logged("loss", logging_strategy="steps", logging_steps=2) == [2, 4]


def logging_first_step(bench):
    given = {"logging_strategy": "steps", "logging_steps": 3}
    assert bench.logged("loss", logging_first_step=True, **given) == [1, 3]


def log_on_each_node(bench):
    assert bench.made(log_on_each_node=False).args.log_on_each_node is False


def logging_nan_inf_filter(bench):
    pixels = bench.world.pixels.copy()
    pixels[0] = np.nan
    rows = [{"pixel_values": torch.from_numpy(image), "labels": 1} for image in pixels[:6]]
    found = [bench.made(logging_nan_inf_filter=on, per_device_eval_batch_size=1).evaluate(rows)["eval_loss"]
             for on in (True, False)]  # fmt: skip
    assert np.isfinite(found[0]) and np.isnan(found[1])


def include_num_input_tokens_seen(bench):
    assert bench.trained().state.num_input_tokens_seen == 0
    assert bench.trained(include_num_input_tokens_seen="all").state.num_input_tokens_seen > 0


def log_level(bench):
    before = transformers.logging.get_verbosity()
    try:
        bench.made(log_level="error")
        assert transformers.logging.get_verbosity() == logging.ERROR
    finally:
        transformers.logging.set_verbosity(before)


def log_level_replica(bench):
    args = bench.made(log_level_replica="critical").args
    bench.patch.setattr(type(args), "should_log", False)
    assert args.get_process_log_level() == logging.CRITICAL


def disable_tqdm(bench):
    names = {type(each).__name__ for each in bench.made(disable_tqdm=False).callback_handler.callbacks}
    assert "PrinterCallback" not in names and any("Progress" in name for name in names)


class Tracker(TrainerCallback):
    """Says what a reporter would be told."""

    def on_train_begin(self, args, state, control, **kwargs):
        Tracker.told = args


def reported(name, value, to="tracker"):
    def check(bench):
        from transformers.integrations import integration_utils

        bench.patch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, to, Tracker)
        bench.trained(**{"report_to": [to], name: value}, max_steps=1)
        assert getattr(Tracker.told, name) == value

    return check


def eval_strategy(bench):
    assert bench.logged("eval_loss") == []
    assert bench.logged("eval_loss", eval_strategy="epoch", max_steps=-1) == [5, 10]


def eval_steps(bench):
    assert bench.logged("eval_loss", eval_strategy="steps", eval_steps=2) == [2, 4]


def eval_delay(bench):
    assert bench.logged("eval_loss", eval_strategy="steps", eval_steps=1, eval_delay=3) == [3, 4]


def eval_on_start(bench):
    assert bench.logged("eval_loss", eval_strategy="steps", eval_steps=4, eval_on_start=True) == [0, 4]


def per_device_eval_batch_size(bench):
    count = Count()
    bench.made(per_device_eval_batch_size=5, kwargs={"callbacks": [count]}).evaluate()
    assert count.calls["on_prediction_step"] == 3


def prediction_loss_only(bench):
    assert bench.made(prediction_loss_only=True).predict(bench.world.retain).predictions is None


def eval_do_concat_batches(bench):
    assert len(bench.made(eval_do_concat_batches=False).predict(bench.world.forget).predictions) == 2


def eval_use_gather_object(bench):
    assert bench.made(eval_use_gather_object=True).gather_function.keywords == {"use_gather_object": True}


def eval_accumulation_steps(bench):
    from transformers.trainer_pt_utils import EvalLoopContainer

    def moved(**settings):
        return bench.counted(EvalLoopContainer, "to_cpu_and_numpy", max_steps=1, **settings)

    assert moved(eval_accumulation_steps=1) > moved()


def include_for_metrics(bench):
    given = {}
    kwargs = {"compute_metrics": lambda found: given.update(vars(found)) or {}}
    bench.made(include_for_metrics=["inputs"], kwargs=kwargs).evaluate()
    np.testing.assert_allclose(given["inputs"], bench.world.pixels[bench.world.is_forget])


def batch_eval_metrics(bench):
    asked = []
    kwargs = {"compute_metrics": lambda found, compute_result: asked.append(compute_result) or {}}
    bench.made(batch_eval_metrics=True, kwargs=kwargs).evaluate()
    assert asked == [False, True]


def save_only_model(bench):
    bench.saved(save_only_model=True)
    assert not list(bench.folder.glob("*/optimizer.pt")) and list(bench.folder.glob("*/model.safetensors"))
    with pytest.raises(BadInput):
        bench.made(save_strategy="steps").train(resume_from_checkpoint=str(bench.folder / "checkpoint-4"))


def save_strategy(bench):
    assert bench.saved(save_strategy="epoch", max_steps=-1) == [5, 10]


def save_steps(bench):
    assert bench.saved(save_steps=3) == [3, 4]


def save_on_each_node(bench):
    args = bench.made(save_on_each_node=True).args
    bench.patch.setattr(type(args), "process_index", 1)
    assert args.should_save
    args.save_on_each_node = False
    assert not args.should_save


def save_total_limit(bench):
    assert bench.saved(save_total_limit=2) == [3, 4]


class FakeHub:
    """Takes what is pushed."""

    def __init__(self, bench):
        self.made, self.sent = [], []
        bench.patch.setattr("transformers.trainer.hf_api", lambda: self)

    def create_repo(self, name, **kwargs):
        self.made.append((name, kwargs))
        return SimpleNamespace(repo_id=name)

    def upload_folder(self, **kwargs):
        self.sent.append(kwargs)


def pushed(**settings):
    def check(bench):
        hub = FakeHub(bench)
        bench.trained(push_to_hub=True, max_steps=1, save_strategy="epoch", **settings)
        assert len(hub.sent) == 1, "once"
        (name, made), sent = hub.made[0], hub.sent[0]
        assert name == settings.get("hub_model_id", "run")
        assert made["token"] == sent["token"] == settings.get("hub_token")
        assert made["private"] == settings.get("hub_private_repo")
        assert sent["revision"] == settings.get("hub_revision")

    return check


BEST = {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1, "learning_rate": 0.05}


def load_best_model_at_end(bench):
    trainer = bench.trained(load_best_model_at_end=True, save_total_limit=None, **BEST)
    losses = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert trainer.evaluate()["eval_loss"] == pytest.approx(min(losses), rel=1e-5)


def best_by(greater):
    def check(bench):
        values = iter([1.0, 3.0, 2.0, 0.5])
        kwargs = {"compute_metrics": lambda found: {"score": next(values)}}
        chosen = {"metric_for_best_model": "score", "greater_is_better": greater}
        trainer = bench.trained(load_best_model_at_end=True, save_total_limit=None, kwargs=kwargs, **chosen, **BEST)
        assert trainer.state.best_global_step == (2 if greater else 4)

    return check


def ignore_data_skip(bench):
    ends = []
    for ignored in (False, True):
        bench.saved(ignore_data_skip=ignored)
        trainer = bench.made(save_strategy="steps", save_total_limit=None, ignore_data_skip=ignored)
        trainer.train(resume_from_checkpoint=str(bench.folder / "checkpoint-2"))
        ends.append(torch.cat([weight.detach().flatten() for weight in trainer.model.parameters()]))
    assert not torch.equal(*ends)


class Counting(TrainerCallback, ExportableState):
    """A callback with a state."""

    def __init__(self, steps=0):
        self.steps = steps

    def on_step_end(self, *args, **kwargs):
        self.steps += 1

    def state(self):
        return {"args": {}, "attributes": {"steps": self.steps}}


def restore_callback_states_from_checkpoint(bench):
    for restored in (False, True):
        args = {"save_strategy": "steps", "save_total_limit": None, "restore_callback_states_from_checkpoint": restored}
        bench.saved(kwargs={"callbacks": [Counting()]}, **args)
        trainer = bench.made(kwargs={"callbacks": [Counting()]}, **args)
        trainer.train(resume_from_checkpoint=str(bench.folder / "checkpoint-2"))
        counter = next(each for each in trainer.callback_handler.callbacks if isinstance(each, Counting))
        assert counter.steps == (4 if restored else 2)


def full_determinism(bench):
    for name in ("CUDA_LAUNCH_BLOCKING", "CUBLAS_WORKSPACE_CONFIG", "ASCEND_LAUNCH_BLOCKING", "HCCL_DETERMINISTIC",
                 "FLASH_ATTENTION_DETERMINISTIC"):  # fmt: skip
        bench.patch.setenv(name, "")
    try:
        bench.trained(full_determinism=True, max_steps=1)
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.deterministic = False


def use_cpu(bench):
    assert bench.made(use_cpu=True).args.device.type == "cpu"


def accelerator_config(bench):
    trainer = bench.made(accelerator_config={"even_batches": False, "non_blocking": True})
    assert trainer.accelerator.even_batches is False
    moves = []
    bench.patch.setattr(
        "mubench_hf.trainers._base.send_to_device", lambda data, device, **how: moves.append(how) or data
    )
    trainer.train()
    assert moves == [{"non_blocking": True}] * 4


def dataloader(name, value, **others):
    def check(bench):
        loader = bench.loader(**{name: value}, **others)
        seen = getattr(loader, name.removeprefix("dataloader_"))
        assert (seen.get_start_method() if hasattr(seen, "get_start_method") else seen) == value

    return check


def dataloader_num_workers(bench):
    assert bench.loader(dataloader_num_workers=2).num_workers == 2
    assert bench.loader(dataloader_num_workers=2).worker_init_fn.keywords == {"num_workers": 2, "rank": 0}


def dataloader_pin_memory(bench):
    """Only a GPU has memory to pin for, as torch warns."""
    assert not bench.loader(dataloader_pin_memory=True).pin_memory
    assert bench.made(use_cpu=False, dataloader_pin_memory=True).args.dataloader_pin_memory


def remove_unused_columns(bench):
    seen = set()

    def collate(rows):
        seen.update(*rows)
        return transformers.default_data_collator(
            [{name: row[name] for name in ("pixel_values", "labels")} for row in rows]
        )

    rows = [{"pixel_values": image, "labels": 1, "more": "text"} for image in bench.world.pixels[:5]]
    for kept in (False, True):
        seen.clear()
        bench.made(remove_unused_columns=not kept, kwargs={"data_collator": collate}).evaluate(rows)
        assert ("more" in seen) == kept


def label_names(bench):
    assert bench.made(label_names=["labels"]).predict(bench.world.forget).label_ids is not None
    assert bench.made(label_names=["labels", "more"]).predict(bench.world.forget).label_ids is None


def ddp(name, value):
    def check(bench):
        assert getattr(bench.made(**{name: value}).accelerator.ddp_handler, name.removeprefix("ddp_")) == value

    return check


def ddp_backend(bench):
    """Processes are joined by it; here it is only asked for."""

    class Joining(Exception):
        pass

    def join(**kwargs):
        raise Joining(kwargs["backend"])

    bench.patch.setenv("WORLD_SIZE", "2")
    bench.patch.setattr("transformers.training_args.PartialState", join)
    with pytest.raises(Joining, match="gloo"):
        bench.made(ddp_backend="gloo")


def ddp_timeout(bench):
    assert bench.made(ddp_timeout=77).args.ddp_timeout_delta.total_seconds() == 77


def debug(bench):
    trainer = bench.trained(debug="underflow_overflow", max_steps=1)
    assert any(module._forward_hooks for module in trainer.model.modules())
    assert not any(module._forward_hooks for module in bench.trained(max_steps=1).model.modules())


def skip_memory_metrics(bench):
    pytest.importorskip("psutil")
    output = bench.made(skip_memory_metrics=False).train()
    assert "train_mem_cpu_alloc_delta" in output.metrics


def readable(name, value):
    def check(bench):
        assert getattr(bench.made(**{name: value}).args, name) == value

    return check


EFFECTS = {
    **{name: check for name, check in list(globals().items()) if name in ARGUMENTS},
    "bf16_full_eval": full_eval("bf16_full_eval", torch.bfloat16),
    "fp16_full_eval": full_eval("fp16_full_eval", torch.float16),
    "report_to": reported("report_to", ["tracker"]),
    "run_name": reported("run_name", "a run"),
    "project": reported("project", "a project", "trackio"),
    **{name: reported(name, "me/it", "trackio")
       for name in ("trackio_space_id", "trackio_bucket_id", "trackio_static_space_id")},
    "push_to_hub": pushed(),
    "hub_model_id": pushed(hub_model_id="me/mine"),
    "hub_token": pushed(hub_token="a token"),
    "hub_private_repo": pushed(hub_private_repo=True),
    "hub_revision": pushed(hub_revision="draft"),
    "hub_strategy": pushed(hub_strategy="end"),
    "metric_for_best_model": best_by(True),
    "greater_is_better": best_by(False),
    "dataloader_persistent_workers": dataloader("dataloader_persistent_workers", True, dataloader_num_workers=1),
    "dataloader_prefetch_factor": dataloader("dataloader_prefetch_factor", 3, dataloader_num_workers=1),
    "dataloader_multiprocessing_context": dataloader("dataloader_multiprocessing_context", "spawn",
                                                     dataloader_num_workers=1),
    "ddp_find_unused_parameters": ddp("ddp_find_unused_parameters", True),
    "ddp_bucket_cap_mb": ddp("ddp_bucket_cap_mb", 7),
    "ddp_broadcast_buffers": ddp("ddp_broadcast_buffers", False),
    "ddp_static_graph": ddp("ddp_static_graph", True),
    **{name: readable(name, True) for name in ("do_train", "do_eval", "do_predict")},
    "resume_from_checkpoint": readable("resume_from_checkpoint", "folder"),
    "local_rank": readable("local_rank", 0),
}  # fmt: skip
"""Field → a check that it changes what it should."""

UNSEEN = {"optim_target_modules", "fsdp", "fsdp_config"}
"""What needs a package that is not installed (GaLore or APOLLO), or several processes: see `test_fsdp.py`."""


def test_every_field_that_works_is_tried():
    assert set(ARGUMENTS) == {*WEIGHTS, *EFFECTS, *REFUSED, *UNSEEN}
    assert not set(WEIGHTS) & set(EFFECTS)


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("name", EFFECTS)
def test_effect(name, bench):
    EFFECTS[name](bench)


@pytest.mark.parametrize("ends", ["ok", "diverged"])
def test_noise_ends_with_training(ends, world, make):
    trainer = make("finetune", world, neftune_noise_alpha=5.0, max_steps=1, max_abs_loss=1e-9 if ends != "ok" else 1e3)
    trainer.train()
    assert trainer.status == ends
    assert not trainer.model.get_input_embeddings()._forward_hooks
