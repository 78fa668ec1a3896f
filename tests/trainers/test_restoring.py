"""A state goes back into a model whole, whatever the model is, and only into the run that saved it."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    ResNetConfig,
    ResNetForImageClassification,
    TrainerCallback,
    ViTConfig,
    ViTForImageClassification,
)

from mubench_hf.errors import BadInput
from mubench_hf.models.restoring import restore_weights, save_weights
from mubench_hf.trainers._states import STATE_FILE, WEIGHTS_FILE, state_folders

TEXT = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 2}  # fmt: skip
LORA = LoraConfig(r=2, target_modules=["q_proj", "v_proj"])


def vit():
    return ViTForImageClassification(ViTConfig(image_size=16, patch_size=8, hidden_size=16, num_hidden_layers=1,
                                               num_attention_heads=2, intermediate_size=32, num_labels=5))  # fmt: skip


def resnet():
    return ResNetForImageClassification(ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1],
                                                     layer_type="basic", num_labels=5))  # fmt: skip


def gpt2():
    return GPT2LMHeadModel(GPT2Config(vocab_size=40, n_positions=16, n_embd=16, n_layer=1, n_head=2))


def llama():
    return LlamaForCausalLM(LlamaConfig(**TEXT))


def adapted():
    model = llama()
    model.add_adapter(LORA)
    return model


def float32_head():
    model = llama().to(torch.bfloat16)
    model.lm_head.float()
    model.lm_head.register_forward_pre_hook(lambda module, inputs: (inputs[0].float(),))
    return model


def other_head():
    model = vit()
    model.classifier = torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.Tanh(), torch.nn.Linear(8, 5))
    return model


MODELS = {
    "other names in files": vit,
    "buffers": resnet,
    "a head of one's own": other_head,
    "tied weights": gpt2,
    "experts that files hold one by one": lambda: MixtralForCausalLM(MixtralConfig(**TEXT, num_local_experts=2)),
    "two types": float32_head,
    "LoRA": lambda: get_peft_model(llama(), LORA),
    "an adapter": adapted,
}


@pytest.fixture
def world(world, rng):
    """The made-up images, and texts for a model that writes."""
    tokens = torch.from_numpy(rng.integers(40, size=(30, 8)))
    rows = [{"input_ids": row, "attention_mask": [1] * 8, "labels": [-100] * 3 + row[3:]}
            for row in tokens.tolist()]  # fmt: skip
    return SimpleNamespace(images=world, texts=SimpleNamespace(forget=rows[:10], retain=rows[10:]))


def rows_for(world, model):
    return world.texts if "CausalLM" in str(type(getattr(model, "base_model", model))) or hasattr(
        model.config, "vocab_size"
    ) else world.images  # fmt: skip


class Snapshots(TrainerCallback):
    """Keeps a model's weights at each save, and can cut the run off after one."""

    def __init__(self, cut=None):
        self.at, self.cut = {}, cut

    def on_save(self, args, state, control, model=None, **kwargs):
        self.at[state.global_step] = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        if len(self.at) == self.cut:
            raise KeyboardInterrupt


@pytest.fixture
def settings(tmp_path):
    return {"save_strategy": "epoch", "save_total_limit": None, "num_train_epochs": 3, "learning_rate": 1e-2,
            "max_abs_loss": 1e9, "output_dir": str(tmp_path / "run")}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_the_best_state_is_put_back_whole(name, world, make, settings, same_weights, weights_of):
    model = MODELS[name]()
    rows, kept = rows_for(world, model), Snapshots()
    best = {"eval_strategy": "epoch", "load_best_model_at_end": True}
    trainer = make("neggrad", rows, model=model, kwargs={"eval_dataset": rows.forget}, **settings, **best)
    trainer.add_callback(kept)
    trainer.train()
    assert trainer.state.best_global_step < trainer.state.global_step, "or there is nothing to put back"
    assert not same_weights(kept.at[trainer.state.best_global_step], kept.at[trainer.state.global_step])
    assert same_weights(weights_of(model), kept.at[trainer.state.best_global_step])
    assert trainer.evaluate()["eval_loss"] == pytest.approx(trainer.state.best_metric, abs=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_a_run_goes_on_to_the_same_weights(name, world, make, settings, same_weights, weights_of, tmp_path):
    """Adapters are drawn anew, as a script does that is started again."""
    start = MODELS[name]()
    base = {key: value.clone() for key, value in start.state_dict().items() if "lora" not in key}
    rows = rows_for(world, start)
    whole = make("salun", rows, model=start, **{**settings, "output_dir": str(tmp_path / "whole")})
    kept = Snapshots()
    whole.add_callback(kept)
    adapters = {key: value.clone() for key, value in start.state_dict().items() if "lora" in key}
    whole.train()
    first, again = MODELS[name](), MODELS[name]()
    first.load_state_dict(base | adapters)
    again.load_state_dict(base, strict=False)
    cut = make("salun", rows, model=first, **settings)
    cut.add_callback(Snapshots(cut=1))
    with pytest.raises(KeyboardInterrupt):
        cut.train()
    resumed = make("salun", rows, model=again, **settings)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == whole.state.global_step
    assert same_weights(weights_of(again), weights_of(start))


@pytest.mark.slow
def test_compiled_models(world, make, settings, same_weights, weights_of):
    best = {"eval_strategy": "epoch", "load_best_model_at_end": True, "torch_compile": True,
            "torch_compile_backend": "eager"}  # fmt: skip
    kept, rows = Snapshots(), world.images
    trainer = make("neggrad", rows, model=vit(), kwargs={"eval_dataset": rows.forget}, **settings, **best)
    trainer.add_callback(kept)
    trainer.train()
    assert trainer.state.best_global_step < trainer.state.global_step
    found = weights_of(trainer.accelerator.unwrap_model(trainer.model, keep_torch_compile=False))
    expected = {key.removeprefix("_orig_mod."): value for key, value in kept.at[trainer.state.best_global_step].items()}
    assert same_weights(found, expected)


def test_a_file_that_does_not_fit_changes_nothing(tmp_path, same_weights, weights_of):
    from safetensors.torch import load_file, save_file

    model, file = vit(), tmp_path / "weights"
    save_weights(model, file)
    tensors, before = load_file(file), weights_of(model)
    name = next(iter(tensors))
    other = {key: value + 1 for key, value in tensors.items()}
    wrong = {
        f"{name} is missing": {key: value for key, value in other.items() if key != name},
        "more is not in the model": {**other, "more": torch.zeros(1)},
        f"{name} is torch.float64": {**other, name: other[name].double()},
        f"{name} is torch.float32.*but": {**other, name: other[name].flatten()[:1].clone()},
    }
    for message, content in wrong.items():
        save_file(content, file)
        with pytest.raises(BadInput, match=message):
            restore_weights(model, file)
        assert same_weights(weights_of(model), before)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(BadInput, match="cannot be read"):
        restore_weights(model, file)


def changed(rows, key, place):
    """Return rows with one value of one row changed."""
    copy = [dict(rows[number]) for number in range(len(rows))]
    copy[place] = {**copy[place], key: copy[place][key] + 1e-3}
    return copy


@pytest.mark.parametrize("what", ["method", "learning_rate", "seed", "forget", "retain", "original", "epochs"])
def test_a_state_of_another_run_is_refused(what, world, make, settings, rng):
    rows, model = world.images, vit()
    again = vit()
    again.load_state_dict(model.state_dict())
    make("neggrad", rows, model=model, **settings).train()
    method, more, kwargs = "neggrad", {}, {}
    if what == "method":
        method = "scrub"
    elif what in ("learning_rate", "seed", "epochs"):
        more = {"learning_rate": {"learning_rate": 2e-2}, "seed": {"seed": 12}, "epochs": {"num_train_epochs": 4}}[what]
    elif what == "original":
        with torch.no_grad():
            again.classifier.bias[0] += 1e-3
    else:
        part = getattr(rows, what)
        kwargs = {f"{what}_dataset": changed(part, "pixel_values", int(rng.integers(len(part))))}
    trainer = make(method, rows, model=again, kwargs=kwargs, **{**settings, **more})
    before = {name: tensor.clone() for name, tensor in again.state_dict().items()}
    expected = {"epochs": "num_train_epochs", "forget": "rows.forget", "retain": "rows.retain"}.get(what, what)
    for resume in (True, str(trainer.args.output_dir) + "/checkpoint-6"):
        with pytest.raises(BadInput, match=f"another run.*{expected}.* is ") as error:
            trainer.train(resume_from_checkpoint=resume)
        assert "\n" not in str(error.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in again.state_dict().items())
    trainer.train()  # Not asked to go on, it starts afresh.


def test_what_moves_no_weight_may_change(world, make, settings):
    make("neggrad", world.images, model=vit(), **{**settings, "seed": 3}).train()
    model = vit()
    torch.manual_seed(0)
    first = make("neggrad", world.images, model=model, **settings)
    first.add_callback(Snapshots(cut=1))
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(KeyboardInterrupt):
        first.train()
    model.load_state_dict(start)
    more = {"logging_steps": 7, "save_total_limit": 5, "dataloader_num_workers": 0, "per_device_eval_batch_size": 3}
    folder = f"{settings['output_dir']}/checkpoint-2"
    make("neggrad", world.images, model=model, **{**settings, **more}).train(resume_from_checkpoint=folder)


def test_a_damaged_state_is_not_used(world, make, settings, rng, same_weights, weights_of):
    """Every file of it, cut, emptied, or with one byte changed: `True` starts afresh, its name is refused."""
    start = vit()
    whole = make("finetune", world.images, model=start, **settings)
    original = weights_of(start)
    whole.add_callback(Snapshots(cut=1))
    with pytest.raises(KeyboardInterrupt):
        whole.train()
    (state,) = state_folders(settings["output_dir"])
    names = [file.name for file in state.iterdir()]
    assert {STATE_FILE, WEIGHTS_FILE, "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"} <= {*names}
    for name in names:
        content = (state / name).read_bytes()
        place = int(rng.integers(len(content)))
        flipped = content[:place] + bytes([content[place] ^ 1 << int(rng.integers(8))]) + content[place + 1 :]
        for damage in (b"", content[: place // 2], flipped, None, b"{}"):
            if damage is None:
                (state / name).unlink()
            else:
                (state / name).write_bytes(damage)
            if damage is flipped and name == STATE_FILE and _same_json(content, flipped):
                continue
            again = vit()
            again.load_state_dict(original)
            trainer = make("finetune", world.images, model=again, **settings)
            with pytest.raises(BadInput, match="cannot be resumed from"):
                trainer.train(resume_from_checkpoint=str(state))
            assert same_weights(weights_of(again), original)
            assert trainer._state_to_resume(True) is None
        (state / name).write_bytes(content)


def _same_json(one, other):
    try:
        return json.loads(one) == json.loads(other)
    except ValueError:
        return False


def test_a_state_without_optimizer_is_not_gone_on_from(world, make, settings):
    model = vit()
    trainer = make("neggrad", world.images, model=model, **settings, save_only_model=True)
    trainer.train()
    trainer.args.save_only_model = False
    with pytest.raises(BadInput, match=r"optimizer.pt.* was not saved \(save_only_model\)"):
        trainer.train(resume_from_checkpoint=f"{settings['output_dir']}/checkpoint-2")


def test_a_folder_that_was_moved_keeps_its_best_state(world, make, settings, tmp_path, weights_of, same_weights):
    rows, model, kept = world.images, vit(), Snapshots()
    best = {"eval_strategy": "epoch", "load_best_model_at_end": True}
    start = weights_of(model)
    first = make("neggrad", rows, model=model, kwargs={"eval_dataset": rows.forget}, **settings, **best)
    first.add_callback(kept)
    first.add_callback(Snapshots(cut=2))
    with pytest.raises(KeyboardInterrupt):
        first.train()
    shutil.move(settings["output_dir"], tmp_path / "moved")
    model.load_state_dict(start)
    elsewhere = {**settings, "output_dir": str(tmp_path / "moved")}
    again = make("neggrad", rows, model=model, kwargs={"eval_dataset": rows.forget}, **elsewhere, **best)
    again.train(resume_from_checkpoint=True)
    assert again.state.best_global_step == min(kept.at)
    assert same_weights(weights_of(model), kept.at[again.state.best_global_step])


def test_rows_that_are_drawn_anew_at_each_reading_can_be_gone_on_with(world, make, settings, rng):
    class Cropped(torch.utils.data.Dataset):
        def __len__(self):
            return 10

        def __getitem__(self, place):
            return {"pixel_values": torch.from_numpy(rng.normal(size=(3, 16, 16)).astype("f4")), "labels": place % 5}

    model = vit()
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    rows = SimpleNamespace(forget=Cropped(), retain=world.images.retain)
    make("neggrad", rows, model=model, **settings).train()
    model.load_state_dict(start)
    make("neggrad", rows, model=model, **settings).train(resume_from_checkpoint=True)
