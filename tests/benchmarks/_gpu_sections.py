"""The sections of the GPU benchmark: each yields rows of its table as dicts of plain values."""

from __future__ import annotations

import copy
import gc
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from _gpu_models import CASES, LLAMA_7B, LLAMA_TINY, LORA_TARGETS, Case, build, llama, planned, rows_of, texts
from transformers import Trainer, TrainerCallback, TrainingArguments

from mubench_hf.trainers import get_method, list_methods

Found = Iterator[dict[str, Any]]

WARM_UP, TIMED = 4, 20
"""Updates before the clock starts, and those that are timed."""

LIVE = ("scrub", "bad_teaching")
"""Methods with a teacher, which are timed with it beside the student as well."""


class Stopwatch(TrainerCallback):
    """Times the updates after the first ``WARM_UP``, with the device's work finished at both ends."""

    def __init__(self, device: torch.device, timed: int):
        self.device, self.timed, self.seconds = device, timed, float("nan")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called by ``Trainer`` after each update."""
        if state.global_step in (WARM_UP, WARM_UP + self.timed):
            finish(self.device)
            now = time.perf_counter()
            if state.global_step == WARM_UP:
                self.start = now
            else:
                self.seconds = now - self.start


def finish(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_gib(device: torch.device, without: int = 0) -> float | None:
    """Return the most memory that tensors have taken since the last reset, in GiB, less ``without`` bytes."""
    return round((torch.cuda.max_memory_allocated(device) - without) / 2**30, 3) if device.type == "cuda" else None


def clean(device: torch.device) -> None:
    """Let go of what the last run left, and measure peaks afresh."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def train(
    model: torch.nn.Module,
    sets: tuple[Any, Any],
    collate: Callable[[list[Any]], Any],
    micro: int,
    device: torch.device,
    method: str | None,
    timed: int,
    kept: int = 0,
    **settings: Any,
) -> dict[str, Any]:
    """Take ``WARM_UP + timed`` updates of a method, or of a plain ``Trainer``, and return what they took.

    The peak is that of the run: what the benchmark itself keeps on the device, ``kept`` bytes, is not in it.
    """
    clean(device)
    watch = Stopwatch(device, timed)
    with tempfile.TemporaryDirectory() as folder:
        shared: dict[str, Any] = dict(
            output_dir=folder, max_steps=WARM_UP + timed, per_device_train_batch_size=micro, learning_rate=1e-5,
            save_strategy="no", logging_strategy="no", report_to="none", disable_tqdm=True, bf16=True,
            dataloader_pin_memory=False, remove_unused_columns=False, lr_scheduler_type="constant",
            use_cpu=device.type == "cpu", **settings,
        )  # fmt: skip
        more: dict[str, Any] = {"data_collator": collate, "callbacks": [watch]}
        if method is None:
            trainer = Trainer(model, TrainingArguments(**shared), train_dataset=[*sets[0], *sets[1]], **more)
        else:
            trainer_class = get_method(method)
            # Two threads would wait for each other on a model this small.
            args = trainer_class.config_class(**shared, cpu_threads=1 if device.type == "cpu" else None)
            trainer = trainer_class(
                model, args, forget_dataset=sets[0], retain_dataset=sets[1], **more
            )  # fmt: skip
        finish(device)
        start = time.perf_counter()
        trainer.train()
        finish(device)
        whole = time.perf_counter() - start
    return {
        "rows/s": round(micro * timed / watch.seconds, 1),
        "peak GiB": peak_gib(device, kept),
        "rows": micro,
        "whole s": round(whole, 1),
        "status": getattr(trainer, "status", "ok"),
    }


def evaluation(device: torch.device, tiny: bool) -> Found:
    """ViT-base's outputs on rows in memory, as evaluation and teacher tables compute them."""
    from mubench_hf.models.device import exact_arithmetic
    from mubench_hf.models.outputs import row_outputs

    case, count = CASES["vit"], 64 if tiny else 1024
    model = build(case, tiny=tiny, device=device)
    rng = torch.Generator().manual_seed(3)
    rows = [{**case.inputs(tiny, rng), "labels": 0} for _ in range(count)]
    few = rows[:8]
    with exact_arithmetic(device, torch.get_num_threads()):  # As checkpoints are evaluated.
        row_outputs(model, rows[: count // 2])
        clean(device)
        start = time.perf_counter()
        outputs = row_outputs(model, rows)
        finish(device)
        seconds = time.perf_counter() - start
        peak = peak_gib(device)
        again = row_outputs(model, rows).logits
        there = row_outputs(model, few).logits
    on_cpu = row_outputs(copy.deepcopy(model).cpu(), few).logits
    yield {
        "model": case.name(tiny),
        "rows": count,
        "rows/s": round(count / seconds, 1),
        "peak GiB": peak,
        "same bits again": bool((again == outputs.logits).all()),
        "largest difference to a CPU": float(abs(there - on_cpu).max()),
    }


def methods_of(name: str) -> Callable[[torch.device, bool], Found]:
    """Return the section of a case: every method against a plain ``Trainer``, which is timed first and last."""

    def section(device: torch.device, tiny: bool) -> Found:
        case: Case = CASES[name]
        micro, timed = (4, 3) if tiny else (case.rows, TIMED)
        model = build(case, tiny=tiny, device=device)
        start = {key: value.clone() for key, value in model.state_dict().items()}
        rows = rows_of(case, 16 * micro, tiny=tiny, device=device)
        kept = rows.nbytes + sum(value.nbytes for value in start.values())
        shape = build(case, tiny=tiny, device=torch.device("meta")).to("meta")
        batch = rows.collate(rows[:micro])

        def run(method: str | None, **settings: Any) -> dict[str, Any]:
            model.load_state_dict(start)
            model.zero_grad(set_to_none=True)
            return train(model, rows.sets, rows.collate, micro, device, method, timed, kept, **settings)

        plain = run(None)
        yield {"model": case.name(tiny), "method": "plain Trainer", **plain}
        with_table = case.target is None
        asked = [(method, with_table, {}) for method in list_methods()]
        asked += [(method, False, {"cache_teacher_outputs": False}) for method in LIVE if with_table]
        for method, table, settings in asked:
            found = run(method, **settings)
            live = method in LIVE and not table
            ratio = round(found["rows/s"] / plain["rows/s"], 3)
            plan = planned(case.task, case.model, shape, batch, method, **settings)
            named = {"model": case.name(tiny), "method": method, "live teacher": live}
            yield {**named, "ratio": ratio, "planned GiB": plan, **found}
        again = run(None)
        ratio = round(again["rows/s"] / plain["rows/s"], 3)
        yield {"model": case.name(tiny), "method": "plain Trainer again", "ratio": ratio, **again}

    return section


def lora(device: torch.device, tiny: bool) -> Found:
    """LoRA over a Llama of 7 B frozen weights in bf16, with gradient checkpointing."""
    from peft import LoraConfig, get_peft_model

    length, micro, timed = (16, 2, 2) if tiny else (448, 8, 6)
    sizes = LLAMA_TINY if tiny else LLAMA_7B
    clean(device)
    base = llama(tiny=tiny, device=device, dtype=torch.bfloat16)
    rows = texts(16 * micro, length, sizes["vocab_size"], device)
    batch = {name: value.to(device) for name, value in rows.collate(rows[:micro]).items()}
    with torch.inference_mode():
        before = base.eval()(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.clone()
    model = get_peft_model(base, LoraConfig(r=8, target_modules=LORA_TARGETS, task_type="CAUSAL_LM"))
    start = {name: weight.detach().clone() for name, weight in model.named_parameters() if weight.requires_grad}
    shape = llama(tiny=tiny, device=torch.device("meta"), dtype=torch.bfloat16)
    with torch.device("meta"):
        shape = get_peft_model(shape, LoraConfig(r=8, target_modules=LORA_TARGETS, task_type="CAUSAL_LM"))
    for method in (None, "scrub", "finetune", "neggrad"):
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if name in start:
                    weight.copy_(start[name])
        found = train(model, rows.sets, rows.collate, micro, device, method, timed, 0, activation_checkpointing=True)
        plan = method and planned(
            "celeb_profile", "llama-2-7b-chat", shape, batch, method, activation_checkpointing=True
        )
        if method is None:
            plain = found["rows/s"]
        yield {
            "model": f"Llama, {sum(weight.numel() for weight in base.parameters()) / 1e9:.2f} B",
            "method": method or "plain Trainer",
            "live teacher": method == "scrub",
            "planned GiB": plan,
            "tokens": length,
            "ratio": round(found["rows/s"] / plain, 3),
            **found,
        }
    with torch.inference_mode(), model.disable_adapter():
        model.eval()
        after = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    yield {"model": "the same", "adapter off is bit-equal to the original": bool(before.equal(after))}


def data_path(device: torch.device, tiny: bool) -> Found:
    """A method on photographs that are read from the table on disk, against rows that lie on the device already."""
    import numpy as np
    from data_path import images
    from transformers import default_data_collator

    from mubench_hf.data import stored_rows
    from mubench_hf.data.prepared_rows import PreparedRows
    from mubench_hf.data.split_rows import SplitRows

    case, (micro, count) = CASES["vit"], (4, 64) if tiny else (128, 2048)
    timed = 3 if tiny else 40
    stored_rows.SMALL = 0
    model = build(case, tiny=tiny, device=device)
    lying = rows_of(case, count, tiny=tiny, device=device)
    idle = train(model, lying.sets, lying.collate, micro, device, "finetune", timed, lying.nbytes)
    yield {"model": case.name(tiny), "from": "the device", **idle}
    table, prepare, processor = images(count, np.random.default_rng(0))
    if tiny:
        from mubench_hf.models.loading import load_processor
        from mubench_hf.models.registry import get_model

        processor = load_processor(get_model(case.tiny))
    with tempfile.TemporaryDirectory() as folder:
        source = SplitRows([table], [np.arange(count)], prepare, processor)
        stored = stored_rows.StoredRows(source, Path(folder, "rows"), {}, "images")

        def part(numbers: range) -> PreparedRows:
            return PreparedRows(table.select(numbers), lambda row: prepare(row, processor), stored=stored)

        sets = (part(range(count // 4)), part(range(count // 4, count)))
        for workers in (0, 2, 4):
            found = train(
                model, sets, default_data_collator, micro, device, "finetune", timed, lying.nbytes,
                dataloader_num_workers=workers, dataloader_prefetch_factor=4 if workers else None,
                dataloader_persistent_workers=bool(workers),
            )  # fmt: skip
            busy = round(found["rows/s"] / idle["rows/s"], 3)
            yield {"model": case.name(tiny), "from": "the table", "workers": workers, "GPU busy": busy, **found}


def fsdp(device: torch.device, tiny: bool) -> Found:
    """SCRUB under FSDP2 in one process, against the same run without it."""
    if device.type == "cpu":
        yield {"skipped": "accelerate runs FSDP on GPUs alone"}
        return
    case, micro, timed = CASES["vit"], 32, 8
    model = build(case, tiny=tiny, device=device)
    rows = rows_of(case, 16 * micro, tiny=tiny, device=device)
    alone = copy.deepcopy(model)
    found = train(alone, rows.sets, rows.collate, micro, device, "scrub", timed, cache_teacher_outputs=False)
    yield {"model": case.name(tiny), "method": "scrub", "sharding": "none", **found}
    one = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"}
    os.environ.update(one)
    from accelerate.state import AcceleratorState, PartialState

    AcceleratorState._reset_state(reset_partial_state=True)
    PartialState._reset_state()
    found = train(model, rows.sets, rows.collate, micro, device, "scrub", timed, fsdp=True, cache_teacher_outputs=False)
    whole = {
        name: getattr(value, "full_tensor", lambda value=value: value)() for name, value in model.state_dict().items()
    }
    apart = max(float((whole[name] - value).abs().max()) for name, value in alone.state_dict().items())
    yield {"model": case.name(tiny), "method": "scrub", "sharding": "FSDP2", "largest difference": apart, **found}


def selection(device: torch.device, tiny: bool) -> Found:
    """SalUn's mask by one selection against two full sorts."""
    from mubench_hf.trainers.salun import saliency_masks

    for size in (10_000,) if tiny else (25_000_000, 100_000_000):
        gradient = torch.randn(size, device=device)

        def two_sorts(gradient: torch.Tensor = gradient) -> torch.Tensor:
            rank = torch.argsort(torch.argsort(gradient.abs(), descending=True))
            return rank < round(0.5 * len(gradient))

        def ours(gradient: torch.Tensor = gradient) -> torch.Tensor:
            return saliency_masks({"weight": gradient}, 0.5)["weight"]

        same = bool(ours().equal(two_sorts()))
        times = {"selection s": _seconds(ours, device), "two sorts s": _seconds(two_sorts, device)}
        clean(device)
        held = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
        ours()
        extra = (torch.cuda.max_memory_allocated(device) - held) / size if device.type == "cuda" else None
        yield {"weights": size, "same mask": same, **times, "bytes per weight": extra and round(extra, 2)}


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    """Return the median of five calls after one."""
    times = []
    for _ in range(6):
        finish(device)
        start = time.perf_counter()
        call()
        finish(device)
        times.append(time.perf_counter() - start)
    return round(sorted(times[1:])[2], 5)
