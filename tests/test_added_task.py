"""A task is one file and one test: added to a copy of the tree, they leave every test of tasks green."""

import pytest
from tree import Tree


@pytest.mark.slow
def test_a_task_and_its_test_are_two_files(tmp_path):
    tree = Tree(tmp_path)
    tree.add("tickets.py", "mubench_hf/tasks/tickets.py")
    tree.add("tests_of_tickets.py", "tests/tasks/test_tickets_task.py")
    tree.python("-m", "mubench_hf.commands.list", "README.md")
    # Whatever runs over tasks, and whatever lists all of them; the snippets of the README are of one task.
    about = "(tickets or registry or overview or readme or cli or layering) and not (test_added or snippets)"
    done = tree.test(about)
    for contract in ("test_every_task_runs_every_method_and_every_metric[tickets-", "test_cards.py::",
                     "test_every_task_keeps_its_sets_apart[tickets]", "test_every_task_says_what_it_is[tickets]",
                     "test_every_task_is_read_by_plain_datasets[tickets]",
                     "test_tickets_task.py::test_built_splits"):  # fmt: skip
        assert contract in done, "the contracts find the new task by themselves"
