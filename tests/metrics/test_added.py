"""A metric added to the package as CONTRIBUTING says: a file and a card, and no other edit."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

MODULE = '''"""Likeness of the scores on D_f, D_r and the test set to those of a retrained model."""

import datasets
import evaluate

from .checks import check_share, mean_over_runs

DIRECTION = "higher"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2406.01257"
HEADER = "ToW"
PLACE = 105

_SCORES = ("forget_score", "retain_score", "test_score")
_COLUMNS = (*_SCORES, *(f"retrain_{name}" for name in _SCORES))


def tug_of_war(
    forget_score: float,
    retain_score: float,
    test_score: float,
    retrain_forget_score: float,
    retrain_retain_score: float,
    retrain_test_score: float,
) -> dict[str, float]:
    """Product over D_f, D_r and test of 1 - |score - the retrained model's|.

    Args:
        forget_score: the unlearned model's score on D_f, in [0, 1].
        retain_score: its score on D_r, in [0, 1].
        test_score: its score on the test set, in [0, 1].
        retrain_forget_score: the retrained model's score on D_f, in [0, 1].
        retrain_retain_score: its score on D_r, in [0, 1].
        retrain_test_score: its score on the test set, in [0, 1].

    Returns:
        `tug_of_war` in [0, 1].

    Raises:
        ValueError: if an argument is missing or outside [0, 1].

    Source: arXiv 2406.01257.
    """
    values = forget_score, retain_score, test_score, retrain_forget_score, retrain_retain_score, retrain_test_score
    forget, retain, test, *retrained = (check_share(*each) for each in zip(_COLUMNS, values))
    result = 1.0
    for own, other in zip((forget, retain, test), retrained):
        result *= 1 - abs(own - other)
    return {"tug_of_war": result}


class TugOfWar(evaluate.Metric):
    """`evaluate` face of `tug_of_war`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=tug_of_war.__doc__,
            features=datasets.Features({column: datasets.Value("float64") for column in _COLUMNS}),
        )

    def _compute(self, **columns: list) -> dict:
        return mean_over_runs(tug_of_war, columns)
'''

CARD = """# tug_of_war

Product over the three sets of one minus the distance to the retrained model's score.

## Inputs

`forget_score`, `retain_score`, `test_score`, `retrain_forget_score`, `retrain_retain_score` and `retrain_test_score`,
float64 `[runs]` each.

## Output

`tug_of_war`, a float in [0, 1].

## Example

```python
>>> import evaluate
>>> metric = evaluate.load("mubench/tug_of_war")
>>> result = metric.compute(
...     forget_score=[0.5], retain_score=[1.0], test_score=[0.75],
...     retrain_forget_score=[1.0], retrain_retain_score=[1.0], retrain_test_score=[0.5],
... )
>>> result["tug_of_war"]
0.375
```

## Source

arXiv 2406.01257.

## Limitations

It needs a retrained model.
"""

CHECK = """
import sys

import pytest

from mubench_hf.metrics import metric_file
from mubench_hf.results.aggregate import aggregate
from mubench_hf.results.tables import markdown_table
from mubench_hf.runs.result import RunResult
from mubench_hf.runs.scores import references_of

copy, contracts = sys.argv[1:]
assert str(metric_file("tug_of_war")).startswith(copy)
assert references_of("tug_of_war") == {"retrain"}
scores = {"unlearning_score": 0.1, "tug_of_war": 0.2, "average_gap": 0.3}
run = RunResult("cifar100", "mini", "a" * 64, "b" * 64, "vit-tiny", "scrub", 5, 0, "ok", scores)
(groups,) = aggregate([run])
assert "| Score ↑ | ToW ↑ | Gap ↓ |" in markdown_table(groups)
assert metric_file("tug_of_war").parent.joinpath("checks.py").is_file()
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-k", "tug_of_war or place_of_their_own", contracts]))
"""


@pytest.mark.slow
def test_a_file_and_a_card_are_all_that_a_metric_takes(tmp_path):
    """In a copy of the package: registry, columns, and the contracts that every metric is held to find it."""
    for folder in ("mubench_hf", "model_cards"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "mubench_hf" / "metrics" / "tug_of_war.py").write_text(MODULE)
    (tmp_path / "mubench_hf" / "metrics" / "tug_of_war.md").write_text(CARD)
    done = subprocess.run(
        [sys.executable, "-c", CHECK, str(tmp_path), str(ROOT / "tests" / "metrics" / "test_registry.py")],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "HF_HOME": str(tmp_path / "hf")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
