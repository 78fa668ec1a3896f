"""Run by ``test_fsdp.py`` in each of two processes: every job whole, cut off and gone on with, saved and loaded."""

import json
import sys
from pathlib import Path

import accelerate.state
import torch
from torch.distributed.fsdp import FSDPModule
from torch.utils.data import StackDataset
from transformers import AutoModelForCausalLM, TrainerCallback, ViTForImageClassification

from mubench_hf.models.sharded import whole
from mubench_hf.trainers import get_method


def shard_on_cpus():
    """Let accelerate use the real ``fully_shard`` without GPUs: it refuses to, and nothing else of it has to change."""
    plain = accelerate.state.AcceleratorState.__init__

    def init(self, *args, **kwargs):
        plain(self, *args, **kwargs)
        kinds, plugin = accelerate.state.DistributedType, kwargs.get("fsdp_plugin")
        if plugin is not None and self.distributed_type == kinds.MULTI_CPU:
            self.distributed_type, self.fsdp_plugin = kinds.FSDP, plugin
            accelerate.state.PartialState._shared_state["distributed_type"] = kinds.FSDP

    accelerate.state.AcceleratorState.__init__ = init


class CutOff(Exception):
    pass


class Cut(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise CutOff


def part(rows, flags):
    data = StackDataset(**{name: value[flags] for name, value in rows.items() if name != "is_forget"})
    data.index = torch.arange(len(flags))[flags].numpy()
    return data


def make(folder, job, **settings):
    rows = torch.load(f"{folder}/{job['kind']}.pt")
    loader = ViTForImageClassification if job["kind"] == "image" else AutoModelForCausalLM
    cls, is_forget = get_method(job["method"]), rows["is_forget"]
    args = cls.config_class(**{**job["settings"], "fsdp": True, "fsdp_config": job["fsdp"], **settings})
    sets = {"forget_dataset": part(rows, is_forget), "retain_dataset": part(rows, ~is_forget)}
    evaluated = part(rows, torch.arange(len(is_forget)) < 32)  # Trainer's mean counts rows twice that do not divide.
    return cls(loader.from_pretrained(f"{folder}/{job['kind']}"), args, eval_dataset=evaluated, **sets)


def whole_weights(model):
    return {name: whole(tensor).clone() for name, tensor in model.state_dict().items()}


def do(folder, name, job):
    place = f"{folder}/{name}"
    trainer = make(folder, job, output_dir=f"{place}-whole")
    trainer.train()
    assert trainer.status == "ok", trainer.status_reason
    layers = [module for module in trainer.model.modules() if isinstance(module, FSDPModule)]
    assert len(layers) >= 3, "the model is cut at its layers"
    weights = whole_weights(trainer.model)
    found = {"weights": weights, "eval_loss": trainer.evaluate()["eval_loss"]}
    found["best step"], found["last step"] = trainer.state.best_global_step, trainer.state.global_step
    if job["method"] == "salun":
        found["masks"] = gathered(trainer)
    trainer.save_model()
    cut = make(folder, job, output_dir=f"{place}-cut")
    # In the second epoch: a state was saved after the first.
    cut.add_callback(Cut(cut.sampler.update_count(0) + 1))
    try:
        cut.train()
    except CutOff:
        cut.accelerator.wait_for_everyone()
    again = make(folder, job, output_dir=f"{place}-cut")
    again.train(resume_from_checkpoint=True)
    assert again._initial_global_step > 0, "it went on from a state"
    resumed = whole_weights(again.model)
    found["resumed"] = all(torch.equal(resumed[each], weights[each]) for each in weights)
    if job["method"] == "salun":
        found["same masks"] = all(mask.equal(trainer.masks[each]) for each, mask in again.masks.items())
    if trainer.args.process_index == 0:
        torch.save(found, f"{place}.pt")


def diverge(folder, job):
    """A loss that only one process finds wrong stops both, before that update."""
    settings = {"output_dir": f"{folder}/diverged", "save_strategy": "no", "lr_scheduler_type": "constant"}
    spoilt, short = (make(folder, job, max_steps=steps, **settings) for steps in (3, 2))
    through = spoilt.compute_loss

    def compute_loss(*args, **kwargs):
        loss = through(*args, **kwargs)
        wrong = spoilt.args.process_index == 1 and spoilt.state.global_step == 2
        return loss * float("nan") if wrong else loss

    spoilt.compute_loss = compute_loss
    found = {}
    for name, trainer in {"spoilt": spoilt, "short": short}.items():
        trainer.train()
        found[name] = (trainer.status, trainer.state.global_step, whole_weights(trainer.model))
    if trainer.args.process_index == 0:
        torch.save(found, f"{folder}/diverged.pt")


def gathered(trainer):
    """Return the masks of whole weights: each process's part, the first rows first."""
    masks = {}
    for name, mask in trainer.masks.items():
        parts = [None] * trainer.args.world_size
        torch.distributed.all_gather_object(parts, mask)
        masks[name] = torch.cat(parts)
    return masks


def main(folder):

    shard_on_cpus()
    jobs = json.loads(Path(folder, "jobs.json").read_text())
    for name, job in jobs.items():
        do(folder, name, job)
    diverge(folder, jobs["finetune-image"])


if __name__ == "__main__":
    main(sys.argv[1])
