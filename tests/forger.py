"""Whole submissions without any training: outputs drawn at random for the data set's rows, and the scores they give."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from mubench_hf.data.build import build
from mubench_hf.data.loading import load_manifest, load_split
from mubench_hf.leaderboard import read_folder
from mubench_hf.leaderboard.folders import MANIFEST, SUBMISSIONS
from mubench_hf.leaderboard.submission import manifest_of, submission_bundle
from mubench_hf.runs.result import RunResult
from mubench_hf.runs.scores import SPLITS, score
from mubench_hf.runs.store import load_logits, load_result, save_logits, save_result
from mubench_hf.tasks import get_task

SECONDS = ("unlearn_seconds", "compute_seconds")


def submission(out: Path, methods=("finetune",), seeds=(42, 87, 21)) -> Path:
    """Write data set and results of made-up runs on the cifar100 mini data, as a whole run leaves them."""
    task, rng = get_task("cifar100"), np.random.default_rng()
    build(task, variant="mini", out=out, progress=False)
    manifest, splits = load_manifest(task, variant="mini", out=out), load_split(task, variant="mini", ratio=5, out=out)
    labels = {name: np.asarray(splits[name]["label"])[np.argsort(splits[name]["index"])] for name in SPLITS}
    untrained = {seed: rng.normal(size=(len(labels["forget"]), 10)).astype(np.float32) for seed in seeds}
    runs = product(("original", "retrain", *methods), seeds)
    for method, seed in runs:
        outputs = {"chance": np.float64(0.1), "incompetent_forget_logits": untrained[seed]}
        for name, true in labels.items():
            logits = rng.normal(size=(len(true), 10)) + 2 * np.eye(10)[true]
            outputs |= {f"{name}_logits": logits.astype(np.float32), f"{name}_labels": true}
        run = RunResult(
            task="cifar100", variant="mini", model="vit-tiny", method=method, del_ratio=5, seed=seed, status="ok",
            scores={time: None if method == "original" else 10 * rng.random() for time in SECONDS},
            reasons=dict.fromkeys(SECONDS, "the original unlearns nothing") if method == "original" else {},
            cost={"busy": 0.5},
            data_fingerprint=manifest["fingerprint"], deletion_sha256=manifest["deletion_list"]["sha256"],
            base_model=None if method == "original" else f"mubench/cifar100-mini-vit-tiny-original-s{seed}",
            base_revision=None if method == "original" else f"{seed:064x}",
        )  # fmt: skip
        cost = {} if method == "original" else {**run.cost, "cpu_seconds": run.scores["compute_seconds"]}
        save_result(replace(run, cost=cost), out / "results")
        save_logits(run.name, out / "results", outputs)
    rescore_all(out)
    return out


def rescore_all(out: Path) -> None:
    """State what the outputs give, as somebody would who forges consistently."""
    files = sorted((out / "results").glob("*.json"))
    order = sorted(files, key=lambda file: ("-original-" not in file.name, "-retrain-" not in file.name))
    for file in (*order, *(file for file in order if "-original-" in file.name)):
        run, references = load_result(file), {}
        for name in ("original", "retrain"):
            found = [load_result(other) for other in files if f"-{name}-" in other.name]
            references[name] = next((other.scores for other in found if other.seed == run.seed), None)
        scores, reasons = score(
            load_logits(run.name, file.parent), metrics=("accuracy",), method=run.method, seed=run.seed,
            **dict(zip(("seconds", "compute_seconds"), map(run.scores.get, SECONDS), strict=True)), **references,
        )  # fmt: skip
        save_result(RunResult(**{**vars(run), "scores": scores, "reasons": reasons}), file.parent)


def added(board: Path, run: Path, references: str | None = None) -> str:
    """Put what an output folder submits into a results data set, and return the submission's id."""
    bundle = submission_bundle(read_folder(run).entries, "mubench/results", references)
    for path, file in bundle.files.items():
        place = board / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file if isinstance(file, bytes) else file.read_bytes())
    return manifest_of(read_folder(run).entries, references).id


def flat(board: Path, run: Path) -> None:
    """Put an output folder's files where earlier versions put them."""
    bundle = submission_bundle(read_folder(run).entries, "mubench/results")
    for path, file in bundle.files.items():
        if path.startswith(SUBMISSIONS) and not path.endswith(MANIFEST):
            place = board.joinpath(*path.split("/")[2:])
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file if isinstance(file, bytes) else file.read_bytes())
