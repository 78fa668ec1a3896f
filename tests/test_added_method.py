"""A method is one file and one test: added to a copy of the tree, they leave every test of methods green."""

import pytest
from tree import Tree


@pytest.mark.slow
def test_a_method_and_its_test_are_two_files(tmp_path):
    tree = Tree(tmp_path)
    tree.add("npo.py", "mubench_hf/trainers/npo.py")
    tree.add("tests_of_npo.py", "tests/trainers/test_npo.py")
    tree.python("-m", "mubench_hf.commands.list", "README.md")
    # Whatever runs over methods, and whatever looks at all of them or at their files.
    about = "(npo or registry or private_hooks or readme or layering) and not (test_added or snippets)"
    done = tree.test(about, "tests/trainers", "tests/kinds", "tests/test_contracts.py", "tests/test_docstrings.py",
                     "tests/test_layering.py", "tests/test_readme.py")  # fmt: skip
    for contract in ("test_ends_in_the_same_weights[npo]", "test_evaluation_loss[npo]", "test_rows_of_each_epoch[npo]",
                     "test_one_batch_or_two_accumulated[npo]", "test_a_method_says_what_it_is[npo]",
                     "test_npo.py::test_loss_of_every_update"):  # fmt: skip
        assert contract in done, "the contracts find the new method by themselves"
