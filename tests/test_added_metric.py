"""A metric is one file, one card and one test: added to a copy of the tree, they leave every test of metrics green."""

import pytest
from tree import Tree

COLUMNS = """
from mubench_hf.results.aggregate import aggregate
from mubench_hf.results.tables import markdown_table
from mubench_hf.runs.result import RunResult
from mubench_hf.runs.choice import sources_of

assert sources_of("tug_of_war") == {"retrain"}
scores = {"unlearning_score": 0.1, "tug_of_war": 0.2, "average_gap": 0.3}
run = RunResult("cifar100", "mini", "a" * 64, "b" * 64, "vit-tiny", "scrub", 5, 0, "ok", scores)
(groups,) = aggregate([run])
print(markdown_table(groups))
"""


@pytest.mark.slow
def test_a_metric_its_card_and_its_test_are_three_files(tmp_path):
    tree = Tree(tmp_path)
    for suffix in ("py", "md"):
        tree.add(f"tug_of_war.{suffix}", f"mubench_hf/metrics/tug_of_war.{suffix}")
    tree.add("tests_of_tug_of_war.py", "tests/metrics/test_tug_of_war.py")
    tree.python("-m", "mubench_hf.commands.list", "README.md")
    assert "| Score ↑ | ToW ↑ | Gap ↓ |" in tree.python("-c", COLUMNS)
    done = tree.test("(tug_of_war or registry or readme or layering) and not snippets", "tests/metrics",
                     "tests/test_layering.py", "tests/test_docstrings.py", "tests/test_readme.py")  # fmt: skip
    for contract in ("test_metric_declares_itself[tug_of_war]", "test_tug_of_war.py::",
                     "test_card_describes_the_space_and_the_metric[tug_of_war]",
                     "test_app_computes_the_example_of_the_card[tug_of_war]"):  # fmt: skip
        assert contract in done, "the contracts find the new metric by themselves"
