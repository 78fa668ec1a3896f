"""A metric is one file, one card and one test: added to a copy of the tree, they leave every test of metrics green."""

import pytest
from tree import Tree

COLUMNS = """
from mubench_hf.results.aggregate import aggregate
from mubench_hf.results.tables import markdown_table
from mubench_hf.runs.result import RunResult
from mubench_hf.runs.choice import sources_of

assert sources_of("worst_gap") == {"retrain"}
scores = {"unlearning_score": 0.1, "worst_gap": 0.2, "average_gap": 0.3}
run = RunResult("cifar100", "mini", "a" * 64, "b" * 64, "vit-tiny", "scrub", 5, 0, "ok", scores)
(groups,) = aggregate([run])
print(markdown_table(groups))
"""


@pytest.mark.slow
def test_a_metric_its_card_and_its_test_are_three_files(tmp_path):
    tree = Tree(tmp_path)
    for suffix in ("py", "md"):
        tree.add(f"worst_gap.{suffix}", f"mubench_hf/metrics/worst_gap.{suffix}")
    tree.add("tests_of_worst_gap.py", "tests/metrics/test_worst_gap.py")
    tree.python("-m", "mubench_hf.commands.list", "README.md")
    assert "| Score ↑ | Worst gap ↓ | Gap ↓ |" in tree.python("-c", COLUMNS)
    done = tree.test("(worst_gap or registry or readme or layering) and not snippets", "tests/metrics",
                     "tests/test_layering.py", "tests/test_docstrings.py", "tests/test_readme.py")  # fmt: skip
    for contract in ("test_metric_declares_itself[worst_gap]", "test_worst_gap.py::",
                     "test_card_describes_the_space_and_the_metric[worst_gap]",
                     "test_app_computes_the_example_of_the_card[worst_gap]"):  # fmt: skip
        assert contract in done, "the contracts find the new metric by themselves"
