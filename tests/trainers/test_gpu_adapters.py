"""The script that runs every method on LoRA over a large model: on a small one here, on one of 1 B weights on a GPU."""

import importlib.util
from pathlib import Path

import pytest
import torch

from mubench_hf.trainers import list_methods

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu_peft.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("gpu_peft", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check(found):
    assert found["status"] == "ok" and found["finite"] and found["base kept"]
    assert found["moved"] >= found["adapters"] / 2  # SalUn leaves A alone, see docs/peft.md.


@pytest.mark.slow
@pytest.mark.parametrize("method", list_methods())
def test_the_script_works(method, script):
    check(script.run(method, "tiny", 16))


@pytest.mark.gpu
@pytest.mark.parametrize("method", list_methods())
def test_a_model_of_a_billion_weights(method, script):
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    check(script.run(method, "1b", 512))
    torch.cuda.empty_cache()
