"""Wrong command lines by the hundred: each is one line and exit code 2, changes nothing, and stands in nobody's way."""

import os
import random
import re
from collections import Counter
from pathlib import Path

import pytest
from own_data import save_bert, write_reviews
from processes import run_python
from wrong_commands import RIGHT, Wrong, lay_out, wrong_commands

from mubench_hf.errors import LONGEST_LINE

COMMAND = """
import resource, sys
from mubench_hf.cli import main
sys.argv[0] = "mubench"
try:
    main()
finally:
    sys.stdout.flush()
    print("\\n", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
PROGRESS = re.compile(r"(it|examples|row)/s\]|\?(it|examples|row)/s|^\[transformers\] ")
"""What the libraries print: bars, and warnings."""

MOST_MEMORY = 1_000_000
"""KB that a refused command may use, libraries included."""


def snapshot(folder: Path) -> dict[str, object]:
    """Return everything below a folder: the content of files, where links lead, and the names of folders."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        is_file = path.is_file() and not path.is_symlink()
        found[str(path)] = path.read_bytes() if is_file else os.readlink(path) if path.is_symlink() else None
    return found


def faults(wrong: Wrong, folder: Path, env: dict[str, str]) -> tuple[str, list[str]]:
    """Run a wrong command line; return what it said, and what was not right about how it ended."""
    before = snapshot(folder)
    try:
        done = run_python(COMMAND, *wrong.words, env=env, cwd=folder, timeout=90)
    except TimeoutError:
        return "", ["hung"]
    after = snapshot(folder)
    lines = [line for line in done.stderr.splitlines() if line.strip() and not PROGRESS.search(line)]
    said = [line for line in lines if line.startswith("mubench: ")]
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name, "") != after.get(name, ""))
    checks = {
        f"exit code {done.returncode}": done.returncode == 2,
        f"{len(said)} lines": len(said) == 1,
        "traceback": "Traceback" not in done.stderr,
        f"more on stderr: {[line for line in lines if line not in said][:3]}": lines == said,
        "long": all(len(line) <= LONGEST_LINE + 9 and line.isprintable() for line in said),
        f"changed {changed[:3]}": not changed,
        "memory": int(done.stdout.split()[-1]) < MOST_MEMORY,
    }
    return done.stderr, [fault for fault, holds in checks.items() if not holds]


@pytest.fixture(scope="module")
def place(tmp_path_factory, bench, offline_env) -> Path:
    """A folder in which the right command lines work."""
    folder = tmp_path_factory.mktemp("place")
    lay_out(folder, bench)
    save_bert(folder / "bert", write_reviews(folder, random.Random(1)), num_labels=2)
    done = run_python(COMMAND, *RIGHT["evaluate"], env=offline_env, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def check(wrongs: list[Wrong], place: Path, env: dict[str, str]) -> None:
    """Run wrong command lines, print a table of how they ended, and fail with those that did not end as they should."""
    outcomes, failed = Counter(), []
    for wrong in wrongs:
        said, found = faults(wrong, place, env)
        outcomes[wrong.how, "refused" if not found else "not as it should"] += 1
        if found:
            failed.append(f"{wrong.how}: {[word[:60] for word in wrong.words]}\n  {'; '.join(found)}\n  {said[-600:]}")
    for (how, outcome), number in sorted(outcomes.items()):
        print(f"{how:28} {outcome:18} {number:4}")
    assert not failed, f"{len(failed)} of {len(wrongs)}:\n" + "\n".join(failed)


def seed_of(part: int) -> int:
    seed = int(os.environ.get("MUBENCH_SEED", random.randrange(10**6))) + part
    print("seed", seed)
    return seed


def test_some_wrong_command_lines(place, offline_env):
    check(wrong_commands(seed_of(0), 20), place, offline_env)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_wrong_command_lines(part, place, offline_env):
    check(wrong_commands(seed_of(part), 55), place, offline_env)


@pytest.mark.slow
def test_the_right_command_lines_work_after_all_the_wrong_ones(place, offline_env):
    """A demo would not end, runs, known states and shadow models take their time, a submission asks the leaderboard."""
    left_out = ("demo", "meta", "run", "run of own data", "shadow", "submit")
    for right in [right for right in RIGHT if right not in left_out]:
        done = run_python(COMMAND, *RIGHT[right], env=offline_env, cwd=place)
        assert done.returncode == 0, (right, done.stderr)


def test_a_script_of_its_own_refuses_as_the_command_does(place, offline_env):
    """As `accelerate launch -m` and plain `python -m` start it."""
    for flags in (["--method", "scrubb"], ["--method", "scrub", "--out", "file"], ["--method=", "--x", "3"]):
        argv = ["unlearn", "--task", "cifar100", "--mini", *flags]
        code = "import runpy; runpy.run_module('mubench_hf.scripts.unlearn', run_name='__main__')"
        as_command = run_python(COMMAND, *argv, env=offline_env, cwd=place)
        as_script = run_python(code, *argv[1:], env=offline_env, cwd=place)
        assert as_script.returncode == 2 and as_script.stderr.splitlines()[-1] == as_command.stderr.splitlines()[-1]
