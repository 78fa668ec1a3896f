"""Tables of many tasks in one file."""

import random

import pytest
from result_runs import KEYS, seeded

from mubench_hf.commands._paths import check_file
from mubench_hf.commands._report import report
from mubench_hf.errors import BadInput


def test_a_report_holds_every_table_and_what_made_it():
    runs = [
        run
        for variant in ("full", "mini")
        for method in ("retrain", "scrub")
        for run in seeded(method, dict.fromkeys(KEYS, random.random()), spread=0.01, variant=variant,
                          versions={"torch": "2.0"}, hardware={"cpu": "one", "device": "cpu", "threads": 1})
    ]  # fmt: skip
    random.shuffle(runs)
    text = report("Made by `mubench run all`", runs)
    assert text.startswith("# Results\n\nMade by `mubench run all` on 20")
    assert text.count("Made with mubench_hf None") == 2 and text.count("by seed") >= 2
    assert "CIFAR-100 · vit" in text and "CIFAR-100-mini (not CIFAR-100) · vit" in text


def test_a_file_is_checked_before_hours_of_work(tmp_path):
    check_file("--markdown", tmp_path / "new" / "tables.md")
    (tmp_path / "there.md").write_text("earlier")
    check_file("--markdown", tmp_path / "there.md")
    check_file("--markdown", None)
    for wrong in (tmp_path, tmp_path / "there.md" / "x", "", "a\x1b[2J"):
        with pytest.raises(BadInput, match="--markdown"):
            check_file("--markdown", wrong)
