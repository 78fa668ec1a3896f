"""What is trained is float32, whatever a checkpoint is stored in, and 16-bit weights are refused."""

import numpy as np
import pytest
import torch
from adapted import adapted, base, rows
from methods import methods_for
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PhiConfig, PhiForCausalLM, TrainerCallback

from mubench_hf.errors import BadInput
from mubench_hf.models import precision
from mubench_hf.models.adapter_settings import AdapterSettings
from mubench_hf.models.foreign import resolve_model
from mubench_hf.models.loading import fresh_model, load_model, reinitialised, weights_sha256
from mubench_hf.models.precision import check_precision, in_float32
from mubench_hf.runs.plan import find_original, make_plan, preset
from mubench_hf.runs.record import load_record
from mubench_hf.runs.setup import make_setup
from mubench_hf.runs.train import train_run
from mubench_hf.tasks import get_task
from mubench_hf.trainers import get_method

SHORT = (torch.float16, torch.bfloat16)
SIZES = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 64}


def make(model, folder, method="finetune", rng=None, optimizers=(None, None), **settings):
    rng = rng or np.random.default_rng()
    args = get_method(method).config_class(
        str(folder), use_cpu=True, cpu_threads=1, disable_tqdm=True, report_to="none", save_strategy="no",
        logging_strategy="no", **{"max_steps": 3, "learning_rate": 1e-5, **settings},
    )  # fmt: skip
    sets = {"forget_dataset": rows("causal", rng, 4), "retain_dataset": rows("causal", rng, 8)}
    return get_method(method)(model, args, **sets, optimizers=optimizers)


def steps(folder, method, seed, how):
    """Return the largest change of a weight in a few updates of a stored model, trained as the commands do."""
    model = load_model(folder, "AutoModelForCausalLM")
    model = in_float32(model) if how == "whole" else AdapterSettings("lora").add_to(model, seed)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    trainer = make(model, folder / "run", method, np.random.default_rng(seed))
    trainer.train()
    assert trainer.status == "ok"
    moved = {name: (weight - before[name]).abs().max().item() for name, weight in model.named_parameters()}
    assert all(weight.requires_grad or not moved[name] for name, weight in model.named_parameters())
    return max(moved.values())


@pytest.mark.slow
@pytest.mark.parametrize("how", ["whole", "lora"])
@pytest.mark.parametrize("dtype", SHORT)
@pytest.mark.parametrize("family", ["phi", "llama"])
def test_no_weight_of_a_checkpoint_in_16_bits_jumps_or_sticks(family, dtype, how, tmp_path, rng):
    seed = int(rng.integers(2**31))
    torch.manual_seed(seed)
    phi = {"resid_pdrop": 0.0, "embd_pdrop": 0.0}
    model = (
        PhiForCausalLM(PhiConfig(**SIZES, **phi)) if family == "phi" else LlamaForCausalLM(LlamaConfig(**SIZES))
    ).to(dtype)  # fmt: skip
    model.save_pretrained(tmp_path / "stored")
    for method in methods_for("causal_lm"):
        if method == "retrain":  # Its weights are fresh, so that they move from the original's by all their size.
            continue
        found = steps(tmp_path / "stored", method, seed, how)
        # Three updates of Adam, of the size of the learning rate each.
        assert 1e-6 < found < 4e-5, method


@pytest.fixture
def half(own_bench):
    """The bench's original stored in float16 by somebody else."""
    folder = next((own_bench / "mubench").glob("*-original-*"))
    model = load_model(folder, "AutoModelForImageClassification").half()
    model.save_pretrained(own_bench / "half")
    for file in folder.glob("preprocessor_config.json"):
        (own_bench / "half" / file.name).write_bytes(file.read_bytes())
    return own_bench / "half"


class Ended(TrainerCallback):
    """Keeps the weights that a run ends with, by name."""

    def on_train_end(self, args, state, control, model=None, **kwargs):
        self.weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("adapter", [{}, {"peft": "lora", "peft_target_modules": "q_proj", "peft_r": 2,
                                          "peft_modules_to_save": "classifier"}])  # fmt: skip
def test_an_original_in_16_bits_is_trained_in_32_and_what_was_trained_is_what_is_evaluated(quick, half, adapter):
    setup = make_setup("cifar100", variant="mini", base=half, out=half.parent)
    start = find_original(setup, 42, half)
    args = get_method("neggrad").config_class("", use_cpu=True, max_steps=2, disable_tqdm=True, cpu_threads=1)
    plan = make_plan(setup, "neggrad", args, start=start, adapter=AdapterSettings(**adapter))
    ended = Ended()
    train_run(plan, callbacks=[ended])
    record, stored = load_record(plan.folder), load_model(half, "AutoModelForImageClassification")
    assert record.base_revision == weights_sha256(stored) and stored.dtype == torch.float16
    again = load_model(plan.folder, "AutoModelForImageClassification", base_sha256=record.base_revision)
    found = again.state_dict()
    assert isinstance(again, PeftModel) == bool(adapter)
    assert ended.weights.keys() == found.keys()
    for name, tensor in ended.weights.items():
        assert tensor.equal(found[name]) and tensor.dtype == found[name].dtype == torch.float32, name


@pytest.mark.parametrize("dtype", SHORT)
def test_what_others_stored_in_16_bits_is_where_originals_start_in_32(dtype, tmp_path, rng):
    stored = base("image", int(rng.integers(2**31)), dtype)
    stored.save_pretrained(tmp_path)
    fresh = fresh_model(resolve_model(tmp_path, get_task("cifar100")), ("a", "b", "c", "d"), 1)
    assert fresh.dtype == torch.float32 and fresh.config.dtype in (torch.float32, "float32")
    assert all(tensor.equal(stored.state_dict()[name].float()) for name, tensor in fresh.state_dict().items())
    retrained = reinitialised(in_float32(load_model(tmp_path, "AutoModelForImageClassification")), 1, str(tmp_path))
    assert weights_sha256(retrained) == weights_sha256(fresh)


@pytest.mark.slow
def test_a_pipeline_in_16_bits_is_trained_in_32(tmp_path):
    from mubench_hf.models import get_model

    fresh_model(get_model("stable-diffusion-tiny"), (), 5).half().save_pretrained(tmp_path)
    loaded = fresh_model(resolve_model(tmp_path, get_task("tiny_imagenet")), (), 1)
    assert {weight.dtype for weight in loaded.parameters()} == {torch.float32}


# A user's own model ---------------------------------------------------------------------------------------------------


def llama(seed, dtype):
    return base("causal", seed, dtype)


def one_short(seed, dtype):
    model = llama(seed, torch.float32)
    model.model.norm.to(dtype)
    return model


def own_lora(seed, dtype):
    return adapted("causal", "add_adapter", seed, start=llama(seed, dtype))


@pytest.mark.parametrize("own", [llama, one_short, own_lora])
def test_trained_weights_in_float16_are_refused(own, rng, tmp_path):
    model = own(int(rng.integers(2**31)), torch.float16)
    sgd = torch.optim.SGD([weight for weight in model.parameters() if weight.requires_grad], 0.1)
    for settings in ({}, {"learning_rate": 0.1}, {"optimizers": (sgd, None)}):
        with pytest.raises(BadInput, match=r"^\d+ trained weights are float16, such as .*float\(\).*bf16=True"):
            make(model, tmp_path, **settings)


def test_frozen_weights_may_have_any_type(rng, tmp_path):
    for dtype in SHORT:
        model = get_peft_model(llama(int(rng.integers(2**31)), dtype), LoraConfig(r=2, target_modules=["q_proj"]))
        make(model, tmp_path)


@pytest.mark.parametrize("own", [llama, own_lora])
def test_bfloat16_is_refused_where_an_update_is_too_small_for_it(own, rng, tmp_path):
    model = own(int(rng.integers(2**31)), torch.bfloat16)
    with pytest.raises(BadInput, match=r"bfloat16, such as .*learning_rate 1e-05 .* \d\d% of their values"):
        make(model, tmp_path)
    make(model, tmp_path, learning_rate=0.01)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    make(model, tmp_path, optimizers=(torch.optim.SGD(trained, 1e-5), None))


def test_what_is_called_too_small_does_not_move_a_weight(rng):
    """Whatever the check counts stays in its place; of the rest, at least what is half as large moves."""
    rate = 10 ** rng.uniform(-6, -2)
    weights = torch.from_numpy(rng.normal(size=4000) * 10 ** rng.uniform(-5, 1, size=4000)).bfloat16()
    large = weights.abs() > rate * 4 / torch.finfo(torch.bfloat16).eps
    for sign in (1, -1):
        moved = (weights + sign * torch.tensor(rate)).bfloat16() != weights
        assert not moved[large & (weights.abs().log2() % 1 != 0)].any()
        assert moved[weights.abs() < rate / torch.finfo(torch.bfloat16).eps].all()


def test_a_quantised_model_is_refused_without_an_adapter(rng, tmp_path, monkeypatch):
    model = llama(int(rng.integers(2**31)), torch.float32)
    monkeypatch.setattr(model, "is_quantized", True, raising=False)
    for refused in (lambda: check_precision(model, 1e-3), lambda: in_float32(model)):
        with pytest.raises(BadInput, match="quantised"):
            refused()
    check_precision(get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"])), 1e-3)


# Autocast -------------------------------------------------------------------------------------------------------------


def test_full_sources_are_trained_under_autocast_where_the_hardware_has_it(monkeypatch, tmp_path):
    monkeypatch.setattr(precision, "has_bfloat16", lambda use_cpu=False: True)
    setups = {variant: make_setup("cifar100", variant=variant, out=tmp_path) for variant in ("full", "mini")}
    for method in ("original", "scrub"):
        assert preset(setups["full"], method)["bf16"] is True and "bf16" not in preset(setups["mini"], method)

    def planned(**flags):
        args = get_method("scrub").config_class(
            "", use_cpu=True, **{**preset(setups["full"], "scrub", "mubench/x"), **flags}
        )  # fmt: skip
        return make_plan(setups["full"], "scrub", args, start="mubench/cifar100-vit-base-original-s42")

    assert planned().settings == {} and planned().run.tag == ""
    assert planned(bf16=False).settings == {"bf16": False}
    monkeypatch.setattr(precision, "has_bfloat16", lambda use_cpu=False: False)
    assert planned().settings == {} and planned(bf16=True).settings == {"bf16": True}


def test_only_a_gpu_that_computes_in_bfloat16_counts(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert not precision.has_bfloat16()
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    assert precision.has_bfloat16() and not precision.has_bfloat16(use_cpu=True)


def test_a_recipe_under_autocast_asks_for_its_device(own_bench, monkeypatch):
    monkeypatch.setattr(precision, "has_bfloat16", lambda use_cpu=False: False)
    (recipe,) = own_bench.glob("mubench/*-original-*/recipe.json")
    recipe.write_text('{"bf16": true}')
    setup = make_setup("cifar100", variant="mini", out=own_bench)
    with pytest.raises(BadInput, match="--use_cpu"):
        preset(setup, "retrain", str(recipe.parent))
    assert preset(setup, "retrain", str(recipe.parent), use_cpu=True) == {"bf16": True}


def test_a_model_stored_in_16_bits_is_still_read_as_it_is_stored(tmp_path, rng):
    llama(int(rng.integers(2**31)), torch.bfloat16).save_pretrained(tmp_path)
    assert load_model(tmp_path, "AutoModelForCausalLM").dtype == torch.bfloat16
    assert AutoModelForCausalLM.from_pretrained(tmp_path).dtype == torch.bfloat16
