"""The README says what the code does: its tables, its commands and its snippets."""

import re
from pathlib import Path

import pytest
from processes import run_python

from mubench_hf.cli import COMMANDS
from mubench_hf.commands import list as overview
from mubench_hf.metrics import get_metric, list_metrics
from mubench_hf.results.columns import SPLIT_HEADERS, TIMES
from mubench_hf.tasks import get_task, list_tasks

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"<!-- snippet -->\n```python\n(.*?)```", README, re.DOTALL)


def test_tables_are_what_the_code_generates():
    assert overview.with_tables(README) == README, "run: python -m mubench_hf.commands.list README.md"


def test_every_table_is_shown():
    assert set(re.findall(r"<!-- table: (\w+) -->", README)) == set(overview.TABLES)


def test_a_changed_table_is_noticed():
    assert overview.with_tables(README.replace("`scrub`", "`scrap`")) == README


@pytest.mark.parametrize("mark", ["run", "test"])
def test_there_is_one_marked_command_of_one_line(mark):
    (block,) = re.findall(rf"<!-- {mark} -->\n```sh\n(.*?)```", README, re.DOTALL)
    assert block.count("\n") == 1 and "-c constraints.txt" in block


def test_every_python_block_is_run():
    assert len(SNIPPETS) == README.count("```python") >= 3


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_snippets_run(number, tmp_path, offline_env):
    done = run_python(SNIPPETS[number], env=offline_env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip(), "a snippet shows what it made"


def test_commands_named_in_the_readme_exist():
    named = set(re.findall(r"\bmubench (?!/)([a-z]+)\b", "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))))
    assert named and named <= set(COMMANDS)


def test_linked_files_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_columns_are_explained():
    """Those of every table by hand, a metric's in the table of metrics, which is generated."""
    by_hand = set(re.findall(r"^\| ([^|]+) \| [^|]+ \| [^|]+ \|$", README, re.MULTILINE))
    assert {*SPLIT_HEADERS.values(), *(column.header for column in TIMES)} <= by_hand
    generated = set(
        re.findall(r"^\| `\w+` \| [^|]+ \| ([^|]+) \| [^|]+ \| [^|]+ \| [^|]+ \| arXiv ", README, re.MULTILINE)
    )
    of_runs = {metric.header for metric in map(get_metric, list_metrics()) if not metric.of_split}
    assert of_runs and of_runs <= generated


def test_every_table_of_the_results_says_what_it_is_of():
    """No task needs one. Those that are there were printed by `mubench table`, and are none of the real data."""
    results = (ROOT / "RESULTS.md").read_text(encoding="utf-8")
    assert re.search(r"^Printed by `mubench table .*--markdown` on \d{4}-\d\d-\d\d\.$", results, re.MULTILINE)
    assert "Made with mubench" in results
    _, *tables = re.split(r"^(?=\*\*)", results, flags=re.MULTILINE)
    titles = {get_task(name).title for name in list_tasks()}
    for table in tables:
        (title, other) = re.match(r"\*\*(?:Other scores · )?(.+)-mini \(not (.+?)\) · ", table).groups()
        assert title == other and title in titles
        assert "\n| retrain |" in table, f"{title}: a table without what its methods are compared with"
