"""The weights a run ends in do not depend on how an update's rows are divided.

Plain SGD: Adam divides rounding errors by their own size wherever a gradient is zero (a key's bias in attention, a
pass away from a teacher that the student still equals), and so makes them as large as real steps.
"""

import json
import subprocess
import sys

import pytest
import torch
from methods import methods_for

SETTINGS = {
    "optim": "sgd",
    "learning_rate": 0.05,
    "weight_decay": 0.1,
    "max_grad_norm": 0.5,
    "num_train_epochs": 3,
    "use_cpu": True,
    "cpu_threads": 1,
    "seed": 7,
}
SHARES = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 1}


def assert_same_course(found, expected, original):
    """Weights agree to rounding, and far closer than the run moved them."""
    assert found.keys() == expected.keys()
    assert max((expected[name] - original[name]).abs().max().item() for name in expected) > 1e-2
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=3e-6, msg=lambda text, name=name: name + text)


@pytest.fixture
def run(make, fixed_world, weights_of):
    def run(method, **shares):
        trainer = make(method, fixed_world, **{**SETTINGS, **shares})
        trainer.train()
        assert trainer.status == "ok"
        return weights_of(trainer.model)

    return run


@pytest.mark.parametrize("method", methods_for("classification"))
def test_one_batch_or_two_accumulated(method, run, fixed_world, weights_of):
    whole = run(method, per_device_train_batch_size=8)
    halves = run(method, **{**SHARES, "gradient_accumulation_steps": 2})
    assert_same_course(halves, whole, weights_of(fixed_world.original()))


def test_another_batch_size_takes_another_course(run, fixed_world, weights_of):
    with pytest.raises(AssertionError):
        assert_same_course(
            run("finetune", per_device_train_batch_size=4),
            run("finetune", per_device_train_batch_size=8),
            weights_of(fixed_world.original()),
        )


WORKER = """
import json, sys
import torch
from torch.utils.data import StackDataset
from transformers import ViTForImageClassification
from mubench_hf.trainers import get_method

folder = sys.argv[1]
rows = torch.load(f"{folder}/rows.pt")
jobs = json.load(open(f"{folder}/jobs.json"))


def part(flags):
    data = StackDataset(pixel_values=rows["pixels"][flags], labels=rows["labels"][flags])
    data.index = torch.arange(len(flags))[flags].numpy()
    return data


def make(method):
    cls = get_method(method)
    model = ViTForImageClassification.from_pretrained(f"{folder}/original")
    sets = {"forget_dataset": part(rows["is_forget"]), "retain_dataset": part(~rows["is_forget"])}
    return cls(model, cls.config_class(**jobs[method]), **sets)


for method in jobs:
    trainer = make(method)
    assert trainer.args.world_size == 2 and trainer.accelerator.num_processes == 2
    trainer.train()
    assert trainer.status == "ok", trainer.status_reason
    torch.save(trainer.model.state_dict(), f"{folder}/{method}-{trainer.args.process_index}.pt")

# A loss that only one process finds wrong stops both.
trainer = make("finetune")
through = trainer.compute_loss
spoilt = trainer.args.process_index == 1


def compute_loss(*args, **kwargs):
    loss = through(*args, **kwargs)
    return loss * float("nan") if spoilt and trainer.state.global_step == 2 else loss


trainer.compute_loss = compute_loss
trainer.train()
json.dump([trainer.status, trainer.state.global_step], open(f"{folder}/stopped-{trainer.args.process_index}.json", "w"))
"""


@pytest.mark.slow
def test_two_processes(run, fixed_world, weights_of, tmp_path, offline_env):
    fixed_world.original().save_pretrained(tmp_path / "original")
    rows = {name: torch.from_numpy(getattr(fixed_world, name)) for name in ("pixels", "labels", "is_forget")}
    torch.save(rows, tmp_path / "rows.pt")
    common = {**SETTINGS, **SHARES, "output_dir": str(tmp_path / "two"), "disable_tqdm": True}
    common |= {"save_strategy": "no", "logging_strategy": "no"}
    jobs = {method: common for method in methods_for("classification")}
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    (tmp_path / "worker.py").write_text(WORKER)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*launch, str(tmp_path / "worker.py"), str(tmp_path)],
        env=offline_env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    original = weights_of(fixed_world.original())
    for method in methods_for("classification"):
        one, other = (torch.load(tmp_path / f"{method}-{rank}.pt") for rank in range(2))
        assert all(torch.equal(one[name], other[name]) for name in one), f"{method}: processes end apart"
        assert_same_course(one, run(method, per_device_train_batch_size=8), original)
    stops = [json.loads((tmp_path / f"stopped-{rank}.json").read_text()) for rank in range(2)]
    assert stops == [["diverged", 2]] * 2
