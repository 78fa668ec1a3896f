"""Runs that never ran: records, results and checkpoints with random numbers, for tests of what is published."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import numpy as np

from mubench_hf.runs.record import RunId, RunRecord, tag_of
from mubench_hf.runs.result import RunResult
from mubench_hf.runs.store import save_logits, save_result
from mubench_hf.tasks import get_task


def made_up(method="scrub", task="cifar100", variant="mini", model=None, **fields):
    """Return a record and a result with random scores, one of them missing."""
    draw, spec = random.Random().random, get_task(task)
    model = model or spec.source(variant).default_model
    tag = tag_of({}, fields.get("external", {}))
    run = RunId(task, variant, model, method, None if method == "original" else 5, 42, tag)
    base = None if method == "original" else f"mubench/{run.table_name}-original-s42"
    shared = {"config": {"learning_rate": 1e-05, "hub_note": "a | b"}, "base_model": base,
              "base_revision": base and "f" * 64, "data_fingerprint": "a" * 64, "deletion_sha256": "b" * 64,
              "status": "ok", "status_reason": None} | fields  # fmt: skip
    record = RunRecord(run, seconds=draw() * 1e-4, hardware={"device": "cpu"}, versions={"torch": "2.13.0"}, **shared)
    scores = {f"{split}_{spec.metric}": draw() for split in ("test", "forget", "retain")}
    scores |= {"zrf": draw(), "unlearn_seconds": draw() * 1e-6, "retrain_time_ratio": None}
    names = {name: value for name, value in dataclasses.asdict(run.at(5)).items() if name != "tag"}
    reasons = {"retrain_time_ratio": "needs the | retrained model"}
    return record, RunResult(**names, scores=scores, reasons=reasons, **shared)


def weights(seed: float = 0) -> bytes:
    """Return a file in the safetensors format."""
    from safetensors.numpy import save

    return save({"weight": np.full(7, seed, dtype=np.float32)})


def checkpoint(out: Path, method: str = "scrub", **fields: Any) -> tuple[Path, RunRecord, RunResult]:
    """Write a run's checkpoint, result and outputs under ``out`` as the benchmark does."""
    record, result = made_up(method, **fields)
    folder = out / "mubench" / record.run.checkpoint_name
    folder.mkdir(parents=True)
    record.save(folder)
    (folder / "config.json").write_text('{"model_type": "vit"}')
    (folder / "model.safetensors").write_bytes(weights(random.random()))
    (folder / "preprocessor_config.json").write_text("{}")
    save_result(result, out / "results")
    arrays = {f"{split}_logits": np.zeros((2, 3), np.float32) for split in ("forget", "retain", "test")}
    arrays |= {f"{split}_labels": np.zeros(2, np.int64) for split in ("forget", "retain", "test")}
    save_logits(result.name, out / "results", {**arrays, "chance": np.float64(1 / 3)})
    return folder, record, result


def table(
    folder: Path,
    task="cifar100",
    variant="mini",
    methods=("original", "retrain", "finetune", "scrub"),
    seeds=(42, 87, 21),
    **fields,
) -> list[RunResult]:
    """Write a table's results with random scores into a folder and return them."""
    draw, spec, results = random.Random().random, get_task(task), []
    shared = {"model": spec.source(variant).default_model, "del_ratio": 5, "status": "ok",
              "data_fingerprint": "a" * 64, "deletion_sha256": "b" * 64} | fields  # fmt: skip
    keys = [f"{split}_{metric}" for metric in spec.metrics for split in ("test", "forget", "retain")]
    for method in methods:
        for seed in seeds:
            scores = {key: draw() for key in (*keys, "mia_confidence_svc", "mia_loss_auc", "zrf", "average_gap")}
            scores |= {"unlearn_seconds": 10 * draw(), "retrain_time_ratio": draw(), "knowledge_gap": None}
            reasons = {"knowledge_gap": "not asked for"}
            run = RunResult(
                task=task, variant=variant, method=method, seed=seed, scores=scores, reasons=reasons, **shared
            )
            save_result(run, folder)
            results.append(run)
    return results
