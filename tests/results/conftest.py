import os

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    """Draws that differ in every run: the seed is printed with a failure, `MUBENCH_TEST_SEED=<seed>` repeats it."""
    seed = int(os.environ.get("MUBENCH_TEST_SEED", np.random.SeedSequence().entropy))
    print(f"inputs drawn with MUBENCH_TEST_SEED={seed}")
    return np.random.default_rng(seed)
