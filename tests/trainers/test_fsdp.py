"""FSDP2's real ``fully_shard`` over two CPU processes: the masks and weights of one, saved, killed and gone on with."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import StackDataset
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, ViTConfig, ViTForImageClassification

from mubench_hf.errors import BadInput
from mubench_hf.trainers import get_method

# Plain SGD with momentum: Adam makes rounding errors as large as steps wherever a gradient is zero.
SETTINGS = {
    "optim": "sgd",
    "optim_args": "momentum=0.5",
    "learning_rate": 0.03,
    "weight_decay": 0.1,
    "max_grad_norm": 0.5,
    "num_train_epochs": 2,
    "use_cpu": True,
    "cpu_threads": 1,
    "seed": 7,
    "disable_tqdm": True,
    "report_to": "none",
    "logging_strategy": "no",
    "save_strategy": "epoch",
}
LAYERS = {"image": "ViTLayer", "text": "LlamaDecoderLayer"}
JOBS = {
    "finetune-image": "FULL_STATE_DICT",
    "salun-image": "SHARDED_STATE_DICT",
    "scrub-image": "SHARDED_STATE_DICT",
    "bad_teaching-image": "FULL_STATE_DICT",
    "retrain-image": "SHARDED_STATE_DICT",
    "salun-text": "FULL_STATE_DICT",
    "scrub-text": "FULL_STATE_DICT",
    "bad_teaching-text": "SHARDED_STATE_DICT",
    "finetune-image-best": "FULL_STATE_DICT",
}
"""Method and kind of model → how its states are saved. The teachers of texts run live, those of images are tables."""

BEST = {"eval_strategy": "epoch", "load_best_model_at_end": True, "metric_for_best_model": "loss",
        "greater_is_better": True}  # fmt: skip
"""The largest loss is that of the first epoch, so that the weights a run ends with are not the last ones."""


def draw(folder):
    """Write two originals of two layers each, one with tied embeddings, and rows for them."""
    torch.manual_seed(0)
    is_forget = torch.zeros(50, dtype=torch.bool)
    is_forget[torch.randperm(50)[:13]] = True
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
             "initializer_range": 0.2}  # fmt: skip
    image = ViTForImageClassification(ViTConfig(image_size=16, patch_size=8, num_labels=5, **small))
    text = LlamaForCausalLM(
        LlamaConfig(vocab_size=32, num_key_value_heads=2, pad_token_id=0, tie_word_embeddings=True, **small)
    )
    image.save_pretrained(folder / "image")
    text.save_pretrained(folder / "text")
    labels, ids = torch.randint(5, (50,)), torch.randint(1, 32, (50, 8))
    rows = {
        "image": {"pixel_values": torch.randn(50, 3, 16, 16), "labels": labels},
        "text": {"input_ids": ids, "labels": ids.clone(), "attention_mask": torch.ones_like(ids)},
    }
    for kind, columns in rows.items():
        torch.save({**columns, "is_forget": is_forget}, folder / f"{kind}.pt")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Run all jobs in two processes, and return the folder of what they found."""
    folder = tmp_path_factory.mktemp("fsdp")
    draw(folder)
    jobs = {}
    for name, how in JOBS.items():
        method, kind, *best = name.split("-")
        fsdp = {"version": 2, "transformer_layer_cls_to_wrap": [LAYERS[kind]], "state_dict_type": how}
        jobs[name] = {"method": method, "kind": kind, "fsdp": fsdp,
                      "settings": {**SETTINGS, "per_device_train_batch_size": 4, **(BEST if best else {})}}  # fmt: skip
    (folder / "jobs.json").write_text(json.dumps(jobs))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = {"WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
             "OMP_NUM_THREADS": 1}  # fmt: skip
    started = [
        subprocess.Popen(
            [sys.executable, Path(__file__).with_name("fsdp_worker.py"), folder],
            env={
                **os.environ,
                **{name: str(value) for name, value in {**where, "RANK": rank, "LOCAL_RANK": rank}.items()},
            },
            stdout=subprocess.DEVNULL,
            stderr=(folder / f"stderr-{rank}").open("w"),
        )
        for rank in range(2)
    ]
    try:
        codes = [process.wait(600) for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert codes == [0, 0], "\n".join((folder / f"stderr-{rank}").read_text()[-3000:] for rank in range(2))
    return folder


def one(folder, name):
    """Return the trainer of the same run in this process alone, and its original."""
    method, kind, *best = name.split("-")
    rows = torch.load(folder / f"{kind}.pt")
    is_forget = rows.pop("is_forget")
    loader = ViTForImageClassification if kind == "image" else AutoModelForCausalLM

    def part(flags):
        data = StackDataset(**{column: values[flags] for column, values in rows.items()})
        data.index = torch.arange(len(flags))[flags].numpy()
        return data

    cls = get_method(method)
    more = BEST if best else {"save_strategy": "no"}
    args = cls.config_class(f"{folder}/one", **{**SETTINGS, "per_device_train_batch_size": 8, **more})
    sets = {"forget_dataset": part(is_forget), "retain_dataset": part(~is_forget)}
    evaluated = part(torch.arange(len(is_forget)) < 32)
    trainer = cls(loader.from_pretrained(folder / kind), args, eval_dataset=evaluated, **sets)
    trainer.train()
    assert trainer.status == "ok"
    return SimpleNamespace(trainer=trainer, original=loader.from_pretrained(folder / kind), loader=loader)


@pytest.mark.slow
@pytest.mark.parametrize("name", JOBS)
def test_two_shards_are_one_run(name, two):
    found, alone = torch.load(two / f"{name}.pt"), one(two, name)
    weights, original = found["weights"], alone.original.state_dict()
    assert weights.keys() == original.keys()
    assert max((weights[each] - original[each]).abs().max().item() for each in original) > 1e-2, "it did move"
    for each, tensor in alone.trainer.model.state_dict().items():
        torch.testing.assert_close(weights[each], tensor, rtol=1e-3, atol=2e-5, msg=lambda text, each=each: each + text)
    assert found["eval_loss"] == pytest.approx(alone.trainer.evaluate()["eval_loss"], rel=1e-4)
    if name.endswith("best"):
        assert (
            0 < found["best step"] < found["last step"] and found["best step"] == alone.trainer.state.best_global_step
        )
    assert found["resumed"], "killed after a state, it ends in the weights that it would have had, to the bit"
    saved = alone.loader.from_pretrained(two / f"{name}-whole").state_dict()
    assert all(torch.equal(saved[each], weights[each]) for each in weights), "what is saved is whole"
    architectures = json.loads((two / f"{name}-whole" / "config.json").read_text())["architectures"]
    assert architectures == [type(alone.original).__name__]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in JOBS if name.startswith("salun")])
def test_the_masks_are_those_of_one_process(name, two):
    found, alone = torch.load(two / f"{name}.pt"), one(two, name)
    original = alone.original.state_dict()
    assert found["masks"].keys() == alone.trainer.masks.keys()
    for each, mask in alone.trainer.masks.items():
        assert torch.equal(found["masks"][each], mask), each
        assert torch.equal(found["weights"][each][~mask], original[each][~mask]), each
    assert found["same masks"], "a run that goes on computes them at the original's weights"


@pytest.mark.slow
def test_a_run_that_diverges_ends_with_the_weights_before(two):
    found = torch.load(two / "diverged.pt")
    (status, step, weights), (_, _, expected) = found["spoilt"], found["short"]
    assert (status, step) == ("diverged", 2)
    assert all(torch.equal(weights[each], expected[each]) for each in expected)


@pytest.fixture
def asked_for(monkeypatch):
    """Let the launcher ask for FSDP."""
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")


def test_fsdp_on_one_process_is_refused(world, make, asked_for):
    with pytest.raises(BadInput, match="FSDP is asked for, but there is 1 process on cpu: it takes two or more"):
        make("finetune", world)


@pytest.mark.parametrize("what", ["frozen", "optimizer", "auto_find_batch_size", "running statistics", "adapters"])
def test_what_is_not_proven_in_parts_is_refused(what, world, make, asked_for):
    model, settings, given = world.original(), {}, {}
    if what == "frozen":
        model.vit.embeddings.requires_grad_(False)
    elif what == "optimizer":
        given["optimizers"] = (torch.optim.SGD(model.parameters(), lr=0.1), None)
    elif what == "running statistics":
        model.vit.norm = torch.nn.BatchNorm1d(4)
    elif what == "adapters":
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(target_modules=["q_proj"], modules_to_save=["classifier"]))
    else:
        settings[what] = True
    with pytest.raises(BadInput, match=f"^FSDP shards the model over processes, but .*{what}"):
        make("finetune", world, model=model, kwargs=given, **settings)
