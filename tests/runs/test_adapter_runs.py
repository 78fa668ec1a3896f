"""Runs whose methods train an adapter: their names, their checkpoints, how these are loaded, and what is refused."""

import json
import shutil

import pytest
import torch
from adapted import FAMILIES, base
from peft import PeftModel
from transformers import AutoModelForImageClassification

from mubench_hf.errors import BadInput
from mubench_hf.hub.bundle import model_bundle
from mubench_hf.models.adapter_settings import AdapterSettings
from mubench_hf.models.loading import load_model
from mubench_hf.runs.pipeline import Pipeline
from mubench_hf.runs.plan import make_plan
from mubench_hf.runs.record import load_record
from mubench_hf.runs.setup import make_setup
from mubench_hf.trainers import get_method

AUTO = "AutoModelForImageClassification"
LORA = {"peft": "lora", "peft_r": 2, "peft_target_modules": "q_proj,v_proj", "peft_modules_to_save": "classifier"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"peft_r": 8}, "Say which kind"),
        ({"peft": "dora"}, "lora, ia3, layernorm"),
        ({"peft": "lora", "peft_r": 0}, "at least 1"),
        ({"peft": "lora", "peft_alpha": float("nan")}, "finite"),
        ({"peft": "lora", "peft_alpha": -1.0}, "above 0"),
        ({"peft": "lora", "peft_dropout": 1.0}, "below 1"),
        ({"peft": "ia3", "peft_r": 4}, "for lora"),
        ({"peft": "lora", "peft_feedforward_modules": "fc1"}, "for ia3"),
        ({"peft": "lora", "peft_target_modules": "q,,v"}, "commas"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(BadInput, match=message):
        AdapterSettings(**settings)


def test_a_default_that_is_spelt_out_is_the_same_run():
    spelt = AdapterSettings("lora", peft_r=8, peft_alpha=8.0, peft_dropout=0.0, peft_target_modules="v, q")
    assert spelt.recorded == AdapterSettings("lora", peft_target_modules="q,v").recorded
    assert AdapterSettings().recorded == {}


@pytest.mark.parametrize("family", FAMILIES)
def test_all_norms_of_any_model_are_trained_unless_some_are_named(family):
    model = base(family, 1)
    model.head = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2))  # Its name is 1, as are layers'.
    norms = [name for name, module in model.named_modules() if type(module).__name__.endswith("Norm")]
    adapted = AdapterSettings("layernorm").add_to(model, seed=1)
    trained = {
        name.split(".ln_tuning_layers")[0] for name, weight in adapted.named_parameters() if weight.requires_grad
    }
    assert trained == {f"base_model.model.{name}" for name in norms}


@pytest.fixture(scope="module")
def adapted_bench(tmp_path_factory):
    """Return the output folder of a small benchmark whose one method trained an adapter, and the run's checkpoint."""
    out = tmp_path_factory.mktemp("adapted")
    from conftest import quicken

    with pytest.MonkeyPatch.context() as patch:
        from mubench_hf.tasks import cifar100

        patch.setattr(cifar100, "TASK", cifar100.TASK)
        quicken()
        results = Pipeline(
            "cifar100", variant="mini", out=out, methods=["scrub"], seeds=[7], adapter=AdapterSettings(**LORA)
        ).run()
    (name,) = (result.run.checkpoint_name for result in results if result.method == "scrub")
    return out, out / "mubench" / name, results


@pytest.mark.slow
def test_the_checkpoint_holds_the_adapter_alone_and_plain_peft_loads_it(adapted_bench):
    out, folder, results = adapted_bench
    record = load_record(folder)
    assert record.run.tag and record.settings["peft"] == "lora" and record.settings["peft_r"] == 2
    assert not (folder / "config.json").exists() and (folder / "preprocessor_config.json").exists()
    assert all(not result.settings for result in results if result.method in ("original", "retrain"))
    base = AutoModelForImageClassification.from_pretrained(out / record.base_model)
    ours, theirs = load_model(folder, AUTO), PeftModel.from_pretrained(base, folder)
    pixels = torch.randn(4, 3, *[base.config.image_size] * 2)
    with torch.no_grad():
        assert ours(pixel_values=pixels).logits.equal(theirs.eval()(pixel_values=pixels).logits)


@pytest.mark.slow
def test_a_moved_run_is_loaded_with_the_base_beside_it_if_that_is_the_same(adapted_bench, tmp_path):
    out, folder, _ = adapted_bench
    shutil.copytree(out, tmp_path / "moved")
    moved = tmp_path / "moved" / "mubench" / folder.name
    config = moved / "adapter_config.json"
    config.write_text(config.read_text().replace(str(out), "/gone"))
    assert load_model(moved, AUTO, base_sha256=load_record(moved).base_revision)
    with pytest.raises(BadInput, match="other weights"):
        load_model(moved, AUTO, base_sha256="0" * 64)


@pytest.mark.slow
def test_what_is_published_names_the_published_base(adapted_bench):
    out, folder, _ = adapted_bench
    bundle = model_bundle(folder, out=out, org="lab")
    config, card = json.loads(bundle.files["adapter_config.json"]), bundle.files["README.md"].decode()
    original = load_record(folder).base_model.removeprefix("mubench/")
    assert config["base_model_name_or_path"] == f"lab/{original}"
    assert "library_name: peft" in card and f"base_model: lab/{original}" in card
    assert "PeftModel.from_pretrained(base" in card and str(out) not in card


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "PROMPT_TUNING"}, "PROMPT_TUNING"),
        ({"r": 10**9}, "rank"),
        ({"lora_alpha": "x"}, "numbers"),
        ({"use_dora": True}, "use_dora"),
        ({"of_a_later_version": 1}, "of_a_later_version"),
        ({"target_modules": ["q_proj"]}, "differ in name"),
        ({"target_modules": ["nowhere"]}, "nowhere"),
        ({"base_model_name_or_path": None}, "base_model_name_or_path"),
    ],
)
def test_an_adapter_of_others_asks_for_nothing_that_its_weights_do_not_have(change, message, adapted_bench, tmp_path):
    _, folder, _ = adapted_bench
    shutil.copytree(folder, tmp_path / "theirs")
    file = tmp_path / "theirs" / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(BadInput, match=message):
        load_model(tmp_path / "theirs", AUTO)


def test_a_layer_that_the_model_lacks_is_refused_before_anything_is_trained(tmp_path):
    with pytest.raises(BadInput, match="nowhere"):
        Pipeline(
            "cifar100", variant="mini", out=tmp_path, adapter=AdapterSettings("lora", peft_target_modules="nowhere")
        )


def test_the_reference_is_never_an_adapter(tmp_path):
    setup = make_setup("cifar100", variant="mini", out=tmp_path)
    args = get_method("retrain").config_class(str(tmp_path), use_cpu=True)
    with pytest.raises(BadInput, match="Leave --peft out"):
        make_plan(setup, "retrain", args, start="o/original", adapter=AdapterSettings(**LORA))
