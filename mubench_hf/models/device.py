"""Where models run, with how many threads and in which precision, and how their memory is given back."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env
from accelerate.utils.memory import clear_device_cache

from mubench_hf.utils.processes import launched_processes

Model = TypeVar("Model")


def model_device(use_cpu: bool = False) -> torch.device:
    """Return the device on which this process runs models: the one that a trainer of it would take.

    A GPU if there is one (that of the process's local rank), else whatever accelerator there is, such as MPS.

    Args:
        use_cpu: Take the CPU whatever else there is, like the argument of ``TrainingArguments``.
    """
    on_cpu = use_cpu or parse_flag_from_env("ACCELERATE_USE_CPU")
    if on_cpu and launched_processes() == 1:
        return torch.device("cpu")
    return PartialState(cpu=on_cpu).device


def device_name(device: torch.device) -> str:
    """Return a device's name for records: that of the product for a GPU, else its type."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def on_device(model: Model, device: torch.device) -> Model:
    """Return a model on a device. One that is quantised stays where it was loaded, since it may not be moved."""
    module: Any = model
    return model if getattr(module, "is_quantized", False) else module.to(device)


def usable_threads() -> int:
    """Return how many threads one process should use on a CPU: the usable cores, shared among its processes.

    Launchers set one thread per process, plain Python uses every core: results must not depend on which.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


@contextmanager
def exact_arithmetic(device: torch.device, threads: int) -> Iterator[None]:
    """Compute as exactly as the weights' type allows while inside, and on a CPU with so many threads.

    On some GPUs, convolutions and products of float32 round their inputs to ten bits unless told otherwise. On a CPU,
    the last bits of a sum depend on how many threads share it.

    Args:
        device: Where models run.
        threads: Threads of an operation on a CPU.
    """
    parts, before = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn), []
    if device.type == "cuda":
        before = [part.fp32_precision for part in parts]
        for part in parts:
            part.fp32_precision = "ieee"
    earlier = torch.get_num_threads()
    torch.set_num_threads(threads if device.type == "cpu" else earlier)
    try:
        yield
    finally:
        torch.set_num_threads(earlier)
        for part, precision in zip(parts, before, strict=False):
            part.fp32_precision = precision


def give_back_memory(circles: bool = True) -> None:
    """Free what nothing refers to any more, so that a device has room for other processes and for larger blocks.

    Args:
        circles: Also look for what refers to each other in circles, such as a trainer, its callbacks and its optimizer,
            which takes a third of a second.
    """
    if circles:
        gc.collect()
    clear_device_cache()
