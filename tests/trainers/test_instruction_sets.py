"""Which methods' weights and scores depend on the instructions that a processor happens to have: none but SCRUB's.

Matrix products round otherwise in SSE than in AVX-512. A method that follows a slope carries that on, in the sixth
digit; SCRUB's first max pass has no slope and follows the rounding itself, unless ``start`` says otherwise.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from methods import methods_for
from safetensors.torch import load_file

from mubench_hf.runs.cost import TIMES

TASK = f"{Path(__file__).parents[1] / 'sweep_task.py'}:TASK"

SSE = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}

MAKE = """
import sys
from mubench_hf.runs.pipeline import Pipeline
from mubench_hf.utils.progress import RunProgress
_, task, out, start, *methods = sys.argv
pipeline = Pipeline(task, variant="mini", out=out, methods=methods, seeds=[3], use_cpu=True)
pipeline.run(RunProgress(quiet=True))
pipeline.methods, pipeline.settings = ["scrub"], {"scrub": {"start": start}}
pipeline.run(RunProgress(quiet=True))
"""

OF_WEIGHTS, OF_SCORES = 2e-3, 0.02
"""How far two processors may be apart: as a share of how far the weights went, and in a score (one row of 50)."""


def weights(folder: Path) -> torch.Tensor:
    return torch.cat([value.flatten().double() for _, value in sorted(load_file(folder / "model.safetensors").items())])


@pytest.mark.slow
def test_only_scrubs_usual_start_depends_on_the_instruction_set(
    tmp_path, offline_env, brought_is_forgotten, monkeypatch
):
    made = {}
    for name, instructions in (("own", {}), ("sse", SSE)):
        out = tmp_path / name
        if made:  # The same original.
            for folder in (tmp_path / "own" / "mubench").glob("*original*"):
                shutil.copytree(folder, out / "mubench" / folder.name)
        words = [TASK, str(out), "still", *methods_for("classification")]
        if instructions:
            env = {**offline_env, "OMP_NUM_THREADS": "1", **instructions}
            asked = [sys.executable, "-c", MAKE, *words]
            done = subprocess.run(asked, env=env, capture_output=True, text=True, timeout=600)
            assert done.returncode == 0, done.stderr
        else:
            monkeypatch.setattr(sys, "argv", ["", *words])
            exec(MAKE, {})
        made[name] = {file.stem: json.loads(file.read_text()) for file in sorted((out / "results").glob("*.json"))}
    (original,) = (tmp_path / "own" / "mubench").glob("*original*")
    start, apart = weights(original), {}
    for name, result in made["own"].items():
        if result["method"] == "original":
            continue
        one, other = (weights(tmp_path / place / "mubench" / name) - start for place in made)
        method = "scrub, still" if result["settings"].get("start") == "still" else result["method"]
        apart[method] = float((one - other).norm() / one.norm())
        scores = [{**made[place][name]["scores"]} for place in made]
        for key in scores[0].keys() - {*TIMES}:
            if method != "scrub" and None not in (scores[0][key], scores[1].get(key)):
                assert scores[0][key] == pytest.approx(scores[1][key], abs=OF_SCORES), (method, key)
    assert set(apart) == {*methods_for("classification"), "scrub, still"}
    usual = apart.pop("scrub")
    assert max(apart.values()) < OF_WEIGHTS, apart
    if torch.backends.cpu.get_cpu_capability() not in ("DEFAULT", "NO AVX"):
        assert usual > 10 * OF_WEIGHTS, "these instructions do round otherwise"
