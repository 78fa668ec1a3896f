"""Losses over token logits: in chunks of scored positions against whole logits, in CPU seconds, memory and error.

Each way runs in processes of its own, in turn; peak memory is what such a process needed beside the logits, and for
those with a gradient beside that one, too. Errors are the largest ones per scored token, from double precision.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
from collections.abc import Callable

import torch
from torch import Tensor

from mubench_hf.kinds import _losses
from mubench_hf.kinds._losses import row_cross_entropy, row_js, row_kl

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
LOSSES: dict[str, tuple[Loss, bool]] = {
    "KL, T = 4, with gradient": (lambda one, other, labels: row_kl(one, other, 4.0, labels), True),
    "KL, T = 4": (lambda one, other, labels: row_kl(one, other, 4.0, labels), False),
    "JS": (row_js, False),
    "cross-entropy with gradient": (lambda one, other, labels: row_cross_entropy(other, labels), True),
    "log-likelihood": (lambda one, other, labels: -row_cross_entropy(other, labels), False),
}


def drawn(shape: tuple[int, int, int], scored: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return two models' logits, the second near the first, and labels, a share of which are scored."""
    torch.manual_seed(0)
    one = torch.empty(shape).normal_(0, 3)
    other = one + torch.empty(shape).normal_(0, 0.3)
    labels = torch.randint(shape[2], shape[:2])
    return one, other, labels.masked_fill(torch.rand(shape[:2]) >= scored, _losses.IGNORED)


def measured(loss: Loss, slope: bool, whole: bool, given: tuple[Tensor, Tensor, Tensor]) -> tuple:
    """Return CPU seconds, peak bytes beside inputs and gradient, the values per token, and some of the slopes."""
    _losses.WHOLE_BYTES = 1 << 60 if whole else 0
    one, other, labels = given
    if slope:
        other = other.detach().requires_grad_()
    before = resource.getrusage(resource.RUSAGE_SELF)
    found = loss(one, other, labels)
    if slope:
        found.mean().backward()
    after = resource.getrusage(resource.RUSAGE_SELF)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    extra = 1024 * (after.ru_maxrss - before.ru_maxrss) - (4 * other.numel() if slope else 0)
    part = other.grad[0, :, ::997].clone().numpy() if slope else None
    return seconds, max(0, extra), found.detach().numpy(), part


def exact(loss: Loss, given: tuple[Tensor, Tensor, Tensor]) -> float:
    """Return the first row's value from double precision, a few positions at a time."""
    _losses.WHOLE_BYTES, single, total = 1 << 60, Tensor.float, 0.0
    Tensor.float = Tensor.double
    try:
        for start in range(0, given[2].shape[1], 8):
            part = [tensor[:1, start : start + 8] for tensor in given]
            total += loss(*part).item() * int((part[2] != _losses.IGNORED).sum())
    finally:
        Tensor.float = single
    return total / int((given[2][0] != _losses.IGNORED).sum())


def main() -> None:
    """Measure every loss both ways and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4, help="32 needs 16 GiB.")
    parser.add_argument("--positions", type=int, default=448)
    parser.add_argument("--tokens", type=int, default=32_000)
    parser.add_argument("--scored", type=float, default=1.0, help="Share of positions that are scored.")
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    shape = (asked.rows, asked.positions, asked.tokens)
    given = drawn(shape, asked.scored)
    print(f"{shape[0]} x {shape[1]} x {shape[2]:,}, {asked.scored:.0%} of positions scored, one thread\n")
    columns = ("loss", "CPU s whole", "in chunks", "ratio", "GiB whole", "in chunks", "error whole", "in chunks")
    print("| " + " | ".join((*columns, "slopes differ")) + " |\n" + "|---" * 9 + "|")
    forked = multiprocessing.get_context("fork")
    for name, (loss, slope) in LOSSES.items():
        found: dict[bool, list[tuple]] = {True: [], False: []}
        for _ in range(asked.repeats):
            for whole in (True, False):
                receives, sends = forked.Pipe(False)
                child = forked.Process(target=lambda: sends.send(measured(loss, slope, whole, given)))  # noqa: B023
                child.start()
                found[whole].append(receives.recv())
                child.join()
        whole, chunked = found[True], found[False]
        ratio = statistics.median(ours[0] / other[0] for ours, other in zip(chunked, whole, strict=True))
        seconds = [statistics.median(each[0] for each in way) for way in (whole, chunked)]
        memory = [max(each[1] for each in way) / 2**30 for way in (whole, chunked)]
        truth = exact(loss, given)
        errors = [abs(float(way[0][2][0]) - truth) for way in (whole, chunked)]
        slopes = f"{abs(whole[0][3] - chunked[0][3]).max():.1e}" if slope else "–"
        print(
            f"| {name} | {seconds[0]:.2f} | {seconds[1]:.2f} | {ratio:.2f} | {memory[0]:.2f} | {memory[1]:.2f} "
            f"| {errors[0]:.1e} | {errors[1]:.1e} | {slopes} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
