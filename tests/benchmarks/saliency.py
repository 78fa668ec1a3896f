"""SalUn's mask by counting bits, against the common two full argsorts and one ``kthvalue``: time and memory."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from mubench_hf.trainers._saliency import saliency_masks

SIZES = (5_000_000, 25_000_000, 100_000_000)
TENSORS, DENSITY = 20, 0.5


def counted(gradients: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Find the threshold from histograms of bits, tensor by tensor."""
    return saliency_masks(gradients, DENSITY)


def two_sorts(gradients: dict[str, torch.Tensor]) -> torch.Tensor:
    """Rank every weight by sorting twice, and take those of high rank."""
    size = torch.cat([gradient.abs().flatten() for gradient in gradients.values()])
    rank = torch.argsort(torch.argsort(size, descending=True))
    return rank < round(DENSITY * len(size))


def kthvalue(gradients: dict[str, torch.Tensor]) -> torch.Tensor:
    """Find the threshold by one selection over all weights at once."""
    size = torch.cat([gradient.abs().flatten() for gradient in gradients.values()])
    return size > size.kthvalue(len(size) - round(DENSITY * len(size))).values


WAYS: dict[str, Callable[[dict[str, torch.Tensor]], object]] = {
    "counted": counted,
    "two sorts": two_sorts,
    "kthvalue": kthvalue,
}


def drawn(size: int) -> dict[str, torch.Tensor]:
    """Return random gradients of one size."""
    torch.manual_seed(0)
    return {str(number): torch.randn(size // TENSORS) for number in range(TENSORS)}


def peak(way: str, size: int) -> float:
    """Return the bytes a weight that a way takes at most, its result included and the gradients not; Linux only."""
    code = (
        "import torch; from pathlib import Path; torch.set_num_threads(1)\n"
        "from tests.benchmarks.saliency import WAYS, drawn, resident\n"
        "WAYS['counted'](drawn(1000)); "
        f"gradients = drawn({size}); Path('/proc/self/clear_refs').write_text('5'); before = resident('VmRSS')\n"
        f"kept = WAYS[{way!r}](gradients); print(resident('VmHWM') - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return int(done.stdout) * 1024 / size


def resident(which: str) -> int:
    """Return the resident memory of this process, now or at most, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(which))


def main(sizes: tuple[int, ...]) -> None:
    """Time the ways in turn on each size, with one thread."""
    torch.set_num_threads(1)
    for size in sizes:
        gradients = drawn(size)
        masks = torch.cat([mask.flatten() for mask in counted(gradients).values()])
        if not masks.equal(two_sorts(gradients)):
            raise SystemExit("the masks differ")
        rounds = 5 if size <= 5_000_000 else 3
        times: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way, make in WAYS.items():
                start = time.process_time()
                make(gradients)
                times[way].append(time.process_time() - start)
        del gradients
        median = {way: statistics.median(found) for way, found in times.items()}
        ratio = statistics.median(b / a for a, b in zip(times["counted"], times["two sorts"], strict=True))
        line = ", ".join(f"{way} {median[way]:.2f} s and {peak(way, size):.1f} bytes a weight" for way in WAYS)
        print(f"{size:,} weights: {ratio:.1f} times as fast as two sorts ({line})", flush=True)


if __name__ == "__main__":
    main(tuple(map(int, sys.argv[1:])) or SIZES)
