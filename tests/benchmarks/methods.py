"""Each method's CPU seconds per student row against a plain ``Trainer`` on the same rows, in one run, and peak memory.

Ways alternate, and the plain ``Trainer`` sees as many rows as the student; a number is the median of the ratios of
neighbours. A student row is a row that the student is trained on once. Peak memory is of a process of its own for each.
"""

from __future__ import annotations

import argparse
import copy
import gc
import multiprocessing
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import torch
import transformers
from torch.utils.data import Dataset
from transformers import PrinterCallback, Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

from mubench_hf.trainers import get_method, list_methods

SIZES = {
    "tiny": ({"image_size": 32, "patch_size": 8, "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
              "intermediate_size": 128}, 1024, 32),
    "25M": ({"image_size": 64, "patch_size": 16, "hidden_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8,
             "intermediate_size": 2048}, 48, 16),
}  # fmt: skip
"""Size → what makes the model, rows of the train set, and rows of an update."""

TAUGHT = ("scrub", "bad_teaching")
"""Methods with the original as teacher: its outputs come from a table that an earlier run kept, or from a live copy."""


class Rows(Dataset):
    """Made-up rows, ready in memory."""

    def __init__(self, pixels: torch.Tensor):
        self.pixels, self.labels = pixels, [place % 10 for place in range(len(pixels))]

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, place: int) -> dict:
        return {"pixel_values": self.pixels[place], "labels": self.labels[place]}


class Bench:
    """A model and its rows, half of them to forget, so that a balanced pass has all rows of a pass over both sets."""

    def __init__(self, size: str):
        shape, count, self.update = SIZES[size]
        torch.manual_seed(0)
        self.model = ViTForImageClassification(ViTConfig(**shape, num_labels=10))
        pixels = torch.randn(count, 3, shape["image_size"], shape["image_size"])
        self.kept = tempfile.TemporaryDirectory()
        self.forget, self.retain, self.all = Rows(pixels[: count // 2]), Rows(pixels[count // 2 :]), Rows(pixels)

    def settings(self, folder: str) -> dict:
        """Return what all ways share."""
        return {
            "output_dir": folder, "per_device_train_batch_size": self.update, "use_cpu": True, "save_strategy": "no",
            "logging_strategy": "no", "disable_tqdm": True, "report_to": "none", "learning_rate": 1e-4,
            "num_train_epochs": 1,
        }  # fmt: skip

    def plain(self, rows: int) -> float:
        """Train one epoch over so many rows; return CPU seconds."""
        with tempfile.TemporaryDirectory() as folder:
            args, rows_of = TrainingArguments(**self.settings(folder)), Rows(self.all.pixels[:rows])
            return timed(Trainer(copy.deepcopy(self.model), args, train_dataset=rows_of))

    def method(self, name: str, live: bool) -> tuple[float, int]:
        """Unlearn for one epoch; return CPU seconds and student rows."""
        method = get_method(name)
        with tempfile.TemporaryDirectory() as folder:
            own = {"cache_teacher_outputs": False} if live else {"teacher_cache_dir": self.kept.name}
            args = method.config_class(**self.settings(folder), **own, cpu_threads=1)
            sets = {"retain_dataset": self.retain} | ({"forget_dataset": self.forget} if method.needs_forget else {})
            trainer = method(copy.deepcopy(self.model), args, **sets)
            rows = sum(len(update) for update in trainer.sampler.updates(0))
            return timed(trainer), rows


def timed(trainer: Trainer) -> float:
    """Return the CPU seconds of a training."""
    trainer.remove_callback(PrinterCallback)
    start = time.process_time()
    trainer.train()
    return time.process_time() - start


def peak(size: str, name: str | None, live: bool = False) -> float:
    """Return the peak memory of a training in a fresh process, in MiB beside what was there before.

    A fork of this one would count nothing that fits into what earlier trainings here have left free.
    """
    fresh = multiprocessing.get_context("spawn")
    receives, sends = fresh.Pipe(False)
    process = fresh.Process(target=send_peak, args=(sends, size, name, live))
    process.start()
    found = receives.recv()
    process.join()
    return found


def send_peak(sends: Connection, size: str, name: str | None, live: bool) -> None:
    """Train once, making the table of the teacher's outputs where one is read, and send the peak."""
    torch.set_num_threads(1)
    bench = Bench(size)
    before = resident("VmRSS")
    bench.plain(len(bench.all)) if name is None else bench.method(name, live)
    sends.send(resident("VmHWM") - before)


def resident(field: str) -> float:
    """Return a field of this process's status on Linux, in MiB; resource usage would be its parent's, too."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


def main() -> None:
    """Print a table for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--methods", nargs="+", default=list_methods())
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    for size in asked.sizes:
        bench = Bench(size)
        weights = sum(weight.numel() for weight in bench.model.parameters())
        bench.plain(len(bench.all))
        gc.freeze()  # Each training looks for garbage first, which costs as much as there is to look through.
        print(f"\n{size}: {weights / 1e6:.1f} M weights, {len(bench.all)} rows, {bench.update} an update; "
              f"plain Trainer: {peak(size, None):.0f} MiB\n")  # fmt: skip
        print("| method | teacher | ratio per student row | lowest to highest | peak MiB |\n|---|---|---|---|---|")
        for name in asked.methods:
            for live in (False, True) if name in TAUGHT else (False,):
                bench.method(name, live)
                way = "–" if name not in TAUGHT else "live" if live else "kept table"
                ratios = []
                for _ in range(asked.repeats):
                    seconds, rows = bench.method(name, live)
                    ratios.append(seconds / bench.plain(rows))
                cells = (
                    name,
                    way,
                    f"{statistics.median(ratios):.2f}",
                    f"{min(ratios):.2f} to {max(ratios):.2f}",
                )
                print("| " + " | ".join((*cells, f"{peak(size, name, live):.0f}")) + " |", flush=True)


if __name__ == "__main__":
    main()
