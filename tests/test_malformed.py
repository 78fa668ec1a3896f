"""Malformed run folders and checkpoints end in one line, run nothing, overwrite nothing and take little memory.

`MUBENCH_MALFORMED=seed:count` runs other seeds than the suite does; a failure prints the seed that repeats it.
"""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hub import LoopbackHub
from malformed import break_one
from processes import run_python

from mubench_hf.hub import model_bundle

MEMORY = 1_000_000
"""Most kilobytes that a process may hold at any time."""

ENDS = {0: "as if whole", 1: "found to differ", 2: "refused"}

PROGRAM = """
import os, resource, sys
from pathlib import Path
from mubench_hf.cli import dispatch
from mubench_hf.commands._ending import exit_with
{setting}
def demo(argv):
    from mubench_hf.demo import DemoRuns
    runs = DemoRuns.local(argv[1])
    bench = runs.bench("cifar100-mini", 5)
    sample = bench.sample("forget", 0)
    for method in runs.methods("cifar100-mini", 5):
        print(bench.answer(method, sample))

def read(argv):
    from mubench_hf.models.loading import load_model, saved_processor
    processor = saved_processor(argv[1])
    model = load_model(argv[1], "AutoModelForCausalLM")
    print(model(**processor("a text", return_tensors="pt")).logits.shape)

try:
    exit_with({{"demo": demo, "read": read}}.get(sys.argv[1], dispatch), sys.argv[1:])
finally:
    Path("memory").write_text(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
"""

AT_THE_HUB = """
from huggingface_hub import constants
constants.HF_HUB_OFFLINE, constants.ENDPOINT, constants.HF_HUB_CACHE = False, {url!r}, os.path.abspath("cache")
constants.HUGGINGFACE_CO_URL_TEMPLATE = {url!r} + "/{{repo_id}}/resolve/{{revision}}/{{filename}}"
"""

CHECKPOINT = ("run.json", "config.json", "model.safetensors", "preprocessor_config.json")
DOORS = {
    "evaluate": CHECKPOINT,
    "published": (*CHECKPOINT, "run_result.json", "outputs.npz"),
    "publish": (*CHECKPOINT, ".json", ".npz"),
    "train": CHECKPOINT[1:],
    "demo": (*CHECKPOINT, ".json", ".npz"),
    "table": (".json", ".npz"),
    "verify": (".json", ".npz"),
    "read": ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "generation_config.json"),
}
"""How something may come in → what of it is broken."""


def snapshot(folder: Path) -> dict[str, object]:
    """Return what a folder holds, and how it holds it."""
    found: dict[str, object] = {}
    for path in folder.rglob("*"):
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(folder))] = content
    return found


def arguments(door: str, place: Path) -> tuple[list[str], Path, Path]:
    """Return a command line, the checkpoint that it reads and the results that it reads."""
    out = place / "out"
    checkpoint = sorted((out / "mubench").glob("*-original-*" if door == "demo" else "*-finetune-*"))[0]
    train = ["train", "--task", "cifar100", "--mini", "--out", str(out), "--model", str(checkpoint)]
    argv = {
        "evaluate": ["evaluate", str(checkpoint), "--out", str(out)],
        "published": ["evaluate", f"mubench/{checkpoint.name}", "--out", str(out)],
        "publish": ["publish", "model", str(checkpoint)],
        "train": [*train, "--output_dir", str(place / "trained"), "--max_steps", "1", "--disable_tqdm", "true"],
        "demo": ["demo", str(out)],
        "table": ["table", str(out)],
        "verify": ["submit", "--verify", str(out)],
        "read": ["read", str(checkpoint)],
    }
    return argv[door], checkpoint, out / "results"


def outcome(door: str, seed: int, good: dict[str, Path], place: Path) -> tuple[str, str, list[str]]:
    """Break one file and let it come in.

    Returns:
        What was broken, how it ended, and what about that may not be.
    """
    draw, marker = random.Random(f"{door} {seed}"), place / "marker"
    shutil.copytree(good["text" if door == "read" else "image"], place / "out")
    (place / "outside.txt").write_text("somebody's")
    (place / "here").mkdir()
    argv, checkpoint, results = arguments(door, place)
    of_results = draw.choice(sorted({name.startswith(".") for name in DOORS[door]}))
    names = tuple(name for name in DOORS[door] if name.startswith(".") == of_results)
    broken = results if of_results else checkpoint
    if door == "published":
        broken = Path(shutil.copytree(good["published"], place / "published"))
    what = break_one(broken, names, draw, marker)
    with LoopbackHub().running() as hub:
        if door == "published":
            files = [file for file in broken.rglob("*") if file.is_file() and "zero" not in str(file.resolve())]
            hub.add("model", argv[1], {file.relative_to(broken).as_posix(): file.read_bytes() for file in files})
        before = snapshot(place / "out")
        env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(good["cache"]), "COLUMNS": "150"}
        program = PROGRAM.format(setting=AT_THE_HUB.format(url=hub.url) if door == "published" else "")
        try:
            done = run_python(program, *argv, env=env, cwd=place / "here", timeout=100)
        except TimeoutError as error:
            return what, "no end", [str(error)[-500:]]
    said = [line for line in done.stderr.splitlines() if line.startswith("mubench: ")]
    wrong = ["code of the folder was run"] if marker.exists() else []
    if "Traceback" in done.stderr or done.returncode not in ENDS or (done.returncode == 2) != (len(said) == 1):
        wrong.append(f"it ended with {done.returncode} and {len(said)} lines: {done.stderr[-1500:]}")
    memory = int((place / "here" / "memory").read_text())
    if memory > MEMORY:
        wrong.append(f"{memory} kB of memory")
    if any(character in done.stdout + "".join(said) for character in ("\x1b]", "\x1b[2J", "\x07", "\u202e")):
        wrong.append("a terminal would obey what was printed")
    wrong += changes(before, snapshot(place / "out"), own=checkpoint.name if door == "evaluate" else None)
    if (place / "outside.txt").read_text() != "somebody's":
        wrong.append("a file outside was changed")
    return what, ENDS.get(done.returncode, "otherwise") + (f": {said[0]}" if said else ""), wrong


def changes(before: dict[str, object], after: dict[str, object], own: str | None) -> list[str]:
    """Return what was changed unasked: evaluating replaces a run's own result, and a cache is made anew."""
    mine = {f"results/{own}.{ending}" for ending in ("json", "npz")} if own else set()
    kept = {path: content for path, content in before.items() if not path.startswith(".cache") and path not in mine}
    changed = {path for path, content in kept.items() if after.get(path, b"gone") != content}
    return [f"changed: {sorted(changed)}"] if changed else []


def text_checkpoint(out: Path) -> Path:
    """Write a small language model with its tokenizer, of random weights, as a run would."""
    from mubench_hf.models import get_model
    from mubench_hf.models.loading import random_model

    spec = get_model("llama-2-tiny")
    folder = out / "mubench" / "made-up-finetune-s1"
    random_model(spec).save_pretrained(folder)
    spec.architecture.tiny_processor(["a text", "and another one"]).save_pretrained(folder)
    return out


def published(out: Path, place: Path) -> Path:
    """Write what is published of a run into a folder."""
    bundle = model_bundle(sorted((out / "mubench").glob("*-finetune-*"))[0])
    for path, file in bundle.files.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(file if isinstance(file, bytes) else file.read_bytes())
    return place


@pytest.fixture(scope="module")
def good(finished, tmp_path_factory):
    """What is broken: a run's folder, what is published of it, and a checkpoint of a model that writes texts."""
    folder = tmp_path_factory.mktemp("good")
    return {
        "image": finished,
        "text": text_checkpoint(folder / "text"),
        "published": published(finished, folder / "published"),
        "cache": folder / "cache",
    }


def ends(cases: list[tuple[str, int]], good: dict[str, Path], tmp_path: Path) -> Counter:
    """Run cases, and return how many ended how."""
    table: Counter = Counter()
    for door, seed in cases:
        place = tmp_path / f"{door}-{seed}"
        place.mkdir()
        what, how, wrong = outcome(door, seed, good, place)
        assert not wrong, f"door {door!r}, seed {seed}: {what}: {wrong}"
        table[door, how.partition(":")[0]] += 1
        shutil.rmtree(place)
    for (door, how), count in sorted(table.items()):
        print(f"{door}: {how}: {count}")
    return table


@pytest.mark.slow
def test_a_few_malformed_folders(good, tmp_path):
    start = random.randrange(10**6)
    assert ends(
        [(door, start + number) for number, door in enumerate(("read", "publish", "table", "read"))], good, tmp_path
    )


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS)
def test_malformed_folders(door, good, tmp_path):
    start, count = map(int, os.environ.get("MUBENCH_MALFORMED", f"{random.randrange(10**6)}:13").split(":"))
    table = ends([(door, seed) for seed in range(start, start + count)], good, tmp_path)
    assert table.total() == count and set(table) != {(door, ENDS[0])}, "something was refused"
