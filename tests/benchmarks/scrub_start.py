"""How much SCRUB's scores hang on rounding, for each start: of weights, in a processor's instructions, in processes.

Each cell starts from the seed's original of a finished run of ``mubench run TASK --mini --out OUT``, and is scored as
that run was. What it is compared with is ``authors`` over the same changes of the weights.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

STARTS = ("authors", "still", "labels")
INSTRUCTIONS = {
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "sse": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
}
"""Sets of instructions beside the processor's own, as the environment chooses them."""

SCORES = ("forget_accuracy", "retain_accuracy", "test_accuracy", "average_gap")


def cells(out: Path, task: str, starts: list[str], noises: list[int], seed: int) -> None:
    """Print one JSON line per start and noise: its scores, and how far its weights went."""
    import torch
    from transformers import PrinterCallback
    from transformers.utils import logging

    from mubench_hf.kinds.measures import get_measure
    from mubench_hf.models.loading import load_model
    from mubench_hf.runs.plan import find_original, preset
    from mubench_hf.runs.scores import score
    from mubench_hf.runs.setup import make_setup
    from mubench_hf.runs.store import load_result
    from mubench_hf.runs.train import load_rows
    from mubench_hf.runs.updates import divided
    from mubench_hf.trainers import get_method

    logging.disable_progress_bar()
    setup = make_setup(task, variant="mini", out=out)
    data, scrub, start_of = load_rows(setup), get_method("scrub"), find_original(setup, seed)
    world = int(os.environ.get("WORLD_SIZE", 1))
    settings = divided(preset(setup, "scrub", start_of), scrub.config_class, world)
    names = {
        name: f"{setup.original(seed).table_name}-{name}-df{data.ratio}pct-s{seed}" for name in ("original", "retrain")
    }
    references = {name: load_result(setup.results / f"{stem}.json").scores for name, stem in names.items()}
    for start in starts:
        for noise in noises:
            model = load_model(start_of, setup.model.architecture.auto_class)
            torch.manual_seed(noise)
            with torch.no_grad():
                for weight in model.parameters():
                    weight.mul_(1 + 1e-7 * torch.randn_like(weight) * (noise > 0))
            before = [weight.detach().clone() for weight in model.parameters()]
            with tempfile.TemporaryDirectory() as folder:
                args = scrub.config_class(folder, seed=seed, start=start, use_cpu=True, disable_tqdm=True,
                                          **{**settings, "save_strategy": "no", "logging_strategy": "no"})  # fmt: skip
                trainer = scrub(model, args, forget_dataset=data.splits["forget"], retain_dataset=data.splits["retain"],
                                data_collator=data.collator, processing_class=data.processor)  # fmt: skip
                trainer.remove_callback(PrinterCallback)
                trainer.train()
            if int(os.environ.get("RANK", 0)):
                continue
            outputs = get_measure(data.task.kind).measure(model, data, seed)
            found, _ = score(outputs, metrics=data.task.metrics, method="scrub", seed=seed,
                             seconds=trainer.unlearn_seconds, **references)  # fmt: skip
            change = [weight.detach() - old for weight, old in zip(model.parameters(), before, strict=True)]
            vector = torch.cat([each.flatten() for each in change])[:: max(1, sum(e.numel() for e in change) // 5000)]
            scores = {name: found[name] for name in SCORES if found.get(name) is not None}
            print(
                "CELL " + json.dumps({"start": start, "noise": noise, "scores": scores, "change": vector.tolist()}),
                flush=True,
            )


def launched(given: argparse.Namespace, noises: list[int], processes: int = 1, **environment: str) -> list[dict]:
    """Return the cells that processes of their own make."""
    asked = [sys.executable, "-m", "tests.benchmarks.scrub_start", str(given.out), "--task", given.task, "--seed",
             str(given.seed), "--noises", *map(str, noises), "--cells"]  # fmt: skip
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    several = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
               "LOCAL_WORLD_SIZE": str(processes), "ACCELERATE_USE_CPU": "true"}  # fmt: skip
    base = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    started = [
        subprocess.Popen(
            asked,
            env={**base, **({**several, "RANK": str(rank), "LOCAL_RANK": str(rank)} if processes > 1 else {})},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    said = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit("a process failed")
    return [json.loads(line[5:]) for line in said[0].splitlines() if line.startswith("CELL ")]


def apart(one: list[float], other: list[float]) -> float:
    """Return the length of the difference of two weight changes, as a share of the first's."""
    size = sum(value**2 for value in one) ** 0.5
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5 / size if size else 0.0


def main() -> None:
    """Make all cells and print a table for each kind of change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="Output folder of a finished `mubench run TASK --mini`.")
    parser.add_argument("--task", default="cifar100")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument(
        "--noises",
        nargs="+",
        type=int,
        default=list(range(8)),
        help="Seeds of the changes; 0 is none, and must be there.",
    )
    parser.add_argument("--cells", action="store_true", help="Only make cells, in this process.")
    given = parser.parse_args()
    if given.cells:
        cells(given.out, given.task, list(STARTS), given.noises, given.seed)
        return
    with ThreadPoolExecutor() as pool:
        noisy = pool.submit(launched, given, given.noises)
        instructed = [pool.submit(launched, given, [0], **environment) for environment in INSTRUCTIONS.values()]
        paired = pool.submit(launched, given, [0], processes=2)
    alone = [cell for cell in noisy.result() if cell["noise"] == 0]
    found = {
        "weights changed by 1e-7": noisy.result(),
        "sets of instructions": alone + [cell for each in instructed for cell in each.result()],
        "1 and 2 processes": alone + paired.result(),
    }
    for change, made in found.items():
        print(f"\n{change}: mean and (largest - least) over the cells\n")
        names = [name for name in SCORES if name in made[0]["scores"]]
        print(
            "| start | cells | "
            + " | ".join(names)
            + " | weight changes differ by |\n"
            + "|---" * (len(names) + 3)
            + "|"
        )
        for start in STARTS:
            mine = [cell for cell in made if cell["start"] == start]
            values = {name: [cell["scores"][name] for cell in mine] for name in names}
            shown = [f"{statistics.mean(each):.4f} ({max(each) - min(each):.4f})" for each in values.values()]
            differ = max(apart(mine[0]["change"], cell["change"]) for cell in mine)
            print(f"| {start} | {len(mine)} | " + " | ".join(shown) + f" | {differ:.1%} |", flush=True)


if __name__ == "__main__":
    main()
