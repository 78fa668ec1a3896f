"""What metrics cost: beside the forward passes of a mini run, and on 50,000 rows of 100 classes.

Give the output folder of `mubench run cifar100 --mini` to measure on its original; otherwise one is trained. Names of
metrics after it choose what is timed on many rows. Every metric of the registry is in the table, with inputs made from
what `mubench_hf/metrics/parameters.py` says of them.
"""

from __future__ import annotations

import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mubench_hf.commands._data import be_quiet
from mubench_hf.metrics import METRICS, Metric, metrics_by_score
from mubench_hf.metrics.parameters import legal_parameters, outputs_of
from mubench_hf.runs.choice import ALL, choose
from mubench_hf.runs.scores import score

ROWS, CLASSES, LIMIT, SHARE = 50_000, 100, 2.0, 0.15
SIZES = {"C": CLASSES, "positions": 100, "d": 512, "models": 20, "answers": 5, "times": 5, "timesteps": 5, "layers": 12}
"""Letters and words in shapes → size; any other is a number of rows."""

FEWER = {"d": 5_000, "str": 5_000}
"""Rows where it is not logits that are read: of features, whose covariance is what takes time, and of texts."""


def main() -> None:
    """Print both tables."""
    be_quiet()
    with tempfile.TemporaryDirectory() as folder:
        beside_forward_passes(sys.argv[1] if len(sys.argv) > 1 else folder)
    on_many_rows(sys.argv[2:] or METRICS.keys())


def beside_forward_passes(out: str) -> None:
    """Time the scores of a mini run against the forward passes that they are computed from, in turn."""
    import torch

    from mubench_hf.kinds.measures import get_measure
    from mubench_hf.models.device import exact_arithmetic
    from mubench_hf.models.loading import load_model
    from mubench_hf.runs.pipeline import Pipeline
    from mubench_hf.runs.store import load_results
    from mubench_hf.runs.train import load_rows
    from mubench_hf.utils.progress import RunProgress

    there = [result.seed for result in load_results(out)] if _holds_results(out) else []
    seed = there[0] if there else 1
    pipeline = Pipeline("cifar100", variant="mini", out=out, methods=(), seeds=(seed,), use_cpu=True)
    pipeline.run(RunProgress(quiet=True))
    setup, data = pipeline.setup, load_rows(pipeline.setup)
    model = load_model(setup.checkpoint(setup.original(seed).name), setup.model.architecture.auto_class)
    measure = get_measure(setup.task.kind)
    outputs = measure.measure(model, data, seed, wanted=choose(setup.task.metrics, [ALL]).arrays("finetune"))
    retrained = {f"retrain_{name}": value for name, value in outputs.items()}
    own, _ = score(outputs, metrics=setup.task.metrics, method="retrain", seed=seed, asked=[ALL])
    given: dict[str, Any] = {"original": own, "retrain": own, "sources": {outputs_of("retrain"): lambda: retrained}}

    def scored(asked: list[str]) -> None:
        score(outputs, metrics=setup.task.metrics, method="finetune", seed=seed, asked=asked, **given)

    with exact_arithmetic(torch.device("cpu"), 1):
        passes, default, every = in_turn(
            lambda: measure.measure(model, data, seed, wanted=()), lambda: scored([]), lambda: scored([ALL])
        )
    epochs = setup.task.source("mini").presets["finetune"]["num_train_epochs"]
    rows = sum(len(data.splits[split]) for split in ("forget", "retain", "test"))
    whole = passes * (1 + epochs * len(data.splits["retain"]) / rows)
    print("| One run of cifar100-mini | CPU ms | Of its evaluation | Of the whole run |\n|---|---:|---:|---:|")
    parts = {
        "forward passes of its evaluation": passes,
        "and of its training, at the same time a row (fine-tuning)": whole,
        "the default metrics": default,
        "all metrics": every,
    }
    for name, seconds in parts.items():
        print(f"| {name} | {1e3 * seconds:.0f} | {seconds / passes:.1%} | {seconds / whole:.1%} |")
    for name, base in (("evaluation", passes), ("the whole run", whole)):
        verdict = "yes" if default <= SHARE * base else "no"
        print(f"\nAt most {SHARE:.0%} of the forward passes of {name} for the default metrics: {verdict}.")
    print()


def _holds_results(out: str) -> bool:
    return any(Path(out, "results").glob("*.json"))


def in_turn(*calls: Callable[[], object], rounds: int = 5) -> list[float]:
    """Return the median CPU seconds of each call, made in turn, after one round that warms up."""
    seconds: list[list[float]] = [[] for _ in calls]
    for number in range(rounds + 1):
        for call, found in zip(calls, seconds, strict=True):
            start = time.process_time()
            call()
            if number:
                found.append(time.process_time() - start)
    return [statistics.median(each) for each in seconds]


def on_many_rows(keys: Iterable[str]) -> None:
    """Time metrics on 50,000 rows a split."""
    print(f"| Metric | CPU s on {ROWS:,} x {CLASSES} | |\n|---|---:|---|")
    rng, kept = np.random.default_rng(0), {}
    for metric in map(METRICS.get, keys):
        try:
            arguments = {name: _made(name, rng, kept) for name, needed in metric.parameters.items() if needed}
            arguments |= _instead(metric, rng, kept)
            if any("logits" in name for name in arguments):  # Texts beside them: one for each row.
                texts = {name: value for name, value in arguments.items() if np.asarray(value).dtype.kind == "U"}
                arguments |= {name: np.resize(value, ROWS) for name, value in texts.items() if np.ndim(value)}
            start = time.process_time()
            metric.compute(**arguments)
        except (ValueError, KeyError) as error:
            print(f"| `{metric.key}` | – | not measured: {error} |")
            continue
        seconds = time.process_time() - start
        print(f"| `{metric.key}` | {seconds:.2f} | {', '.join(_remarks(metric, arguments, seconds))} |", flush=True)


def _instead(metric: Metric, rng: np.random.Generator, kept: dict[str, Any]) -> dict[str, Any]:
    """Return logits of the untrained model for a metric that can do without them, and then has nothing to do."""
    optional = [name for name, needed in metric.parameters.items() if not needed and name.endswith("_logits")]
    return {name: _made(name, rng, kept) for name in optional}


def _remarks(metric: Metric, arguments: Mapping[str, Any], seconds: float) -> Iterator[str]:
    rows = {max(np.shape(value)) for value in arguments.values() if np.ndim(value)}
    if rows and max(rows) < ROWS:
        yield f"{max(rows):,} rows"
    capped = "max_fit_rows" in str(metric.declared)
    if capped:
        yield "fitted on at most 10,000 rows a side, its own cap"
    if not rows:
        yield "reads scores alone"
    elif seconds >= LIMIT and not capped:
        yield f"MISSED: more than {LIMIT:.0f} s"


def _made(name: str, rng: np.random.Generator, kept: dict[str, Any]) -> Any:
    """Return made-up values for a parameter, by its type, its shape and what its name says of its range."""
    if name in kept:
        return kept[name]
    parameter = legal_parameters(metrics_by_score())[name]
    if name == "seed":
        return 0
    if name == "method":
        return "finetune"
    if not (found := re.match(r"(\w+) \[([^\]]+)\]", parameter.kind)):
        return 0.5
    kind, dims = found[1], [each.strip() for each in found[2].split(",")]
    rows = next((FEWER[each] for each in (kind, *dims) if each in FEWER), ROWS)
    if name.startswith("weights_from"):
        return np.tile([1.0, 2.0, 2.5], (SIZES["layers"], 1))
    shape = tuple(SIZES.get(each, rows) for each in dims)
    kept[name] = _values(name, kind, shape, parameter.kind, rng)
    return kept[name]


def _values(name: str, kind: str, shape: tuple[int, ...], text: str, rng: np.random.Generator) -> np.ndarray:
    if kind == "str":
        words = [f"word{number}" for number in range(200)]
        return rng.choice([" ".join(rng.choice(words, 20)) for _ in range(1000)], shape[0])
    if kind == "bool":
        return np.full(shape, name.startswith("unlearned"))
    if kind == "int":
        # The same in each split and run, as they are of the same rows; half of the tokens are right.
        labels = np.random.default_rng(1).integers(CLASSES, size=shape)
        return np.where(rng.random(shape) < 0.5, labels, (labels + 1) % CLASSES) if "predicted" in name else labels
    values = rng.normal(size=shape).astype(np.float32)
    if name.endswith("logits"):
        values[np.arange(shape[0]), np.random.default_rng(1).integers(CLASSES, size=shape[0])] += 3
    if "in [0, 1]" in text:
        return rng.random(shape)
    if re.search("log_probs$|log_prob_means$", name):
        return -np.abs(values)
    return np.abs(values) if re.search("stds$|norms$|errors$", name) else values


if __name__ == "__main__":
    main()
