"""The data path with and without a table: rows per CPU second, how long a device waits, memory.

A simulated device takes a batch, is busy for ``rows / rate`` seconds, and takes the next; what it waits is the share of
time without a batch at hand. It gives its core away while it is busy, as a process does whose work is done by a device.
Loader processes share the machine's cores, whose number is printed, with whatever else runs there. The device is given
batches as they leave the host: resize and look-up are done on it. Without a table, only the rows that fit into a
process's memory are kept, the same share as at full size.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from transformers import (
    DataCollatorWithPadding,
    VideoMAEImageProcessorPil,
    ViTImageProcessorPil,
    Wav2Vec2FeatureExtractor,
    default_data_collator,
)

from mubench_hf.data import stored_rows
from mubench_hf.data.batches import for_loader
from mubench_hf.data.prepared_rows import PreparedRows
from mubench_hf.data.split_rows import SplitRows
from mubench_hf.data.stored_rows import StoredRows
from mubench_hf.models.architectures.text import tiny_tokenizer
from mubench_hf.tasks import get_task

BATCH = {"images": 128, "text": 128, "sound": 32, "video": 8}
KEPT = {"images": 1790 / 50_000, "text": 0.0, "sound": 16_777 / 51_094, "video": 111 / 9537}
"""Share of the train rows of CIFAR-100, Speech Commands and UCF101 that 1 GiB holds; texts are compared unkept."""


def images(rows: int, rng: np.random.Generator) -> tuple[Any, Any, Any]:
    """Return photographs of 32 pixels a side, read at 224."""
    import datasets
    from PIL import Image

    found = [Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for _ in range(rows)]
    table = datasets.Dataset.from_dict({"image": found, **numbers(rows)}).cast_column("image", datasets.Image())
    return table, get_task("cifar100").prepare, ViTImageProcessorPil()


def text(rows: int, rng: np.random.Generator) -> tuple[Any, Any, Any]:
    """Return reviews of 150 words, cut off at 128 tokens."""
    import datasets

    words = ["".join(map(chr, rng.integers(97, 123, rng.integers(2, 9)))) for _ in range(800)]
    texts = [" ".join(words[word] for word in rng.integers(0, 800, 150)) for _ in range(rows)]
    tokenizer = tiny_tokenizer(texts[:100], 1000)
    return datasets.Dataset.from_dict({"text": texts, **numbers(rows)}), get_task("imdb").prepare, tokenizer


def sound(rows: int, rng: np.random.Generator) -> tuple[Any, Any, Any]:
    """Return words of a second, as files."""
    import datasets
    import soundfile

    files = []
    for _ in range(rows):
        file = io.BytesIO()
        soundfile.write(file, rng.normal(0, 0.1, 16_000), 16_000, format="FLAC")
        files.append({"bytes": file.getvalue(), "path": None})
    table = datasets.Dataset.from_dict({"audio": files, **numbers(rows)})
    return table, get_task("speech_commands").prepare, Wav2Vec2FeatureExtractor()


def video(rows: int, rng: np.random.Generator) -> tuple[Any, Any, Any]:
    """Return clips of 120 frames of 320 x 240 pixels in MPEG-4, as in UCF101."""
    import av
    import datasets

    files = []
    for _ in range(rows):
        file, start = io.BytesIO(), rng.integers(0, 256, (15, 20, 3), dtype=np.uint8)
        still = np.kron(start, np.ones((16, 16, 1), np.uint8))
        with av.open(file, "w", format="avi") as container:
            stream = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
            for step in range(120):
                frame = av.VideoFrame.from_ndarray(np.roll(still, 2 * step, 1), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        files.append({"bytes": file.getvalue(), "path": None})
    table = datasets.Dataset.from_dict({"video": files, **numbers(rows)})
    return table, get_task("ucf101").prepare, VideoMAEImageProcessorPil()


def numbers(rows: int) -> dict[str, list[int]]:
    """Return labels and numbers of rows."""
    return {"label": [row % 10 for row in range(rows)], "index": list(range(rows))}


MADE = {"images": (images, 2048), "text": (text, 4096), "sound": (sound, 1024), "video": (video, 32)}
"""How rows of each kind are made, and how many."""


class Repeated(Dataset):
    """Rows of an epoch as long as a measurement: every row in turn, in a random order."""

    def __init__(self, rows: Any):
        self.rows, self.size = rows, len(rows)
        self.order = np.random.default_rng(0).permutation(self.size)

    def __len__(self) -> int:
        """Return a large number."""
        return 1 << 30

    def __getitem__(self, position: int) -> Any:
        """Return a row."""
        return self.rows[int(self.order[position % self.size])]

    def table_batch(self, positions: np.ndarray) -> Any:
        """Return a batch from the table."""
        return self.rows.table_batch(self.order[positions % self.size])


def waiting(loader: DataLoader, rate: float, seconds: float) -> tuple[float, float]:
    """Return the share of time that a device waits for batches, and the rows per second that it gets."""
    batches = iter(loader)
    for _ in range(4):
        next(batches)  # Workers have started.
    waited, rows, start = 0.0, 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        before = time.perf_counter()
        batch = next(batches)
        ready = time.perf_counter()
        waited += ready - before
        size = len(batch["labels"])
        while time.perf_counter() - ready < size / rate:
            time.sleep(0)
        rows += size
    whole = time.perf_counter() - start
    return waited / whole, rows / whole


def speed(loader: DataLoader, seconds: float) -> float:
    """Return rows per CPU second of the host, without workers."""
    batches = iter(loader)
    next(batches)
    rows, start, began = 0, time.process_time(), time.perf_counter()
    while time.perf_counter() - began < seconds:
        rows += len(next(batches)["labels"])
    return rows / (time.process_time() - start)


def loaders(kind: str, rows: Any, collator: Any, workers: int) -> DataLoader:
    """Return a loader as the trainer makes it."""
    source, collate = for_loader(Repeated(rows), collator)
    return DataLoader(source, BATCH[kind], collate_fn=collate, num_workers=workers)


def measure(kind: str, folder: Path, seconds: float, rates: list[float], only_after: bool) -> None:
    """Print the figures of one kind of rows."""
    make, count = MADE[kind]
    table, prepare, processor = make(count, np.random.default_rng(0))
    collator = DataCollatorWithPadding(processor) if kind == "text" else default_data_collator
    before = PreparedRows(table, lambda row: prepare(row, processor), memory_budget=0)
    size = stored_rows.row_bytes(before[0])
    before._budget = round(KEPT[kind] * count) * size
    source = SplitRows([table], [np.arange(count)], prepare, processor)
    stored = StoredRows(source, folder / kind, {}, kind)
    start = time.process_time()
    assert stored.table is not None
    made = time.process_time() - start
    on_disk = sum(file.stat().st_size for file in (folder / kind).iterdir())
    after = PreparedRows(table, lambda row: prepare(row, processor), stored=stored)
    print(f"{kind}: a row takes {size:,} bytes prepared, {on_disk // count:,} in the table; made at "
          f"{count / made:,.0f} rows per CPU second, once")  # fmt: skip
    for name, rows in (("before", before), ("after", after))[only_after:]:
        fast = speed(loaders(kind, rows, collator, 0), seconds)
        print(f"  {name}: {fast:,.0f} rows per CPU second")
        for rate in rates:
            for workers in (0, 1, 2):
                share, got = waiting(loaders(kind, rows, collator, workers), rate, seconds)
                print(f"  {name}, {workers} loader processes: a device of {rate:,.0f} rows/s waits {share:.1%}, "
                      f"gets {got:,.0f} rows/s")  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(f"  peak memory: {peak[0] / 1024:,.0f} MiB, and at most {peak[1] / 1024:,.0f} MiB in a loader process")


def main() -> None:
    """Measure each kind in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", help=f"{', '.join(MADE)}; all by default")
    parser.add_argument("--seconds", type=float, default=4, help="of each measurement")
    parser.add_argument("--after", action="store_true", help="with a table only, which is quick")
    given = parser.parse_args()
    torch.set_num_threads(1)
    stored_rows.SMALL = 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"{cores} cores, torch {torch.__version__}", flush=True)
    for kind in given.kinds or MADE:
        rates = [25.0, 100.0] if kind == "video" else [1500.0, 6000.0]
        with tempfile.TemporaryDirectory() as folder:
            child = os.fork()
            if not child:
                measure(kind, Path(folder), given.seconds, rates, given.after)
                sys.stdout.flush()
                os._exit(0)
            os.waitpid(child, 0)


if __name__ == "__main__":
    main()
