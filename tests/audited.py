"""A tiny task in memory, with models that know its rows, for tests of audits."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import ViTConfig, ViTForImageClassification, default_data_collator

from mubench_hf.data.prepare import TaskData
from mubench_hf.tasks import get_task

CLASSES = 3
VIT = {
    "image_size": 4,
    "patch_size": 4,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "num_labels": CLASSES,
}


class Rows(Dataset):
    """Prepared rows: random images, whose labels say nothing of them, so that they can only be memorised."""

    def __init__(self, rng, count, first=0, classes=CLASSES):
        self.index = np.arange(first, first + count)
        self.labels = rng.integers(0, classes, count)
        self.pixels = torch.from_numpy(rng.normal(size=(count, 3, 4, 4)).astype("f4"))

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, place):
        return {"pixel_values": self.pixels[place], "labels": int(self.labels[place])}


def tiny_data(rng, *, forget=20, retain=40, test=30) -> TaskData:
    """Return rows of three classes."""
    splits = {"forget": Rows(rng, forget), "retain": Rows(rng, retain, forget), "test": Rows(rng, test)}
    manifest = {"fingerprint": "f" * 64, "deletion_list": {"sha256": "d" * 64}}
    names = tuple(map(str, range(CLASSES)))
    saved = SimpleNamespace(save_pretrained=lambda *args, **kwargs: None)
    return TaskData(get_task("cifar100"), "mini", 5, splits, manifest, names, saved, default_data_collator, Path("."))


def tiny_model(seed=0) -> ViTForImageClassification:
    """Return an untrained classifier."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ViTForImageClassification(ViTConfig(**VIT)).eval()


def memorised(model, parts, steps=60):
    """Return a model, trained in place on all rows of some splits until it knows them by heart."""
    pixels = torch.cat([part.pixels for part in parts])
    labels = torch.from_numpy(np.concatenate([part.labels for part in parts]))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(pixel_values=pixels).logits, labels).backward()
        optimizer.step()
    return model.eval()
