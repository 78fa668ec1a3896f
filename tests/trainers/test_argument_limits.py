"""Numbers that a library would crash at, or never come to an end with, are refused when the config is made."""

import random

import pytest

from mubench_hf.errors import BadInput
from mubench_hf.trainers import UnlearningConfig

BEYOND = {
    "max_steps": lambda: 10 ** random.randint(10, 400),
    "num_train_epochs": lambda: random.choice([10.0 ** random.randint(7, 300), 10 ** random.randint(301, 400)]),
    "cpu_threads": lambda: random.randint(1025, 10**9),
    "dataloader_num_workers": lambda: random.randint(1025, 10**9),
    "seed": lambda: 10 ** random.randint(301, 400),
    "learning_rate": lambda: 10 ** random.randint(309, 400),
}


@pytest.mark.parametrize("name", BEYOND)
def test_a_number_beyond_all_use(name, tmp_path):
    value = BEYOND[name]()
    with pytest.raises(BadInput, match=f"^{name} is .*; allowed: "):
        UnlearningConfig(output_dir=str(tmp_path), use_cpu=True, **{name: value})


def test_a_compiler_that_there_is_not(tmp_path):
    with pytest.raises(BadInput, match="torch_compile_backend is 'nothing'.*inductor"):
        UnlearningConfig(output_dir=str(tmp_path), use_cpu=True, torch_compile_backend="nothing")
    UnlearningConfig(output_dir=str(tmp_path), use_cpu=True, torch_compile_backend="aot_eager")
