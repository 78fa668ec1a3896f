"""SalUn's mask: the largest gradients by one selection, against the common two full argsorts."""

from __future__ import annotations

import torch
from _pairs import compare

from mubench_hf.trainers.salun import saliency_masks

SIZES = (100_000, 5_000_000)


def two_sorts(gradient: torch.Tensor, density: float) -> torch.Tensor:
    """Rank every weight by sorting twice, and take those of high rank."""
    order = torch.argsort(gradient.abs(), descending=True)
    rank = torch.argsort(order)
    return rank < round(density * len(gradient))


if __name__ == "__main__":
    torch.manual_seed(0)
    for size in SIZES:
        gradient = torch.randn(size)
        ours = saliency_masks({"weight": gradient}, 0.5)["weight"]
        if not ours.equal(two_sorts(gradient, 0.5)):
            raise SystemExit("the two masks differ")
        compare(
            f"{size:,} weights",
            lambda gradient=gradient: saliency_masks({"weight": gradient}, 0.5),
            lambda gradient=gradient: two_sorts(gradient, 0.5),
        )
