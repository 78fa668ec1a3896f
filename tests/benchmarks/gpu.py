"""Everything that is measured on a GPU, in one run of at most ten minutes: ``python -m tests.benchmarks.gpu``.

Evaluation, every method against a plain ``Trainer`` at full size, LoRA on 7 B weights, saliency selection. Each section
is a process of its own with a time limit, and what it finds is written at once, a JSON line for each row, so a
section that fails takes no other one with it. Models have random weights and rows are made in memory. Without a GPU,
``--device cpu --tiny`` runs the same code on small models.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import torch
import transformers
from _gpu_sections import data_path, evaluation, fsdp, lora, methods_of, selection

SECTIONS: dict[str, tuple[Any, int]] = {
    "evaluation": (evaluation, 40),
    "vit": (methods_of("vit"), 120),
    "lora": (lora, 90),
    "t5": (methods_of("t5"), 80),
    "bert": (methods_of("bert"), 80),
    "wav2vec2": (methods_of("wav2vec2"), 80),
    "videomae": (methods_of("videomae"), 100),
    "data_path": (data_path, 60),
    "selection": (selection, 30),
    "fsdp": (fsdp, 40),
}
"""Name → a section and the most seconds that it may take, in the order of their worth."""


FORK = multiprocessing.get_context("fork")
"""Sections are forked from this process, which has done the imports and never opens the GPU itself."""


def run_section(name: str, device: str, tiny: bool, out: Path) -> None:
    """Run one section and append what it finds to a file."""
    transformers.utils.logging.set_verbosity_error()
    try:
        for found in SECTIONS[name][0](torch.device(device), tiny):
            _write(out, {"section": name, **found})
    except Exception as error:
        _write(out, {"section": name, "failed": f"{type(error).__name__}: {str(error)[:300]}"})
        raise


def _write(out: Path, found: dict[str, Any]) -> None:
    line = json.dumps(found)
    with out.open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")
    print(line, flush=True)


def hardware() -> dict[str, Any]:
    """Return what the figures are measured on; ``device`` is ``cpu`` without a GPU."""
    from importlib.metadata import version

    names = ("torch", "transformers", "accelerate", "peft")
    # In a process of its own: one that has opened the GPU can start no section.
    with FORK.Pool(1) as pool:
        return {**pool.apply(_device), "cores": os.cpu_count(), **{name: version(name) for name in names}}


def _device() -> dict[str, Any]:
    if not torch.cuda.is_available():
        return {"device": "cpu"}
    properties = torch.cuda.get_device_properties(0)
    return {"device": properties.name, "memory GiB": round(properties.total_memory / 2**30, 1)}


def main() -> None:
    """Run the sections in turn.

    Raises:
        SystemExit: With code 2 without a GPU, with code 1 if a section failed.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small models and rows, to see that the code runs")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--seconds", type=float, default=600, help="no section starts or goes on after this long")
    parser.add_argument("--out", type=Path, default=Path("test-output/gpu.jsonl"), help="file that gets the results")
    given = parser.parse_args()
    begun = time.monotonic()
    found = hardware()
    if given.device == "cuda" and found["device"] == "cpu":
        print("torch sees no GPU. `--device cpu --tiny` runs the same code on small models.", file=sys.stderr)
        raise SystemExit(2)
    if given.device == "cpu" and not given.tiny:
        print("Models of full size take hours on a CPU. Add --tiny.", file=sys.stderr)
        raise SystemExit(2)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.unlink(missing_ok=True)
    _write(given.out, {"section": "hardware", **found})
    failed = []
    for name in given.sections:
        left = given.seconds - (time.monotonic() - begun)
        if left < 10:
            _write(given.out, {"section": name, "failed": "not run: no time was left"})
            continue
        start = time.monotonic()
        process = FORK.Process(target=run_section, args=(name, given.device, given.tiny, given.out))
        process.start()
        process.join(min(left, SECTIONS[name][1]))
        if process.is_alive():
            process.kill()
            process.join()
            _write(given.out, {"section": name, "failed": "stopped: it ran past its time"})
        if process.exitcode:
            failed.append(name)
        _write(given.out, {"section": name, "seconds": round(time.monotonic() - start, 1)})
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
