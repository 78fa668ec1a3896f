"""Whatever file of a finished run is damaged: no command uses it, and none ends in a traceback.

`MUBENCH_TEST_SEED=<seed>` repeats a run; a failure prints it.
"""

import io
import json
import os
import random
import shutil
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest

from mubench_hf.cli import dispatch
from mubench_hf.commands._arguments import exit_with

KINDS = {
    "record": "mubench/*-s5*/run.json",
    "weights": "mubench/*-s5*/model.safetensors",
    "config": "mubench/*-s5*/config.json",
    "processor": "mubench/*-s5*/preprocessor_config.json",
    "recipe": "mubench/*-original-s5/recipe.json",
    "result": "results/*.json",
    "outputs": "results/*.npz",
    "table": ".cache/*/train/*.npy",
    "table's note": ".cache/*/train/*.json",
    "rows": "mubench/cifar100-mini/data/*.parquet",
    "manifest": "mubench/cifar100-mini/mubench.json",
    "card": "mubench/cifar100-mini/README.md",
    "leaderboards": "mubench/cifar100-mini/eval.yaml",
    "picture": "plots/*.png",
}
NOTICED, HARMLESS = "noticed", "the same numbers"


def flipped(content, rng):
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]


def edited(content, rng):
    """Change one number, word or truth of a JSON object, which stays one; of other files a byte in the middle."""
    try:
        tree = json.loads(content)
    except ValueError:
        return content[: len(content) // 2] + b"?" + content[len(content) // 2 + 1 :]
    leaves = []

    def walk(node, path=()):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            if isinstance(value, dict | list):
                walk(value, (*path, key))
            else:
                leaves.append((*path, key))

    walk(tree)
    *path, key = rng.choice(leaves)
    node = tree
    for step in path:
        node = node[step]
    value = node[key]
    node[key] = not value if isinstance(value, bool) else value + 1 if isinstance(value, int | float) else f"{value}x"
    return json.dumps(tree).encode()


DAMAGE = {
    "a flipped bit": flipped,
    "an edited value": edited,
    "cut short": lambda content, rng: content[: rng.randrange(len(content))],
    "emptied": lambda content, rng: b"",
    "a folder in its place": lambda content, rng: None,
    "another such file": lambda content, rng: b"another",
}


def snapshot(out):
    return {file: file.read_bytes() for file in sorted(out.rglob("*")) if file.is_file()}


def restore(before):
    for file, content in before.items():
        if file.is_dir():
            file.rmdir()
        if not file.exists() or file.read_bytes() != content:
            file.parent.mkdir(parents=True, exist_ok=True)  # A finished run removes its tables.
            file.write_bytes(content)


def called(argv):
    """Return a command's exit code and what it printed; anything but an exit is a traceback."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            exit_with(dispatch, argv)
        except SystemExit as exit_:
            code = exit_.code
    lines = [line for line in err.getvalue().splitlines() if line.startswith("mubench: ")]
    return code, out.getvalue(), lines


def numbers(out, but=None):
    return {
        file.name: {**json.loads(file.read_text())["scores"]}
        for file in sorted((out / "results").glob("*.json"))
        if file.is_file() and file != but
    }


def commands(out, checkpoint):
    return {
        "evaluate": ["evaluate", str(checkpoint), "--out", str(out)],
        "run": ["run", "cifar100", "--mini", "--out", str(out), "--seeds", "5"],
        "table": ["table", str(out)],
        "publish model": ["publish", "model", str(checkpoint)],
        "publish dataset": ["publish", "dataset", "cifar100", "--mini", "--out", str(out)],
    }


def try_once(out, before, expected, printed, kind, damage, rng, original):
    """Damage one file, give every command, and return what came of it."""
    file = rng.choice([file for file in before if fnmatch(file.relative_to(out).as_posix(), KINDS[kind])])
    content = before[file]
    new = DAMAGE[damage](content, rng)
    if new == b"another":
        others = [each for each in before if each.suffix == file.suffix and before[each] != content]
        new = before[rng.choice(others)] if others else b""
    if new is None:
        file.unlink()
        file.mkdir()
    else:
        file.write_bytes(new)
    checkpoint = file.parent if (file.parent / "run.json").exists() and "mubench" in file.parts else original
    where = f"{file.relative_to(out)}, {damage}"
    found = set()
    try:
        for name, argv in commands(out, checkpoint).items():
            code, said, lines = called(argv)
            if code:
                assert (code, len(lines)) == (2, 1), f"{where}: {name} ended with {code}: {lines} {said[-500:]}"
                named = file.name in lines[0] or str(file.parent) in lines[0] or file.stem in lines[0]
                assert named, f"{where}: {name} names another: {lines[0]}"
                found.add(NOTICED)
            elif name in ("run", "table"):
                assert said == printed[name], f"{where}: {name} shows other numbers"
        for name, scores in numbers(out, but=file).items():
            assert scores == expected[name], f"{where}: {name} has other scores"
    finally:
        restore(before)
    return NOTICED if found else HARMLESS


@pytest.fixture
def own_run(every_method, tmp_path, quick, monkeypatch):
    """A copy of a finished run, and what the commands say of it before anything is damaged."""
    out = Path(shutil.copytree(every_method, tmp_path / "out"))
    # Pictures are drawn anew by every run, and never read by one.
    monkeypatch.setattr("mubench_hf.results.plots.draw_plots", lambda *args: [])
    (original,) = out.glob("mubench/*-original-s5")
    (out / "plots").mkdir(exist_ok=True)
    if not list((out / "plots").glob("*.png")):
        from PIL import Image

        Image.fromarray(np.random.default_rng(0).integers(255, size=(9, 9), dtype="u1")).save(out / "plots" / "a.png")
    printed = {}
    for name, argv in commands(out, original).items():
        code, printed[name], lines = called(argv)
        assert code == 0, (name, lines)
    assert called(commands(out, original)["evaluate"])[0] == 0, "which makes the tables that the run removed"
    return out, original, snapshot(out), numbers(out), printed


def trials(own_run, count):
    seed = int(os.environ.get("MUBENCH_TEST_SEED", random.SystemRandom().getrandbits(32)))
    print(f"damage drawn with MUBENCH_TEST_SEED={seed}")
    rng, (out, original, before, expected, printed) = random.Random(seed), own_run
    pairs = [(kind, damage) for kind in KINDS for damage in DAMAGE]
    rng.shuffle(pairs)
    outcomes = {kind: Counter() for kind in KINDS}
    for number in range(count):
        kind, damage = pairs[number % len(pairs)]
        outcomes[kind][try_once(out, before, expected, printed, kind, damage, rng, original)] += 1
    for kind, found in outcomes.items():
        print(f"{kind:>14}: {dict(found)}")
    return outcomes


@pytest.mark.slow
def test_none_of_a_hundred_damaged_files_is_used(own_run):
    outcomes = trials(own_run, 100)
    for kind in ("record", "weights", "config", "processor", "result", "rows", "manifest"):
        assert not outcomes[kind][HARMLESS] or kind in ("record", "result", "manifest"), f"{kind} is not looked at"
