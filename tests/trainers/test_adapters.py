"""Models that train a part of their weights, mostly adapters: what the original is, what is fresh, what is refused."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from adapted import PLACES, adapted, base, lora, rows
from methods import methods_for
from peft import AdaLoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model, inject_adapter_in_model
from transformers import ResNetConfig, ResNetForImageClassification

from mubench_hf.errors import BadInput
from mubench_hf.models.adapters import check_trainable
from mubench_hf.models.bare import bare_model
from mubench_hf.models.fresh import renew
from mubench_hf.models.outputs import cached_row_outputs
from mubench_hf.trainers import get_method, list_methods

PARTLY = ("lora", "lora_task", "add_adapter", "ia3", "norms", "frozen")


@pytest.fixture
def adapted_run(rng, tmp_path):
    """Make a trainer of a method over fresh rows: `adapted_run("scrub", "causal", model)`."""

    def adapted_run(method, family, model, **settings):
        trainer = get_method(method)
        shown = {"use_cpu": True, "cpu_threads": 1, "disable_tqdm": True, "report_to": "none", "save_strategy": "no",
                 "logging_strategy": "no", "max_steps": 2, "learning_rate": 0.01, "seed": 7}  # fmt: skip
        args = trainer.config_class(str(tmp_path / "run"), **{**shown, **settings})
        return trainer(model, args, forget_dataset=rows(family, rng, 4), retain_dataset=rows(family, rng, 8))

    return adapted_run


def draw(rng):
    return int(rng.integers(2**31))


def one_batch(trainer):
    batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    return {name: value for name, value in batch.items() if name not in ("is_forget", "row")}, batch["row"]


def shake(model, seed):
    """Move all weights that are trained."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight))


def copies(model):
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


# The original --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", PARTLY)
def test_the_teacher_is_the_model_as_it_was_and_the_student_stays_as_it_is(how, rng, adapted_run, same_weights):
    seed = draw(rng)
    student, original = adapted("causal", how, seed), base("causal", seed).eval()
    trainer = adapted_run("scrub", "causal", student)
    teacher = trainer.original_teacher()
    inputs, positions = one_batch(trainer)
    want = trainer.kind.run(original, inputs)[1]
    shake(student, seed)
    student.train()
    before = copies(student)
    torch.testing.assert_close(teacher(inputs, positions), want, rtol=0, atol=0)
    assert same_weights(before, copies(student)) and all(module.training for module in student.modules())
    # Nothing but what is trained is kept twice.
    assert sum(start.numel() for start in teacher.start) < sum(weight.numel() for weight in original.parameters()) / 2


def test_the_teacher_is_the_model_with_its_adapter_off(rng, adapted_run):
    model = adapted("causal", "lora", draw(rng))
    trainer = adapted_run("scrub", "causal", model)
    teacher = trainer.original_teacher()
    inputs, positions = one_batch(trainer)
    trainer.train()
    with model.eval().disable_adapter(), torch.no_grad():
        want = trainer.kind.run(model, inputs)[1]
    assert not trainer.kind.run(model, inputs)[1].equal(want)
    assert teacher(inputs, positions).equal(want)


def check_teacher_is_the_start(trainer, model):
    inputs, positions = one_batch(trainer)
    with torch.no_grad():
        want = trainer.kind.run(model.eval(), inputs)[1]
    teacher = trainer.original_teacher()
    trainer.train()
    assert teacher(inputs, positions).equal(want)


def test_an_adapter_that_was_trained_before_is_a_part_of_the_original(rng, adapted_run):
    model = adapted("causal", "lora", draw(rng))
    shake(model, draw(rng))
    trainer = adapted_run("scrub", "causal", model)
    check_teacher_is_the_start(trainer, model)


@pytest.mark.parametrize("settings", [{"bias": "all"}, {"use_dora": True}, {"init_lora_weights": "pissa"}], ids=str)
def test_the_teacher_holds_where_switching_the_adapter_off_would_not_give_the_original(settings, rng, adapted_run):
    model = get_peft_model(base("causal", draw(rng)), lora("causal", lora_dropout=0.0, **settings))
    trainer = adapted_run("scrub", "causal", model)
    check_teacher_is_the_start(trainer, model)


def test_asking_the_teacher_between_forward_and_backward_changes_no_gradient(rng, adapted_run):
    model = adapted("causal", "lora", draw(rng))
    trainer, gradients = adapted_run("scrub", "causal", model), []
    teacher, (inputs, positions) = trainer.original_teacher(), one_batch(trainer)
    shake(model, draw(rng))
    for asks in (False, True):
        model.zero_grad()
        torch.manual_seed(0)
        loss = trainer.kind.run(model.train(), inputs)[1].square().mean()
        if asks:
            teacher(inputs, positions)
        loss.backward()
        gradients.append([weight.grad for weight in model.parameters() if weight.requires_grad])
    assert all(one.equal(other) and one.any() for one, other in zip(*gradients, strict=True))


def test_running_statistics_that_move_are_the_originals_in_the_teacher(rng, tmp_path):
    model = ResNetForImageClassification(ResNetConfig(
        embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic", num_labels=4))  # fmt: skip
    model.resnet.embedder.requires_grad_(False)
    data = rows("image", rng, 12)
    trainer = get_method("scrub")(
        model,
        get_method("scrub").config_class(
            str(tmp_path), max_steps=2, use_cpu=True, report_to="none", save_strategy="no", disable_tqdm=True,
            cache_teacher_outputs=False),
        forget_dataset=data[:4], retain_dataset=data[4:])  # fmt: skip
    inputs, positions = one_batch(trainer)
    with torch.no_grad():
        want = model.eval()(inputs["pixel_values"]).logits
    teacher = trainer.original_teacher()
    trainer.train()
    assert teacher(inputs, positions).equal(want)


def test_a_kept_table_is_not_that_of_the_same_weights_at_another_scale(rng, tmp_path):
    seed, data = draw(rng), rows("image", rng, 4)
    tables = []
    for alpha in (4, 8):
        model = get_peft_model(base("image", seed), lora("image", lora_alpha=alpha))
        shake(model, seed)
        tables.append(cached_row_outputs(model, data, tmp_path).logits)
    assert not np.array_equal(*tables)


def test_a_state_is_not_gone_on_from_at_another_scale(rng, tmp_path, adapted_run):
    seed = draw(rng)
    for alpha in (4, 8):
        model = get_peft_model(base("image", seed), lora("image", lora_alpha=alpha))
        trainer = adapted_run("finetune", "image", model, save_strategy="steps", save_steps=1)
        trainer.sets = {}  # The rows are drawn afresh, and would differ as well.
        if alpha == 4:
            trainer.train()
    with pytest.raises(BadInput, match="lora_alpha is 4, not 8"):
        trainer.train(resume_from_checkpoint=True)


# What is fresh -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", PARTLY)
@pytest.mark.parametrize("family", ["image", "causal"])
def test_retraining_renews_what_is_trained_and_nothing_else(family, how, rng):
    model, seed = adapted(family, how, draw(rng)), draw(rng)
    shake(model, seed)
    before = copies(model)
    renew(model, seed)
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    changed = {name for name, tensor in model.state_dict().items() if not tensor.equal(before[name])}
    assert changed == trained
    once = copies(model)
    renew(model, seed)
    assert all(once[name].equal(tensor) for name, tensor in model.state_dict().items())
    if how in ("lora", "lora_task", "add_adapter"):
        assert all(not once[name].any() for name in trained if "lora_B" in name)
        renew(model, seed + 1)
        assert all(not once[name].equal(model.state_dict()[name]) for name in trained if "lora_A" in name)


@pytest.mark.parametrize("how", ["lora", "add_adapter"])
def test_the_trained_copy_of_a_head_starts_without_what_its_original_learned(how, rng):
    model = adapted("image", how, draw(rng))
    renew(model, draw(rng))
    head = bare_model(model).classifier
    assert not head.modules_to_save["default"].weight.equal(head.original_module.weight)


def test_the_length_of_a_fresh_dora_vector_is_that_of_the_weights_it_is_added_to(rng):
    model = get_peft_model(base("causal", draw(rng)), lora("causal", use_dora=True))
    lengths = {name: weight for name, weight in copies(model).items() if "magnitude" in name}
    shake(model, draw(rng))
    renew(model, draw(rng))
    assert lengths
    for name, length in lengths.items():
        torch.testing.assert_close(model.state_dict()[name], length)


def test_the_fresh_rows_of_trained_tokens_are_those_of_the_frozen_embeddings(rng):
    model = get_peft_model(base("causal", draw(rng)), lora("causal", trainable_token_indices=[1, 5]))
    start = {name: weight for name, weight in copies(model).items() if "trainable_tokens_delta" in name}
    shake(model, draw(rng))
    renew(model, draw(rng))
    assert start and all(model.state_dict()[name].equal(weight) for name, weight in start.items())


def test_a_quantised_base_cannot_be_copied_for_a_fresh_adapter(rng, monkeypatch):
    model = adapted("causal", "lora", draw(rng))
    monkeypatch.setattr(bare_model(model), "is_quantized", True, raising=False)
    with pytest.raises(BadInput, match="quantised"):
        renew(model, 1)


def test_an_adapter_that_changed_its_base_cannot_be_made_afresh(rng, adapted_run):
    model = get_peft_model(base("causal", draw(rng)), lora("causal", init_lora_weights="pissa"))
    with pytest.raises(BadInput, match="changes the weights that it is added to"):
        adapted_run("retrain", "causal", model).train()


def test_statistics_of_frozen_modules_are_kept_and_those_of_trained_ones_renewed(rng):
    model = ResNetForImageClassification(ResNetConfig(
        embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic", num_labels=4))  # fmt: skip
    model.resnet.embedder.requires_grad_(False)
    model(torch.from_numpy(rng.normal(size=(4, 3, 8, 8)).astype("float32")))  # In train mode, as it is made.
    before = copies(model)
    renew(model, draw(rng))
    for name, buffer in model.named_buffers():
        if "running" in name:
            assert buffer.equal(before[name]) == ("embedder" in name), name


def test_the_incompetent_teacher_has_no_adapter_and_no_weight_of_the_original(rng, adapted_run):
    seed = draw(rng)
    trainer = adapted_run("bad_teaching", "causal", adapted("causal", "lora", seed))
    trainer.prepare()
    own = dict(base("causal", seed).named_parameters())
    bad = dict(trainer.bad.model.named_parameters())
    assert bad.keys() == own.keys()
    assert not any(bad[name].equal(weight) for name, weight in own.items() if weight.dim() > 1)


def test_saliency_is_of_trained_weights_and_the_masked_ones_stay(rng, adapted_run):
    model = adapted("image", "lora", draw(rng))
    start = copies(model)
    trainer = adapted_run("salun", "image", model, weight_decay=0.1)
    trainer.train()
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert trainer.masks.keys() == trained
    free, size = sum(int(mask.sum()) for mask in trainer.masks.values()), sum(map(torch.numel, trainer.masks.values()))
    assert free == round(size / 2)
    for name, tensor in model.state_dict().items():
        mask = trainer.masks.get(name, torch.zeros_like(tensor, dtype=torch.bool))
        assert tensor[~mask].equal(start[name][~mask])


# Training ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("how", ["lora", "lora_task", "add_adapter", "ia3", "norms"])
def test_gradient_checkpointing_leaves_no_adapter_untrained(how, reentrant, rng, adapted_run):
    model = adapted("image", how, draw(rng))
    before = copies(model)
    kwargs = {"use_reentrant": reentrant}
    adapted_run(
        "finetune", "image", model, max_steps=3, gradient_checkpointing=True, gradient_checkpointing_kwargs=kwargs
    ).train()
    moved = {name for name, tensor in model.state_dict().items() if not tensor.equal(before[name])}
    assert moved == {name for name, weight in model.named_parameters() if weight.requires_grad}


def test_only_the_active_adapter_is_trained(rng, adapted_run):
    model = adapted("causal", "lora", draw(rng))
    model.add_adapter("second", lora("causal"))
    model.set_adapter("second")
    before = copies(model)
    adapted_run("finetune", "causal", model, max_steps=3).train()
    moved = {name for name, tensor in model.state_dict().items() if not tensor.equal(before[name])}
    assert moved and all(".second." in name for name in moved)


@pytest.mark.parametrize("method", methods_for())
def test_the_merged_model_computes_what_the_adapted_one_does(method, rng, adapted_run):
    model = adapted("text", "lora", draw(rng))
    trainer = adapted_run(method, "text", model)
    trainer.train()
    inputs, _ = one_batch(trainer)
    inputs.pop("labels")
    with torch.no_grad():
        want = model.eval()(**inputs).logits
        found = model.merge_and_unload()(**inputs).logits
    torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-5)


# What is refused -----------------------------------------------------------------------------------------------------


def _frozen(model):
    return model.requires_grad_(False)


def _merged(model):
    model = get_peft_model(model, lora("causal"))
    model.merge_adapter()
    return model


def _switched_off(model):
    model.add_adapter(lora("causal"))
    model.disable_adapters()
    return model


def _head_outside(model):
    model = get_peft_model(model, lora("causal"))
    model.base_model.model.lm_head.requires_grad_(True)
    return model


def _mixed(model):
    return get_peft_model(model, lora("causal"), mixed=True)


def _two_active(model):
    model = get_peft_model(model, lora("causal"))
    model.add_adapter("second", lora("causal"))
    model.base_model.set_adapter(["default", "second"])
    return model


def _with(config):
    return lambda model: get_peft_model(model, config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_frozen, "Every weight"),
        (_merged, "merged"),
        (_switched_off, "switched off|frozen"),
        (_head_outside, "modules_to_save"),
        (_mixed, "one is trained"),
        (_two_active, "one is trained"),
        (lambda model: inject_adapter_in_model(lora("causal"), model), "does not know them|add_adapter"),
        (_with(PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)), "PROMPT_TUNING"),
        (_with(PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)), "PREFIX_TUNING"),
        (_with(AdaLoraConfig(target_modules=PLACES["causal"].lora, total_step=9)), "ADALORA"),
    ],
)
def test_what_would_train_nothing_or_be_lost_is_refused(change, message, rng, adapted_run):
    with pytest.raises(BadInput, match=message):
        adapted_run("finetune", "causal", change(base("causal", draw(rng))))


def test_an_adapter_loaded_without_leave_to_train_is_refused(rng, tmp_path, adapted_run):
    from peft import PeftModel

    seed = draw(rng)
    adapted("causal", "lora", seed).save_pretrained(tmp_path / "adapter")
    with pytest.raises(BadInput, match="is_trainable=True"):
        adapted_run("finetune", "causal", PeftModel.from_pretrained(base("causal", seed), tmp_path / "adapter"))


def test_statistics_that_an_adapters_checkpoint_would_lose_are_refused():
    model = ResNetForImageClassification(ResNetConfig(
        embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic", num_labels=4))  # fmt: skip
    settings = {"target_modules": ["convolution"], "modules_to_save": ["classifier"]}
    with pytest.raises(BadInput, match="running statistics"):
        check_trainable(get_peft_model(model, lora("image", **settings)))


# Several processes, and what is pushed --------------------------------------------------------------------------------

WORKER = """
import json, sys
import numpy as np
import torch
sys.path[:0] = sys.argv[2:]
from adapted import adapted, rows
from mubench_hf.trainers import get_method, list_methods

folder, rng = sys.argv[1], np.random.default_rng(5)
forget, retain = rows("causal", rng, 4), rows("causal", rng, 8)
for method in list_methods():
    for how in ("lora_task", "add_adapter"):
        trainer = get_method(method)
        args = trainer.config_class(
            f"{folder}/run", max_steps=2, use_cpu=True, cpu_threads=1, per_device_train_batch_size=4,
            learning_rate=0.01, report_to="none", disable_tqdm=True, save_strategy="no", logging_strategy="no",
        )
        made = trainer(adapted("causal", how, 3), args, forget_dataset=forget, retain_dataset=retain)
        made.train()
        weights = {name: weight for name, weight in made.model.named_parameters() if weight.requires_grad}
        torch.save(weights, f"{folder}/{method}-{how}-{args.world_size}-{args.process_index}.pt")
"""


@pytest.mark.slow
def test_two_processes_train_the_same_adapter(tmp_path, offline_env):
    (tmp_path / "worker.py").write_text(WORKER)
    job = [str(tmp_path / "worker.py"), str(tmp_path), str(Path(__file__).parents[1])]
    for launch in (
        [sys.executable],
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"],
    ):
        done = subprocess.run([*launch, *job], env=offline_env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-4000:]
    for method in list_methods():
        for how in ("lora_task", "add_adapter"):
            one, other = (torch.load(tmp_path / f"{method}-{how}-2-{rank}.pt") for rank in range(2))
            assert all(weight.equal(other[name]) for name, weight in one.items()), f"{method}: processes end apart"
            moved = sum(not weight.equal(before) for weight, before in zip(one.values(), _start(how), strict=True))
            assert moved >= len(one) / 2, method


def _start(how):
    return [weight for weight in adapted("causal", how, 3).parameters() if weight.requires_grad]


def test_a_pushed_adapter_says_which_library_loads_it(rng, tmp_path, adapted_run):
    from huggingface_hub import ModelCard

    trainer = adapted_run("finetune", "causal", adapted("causal", "lora", draw(rng)))
    trainer.save_model()
    trainer.create_model_card(finetuned_from="org/base")
    card = ModelCard.load(tmp_path / "run" / "README.md")
    assert card.data.library_name == "peft" and card.data.base_model == "org/base"
