"""docs/full_sources.md names every full source and checkpoint, and says nothing that the code does not."""

from pathlib import Path

import pytest

from mubench_hf.commands import _first_load
from mubench_hf.commands.list import with_tables
from mubench_hf.models import get_model, list_models
from mubench_hf.tasks import get_task, list_tasks

DOCUMENT = (Path(__file__).parents[1] / "docs" / "full_sources.md").read_text(encoding="utf-8")
PUBLISHED = [name for name in list_models() if get_model(name).published]


def rows(table):
    lines = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]
    return {row[0].strip("`"): dict(zip(lines[0], row, strict=True)) for row in lines[2:]}


def test_its_tables_are_what_the_code_generates():
    assert with_tables(DOCUMENT) == DOCUMENT, "run: python -m mubench_hf.commands.list docs/full_sources.md"


def test_every_source_has_a_row():
    found = rows(_first_load.source_table())
    assert list(found) == list_tasks()
    for name, row in found.items():
        source = get_task(name).full
        assert row["Read from"] == (source.hub_id or "a folder")
        expected = f"`{source.revision[:12]}`" if source.revision else "the newest" if source.hub_id else "-"
        assert row["Commit"].startswith(expected)
        assert ("deletion list" in row["Rows are proven by"]) == (source.deletion_sha256 is not None)


def test_every_checkpoint_has_a_row():
    found = rows(_first_load.checkpoint_table())
    assert list(found) == PUBLISHED
    for name, row in found.items():
        published = get_model(name).published
        assert row["Hub checkpoint"] == published.hub_id and (row["Weights"] == "`.bin`") == published.pickled
        assert ("recorded" in row["Commit"]) == (published.revision is None)
        assert all(f"`{field}`" in row["Set by the benchmark"] for field in published.options)


@pytest.mark.parametrize("table", [_first_load.source_table, _first_load.checkpoint_table])
def test_what_was_loaded_for_real_is_said(table, monkeypatch):
    assert set(_first_load.LOADED) <= {*list_tasks(), *PUBLISHED}
    name = next(iter(rows(table())))
    monkeypatch.setattr(_first_load, "LOADED", {name: "2026-12-01, 0.3.0"})
    found = rows(table())
    assert found.pop(name)["Loaded for real"] == "2026-12-01, 0.3.0"
    assert {row["Loaded for real"] for row in found.values()} == {"not yet"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_commit_is_a_whole_hash(name):
    revision = get_model(name).published.revision
    assert revision is None or (len(revision) == 40 and set(revision) <= set("0123456789abcdef"))
