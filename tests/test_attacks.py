"""False results that agree with themselves: each is refused by name, and on a leaderboard spoils no other's row."""

import hashlib
import json
import random
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from forger import added, rescore_all, submission
from unsealed import unsealed

from mubench_hf.cli import dispatch
from mubench_hf.leaderboard import read_folder
from mubench_hf.leaderboard.board import TableKey, read_board
from mubench_hf.leaderboard.folders import MANIFEST, SUBMISSIONS, Manifest
from mubench_hf.leaderboard.outputs import is_copy
from mubench_hf.leaderboard.pages import board_table
from mubench_hf.leaderboard.submission import manifest_of
from mubench_hf.leaderboard.verify import verify_submission
from mubench_hf.leaderboard.views import csv_text
from mubench_hf.runs.result import RunResult
from mubench_hf.runs.store import load_logits, load_result, save_logits, save_result

SPLITS, SEEDS = ("forget", "retain", "test"), (42, 87, 21)
METHOD = "cifar100-mini-vit-tiny-{}-df5pct-s{}"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return submission(tmp_path_factory.mktemp("made"), methods=("finetune", "scrub"), seeds=SEEDS)


@pytest.fixture
def own_run(made, tmp_path) -> Path:
    return Path(shutil.copytree(made / "results", tmp_path / "run" / "results")).parent


@pytest.fixture
def refusals(made):
    """Returns what is refused of a folder, each as a line."""
    return lambda folder: [str(each) for each in verify_submission(read_folder(folder), data=made).problems]


def file_of(folder, method, seed, ending="npz"):
    return folder / "results" / f"{METHOD.format(method, seed)}.{ending}"


def edit(folder, method, seed, change):
    """Change a run's logits and labels, ``change(arrays)``, and state the scores that they give."""
    file = file_of(folder, method, seed)
    arrays = load_logits(file.stem, file.parent)
    change(arrays)
    save_logits(file.stem, file.parent, arrays)


def replaced(folder, method, seed, other, other_seed, change=lambda logits: logits, splits=SPLITS):
    """Give a run another's logits, changed a little."""
    theirs = load_logits(METHOD.format(other, other_seed), folder / "results")

    def copy(arrays):
        arrays.update({f"{split}_logits": change(theirs[f"{split}_logits"]).astype(np.float32) for split in splits})

    edit(folder, method, seed, copy)


def noisy(logits, size=1e-6):
    return logits + size * np.random.default_rng().normal(size=logits.shape)


def one_doubled(logits):
    row = random.randrange(len(logits))
    return np.where(np.arange(len(logits))[:, None] == row, 2 * logits, logits)


def any_shift(logits):
    """A number of its own added to each row."""
    return logits + np.random.default_rng().normal(size=(len(logits), 1))


def some_swapped(logits):
    order, chosen = np.arange(len(logits)), np.random.default_rng().permutation(len(logits))[: len(logits) // 5]
    order[chosen] = np.roll(chosen, 1)
    return logits[order]


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [noisy, lambda logits: logits + 1, lambda logits: logits * 1.0001, one_doubled, any_shift, some_swapped,
     lambda logits: noisy(logits, 1e-3), np.float16],
    ids=["noise", "plus 1", "times 1.0001", "one row doubled", "shifted rows", "a fifth swapped", "more noise", "half"],
)  # fmt: skip
def test_the_retrained_models_logits_as_a_methods(own_run, refusals, change):
    seed = random.choice(SEEDS)
    replaced(own_run, "scrub", seed, "retrain", random.choice(SEEDS), change)
    rescore_all(own_run)
    (problem,) = refusals(own_run)
    assert METHOD.format("scrub", seed) in problem and "its logits are that run's own" in problem


@pytest.mark.slow
@pytest.mark.parametrize("splits", [("forget",), ("forget", "test")])
def test_the_retrained_models_logits_on_some_splits(own_run, refusals, splits):
    replaced(own_run, "finetune", 87, "retrain", 87, noisy, splits)
    rescore_all(own_run)
    assert "its logits are that run's own" in refusals(own_run)[0]


@pytest.mark.slow
def test_one_model_as_three_seeds(own_run, refusals):
    for number, seed in enumerate(SEEDS[1:], start=1):
        replaced(own_run, "scrub", seed, "scrub", SEEDS[0], lambda logits, number=number: logits + number * 1e-3)
    rescore_all(own_run)
    assert [line.partition(":")[0] for line in refusals(own_run)] == sorted(METHOD.format("scrub", s) for s in SEEDS)[
        1:
    ]


@pytest.mark.slow
def test_the_original_as_the_retrained_model(own_run, refusals):
    replaced(own_run, "retrain", 42, "original", 42, noisy)
    rescore_all(own_run)
    assert "its logits are that run's own" in refusals(own_run)[0]


def test_methods_that_share_an_original_may_be_close_to_it_but_not_the_same():
    rng = np.random.default_rng()
    original = {f"{split}_logits": rng.normal(size=(rng.integers(5, 40), 7)) for split in SPLITS}
    close = {key: noisy(value, 1e-3) for key, value in original.items()}
    assert not is_copy(close, original, rng, related=True)
    assert is_copy(close, original, rng, related=False)
    assert is_copy({key: noisy(value, 1e-7) for key, value in original.items()}, original, rng, related=True)
    other = {key: rng.normal(size=value.shape) for key, value in original.items()}
    assert not is_copy(other, original, rng, related=False) and not is_copy(original, other, rng, related=True)


@pytest.mark.slow
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("key", ["test_logits", "forget_logits", "incompetent_forget_logits"])
def test_a_number_that_is_not_finite_hides_no_seed(own_run, refusals, value, key):
    def spoil(arrays):
        arrays[key][random.randrange(len(arrays[key])), random.randrange(10)] = value

    edit(own_run, "scrub", 87, spoil)
    rescore_all(own_run)
    (problem,) = refusals(own_run)
    assert f"{METHOD.format('scrub', 87)}.npz: 1 of " in problem and f"numbers in {key} are not finite" in problem


@pytest.mark.slow
def test_a_seed_that_is_said_to_have_diverged_is_no_seed(own_run, refusals):
    run = load_result(file_of(own_run, "scrub", 21, "json"))
    save_result(RunResult(**{**vars(run), "status": "diverged", "status_reason": "loss 1e9"}), own_run / "results")
    (problem,) = refusals(own_run)
    assert "2 seeds (42, 87; others: diverged 1/3); at least 3" in problem
    for seed in (42, 87):
        run = load_result(file_of(own_run, "scrub", seed, "json"))
        save_result(RunResult(**{**vars(run), "status": "diverged", "status_reason": "loss"}), own_run / "results")
    assert not refusals(own_run), "a method that always diverges may say so"


@pytest.mark.slow
def test_an_original_that_never_learned(own_run, refusals):
    def forget(arrays):
        for split in SPLITS:
            arrays[f"{split}_logits"] = np.random.default_rng().normal(size=arrays[f"{split}_logits"].shape)

    edit(own_run, "original", 87, forget)
    rescore_all(own_run)
    (problem,) = refusals(own_run)
    assert METHOD.format("original", 87) in problem and "was not trained on these rows" in problem


@pytest.mark.slow
def test_an_original_far_from_the_boards_own(own_run, made, monkeypatch):
    def worse(arrays):
        right = (
            np.eye(10)[arrays["test_labels"]]
            * (np.random.default_rng().random(len(arrays["test_labels"])) < 0.4)[:, None]
        )
        arrays["test_logits"] = (arrays["test_logits"] - 4 * right).astype(np.float32)

    edit(own_run, "original", 21, worse)
    rescore_all(own_run)
    contents = read_folder(own_run)
    assert not verify_submission(contents, data=made).problems, "without official ones nothing tells"
    official = {METHOD.format("original", seed) for seed in (42, 87)}
    for entry in contents.entries:
        object.__setattr__(entry, "verified", entry.result.name in official)
    (problem,) = verify_submission(contents, data=made).problems
    assert problem.run == METHOD.format("original", 21) and "2 verified original(s)" in problem.text


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [1.7e308, 1e13])
def test_a_time_beyond_all_times_is_left_out_alone(own_run, seconds):
    key = TableKey("cifar100", "mini", "vit-tiny", 5)
    before = read_board(own_run)
    file = file_of(own_run, "scrub", 42, "json")
    content = json.loads(unsealed(file.read_text()))
    content["scores"]["unlearn_seconds"] = seconds
    file.write_text(json.dumps(content))
    after = read_board(own_run)
    assert [left.path for left in after.left_out] == [f"results/{file.name}"]
    assert "allowed: at most 1e+12" in after.left_out[0].reason
    for rows in zip(before.tables[key], after.tables[key], strict=True):
        assert rows[0].group.method == "scrub" or rows[0] == rows[1]


def stored(file, members, **info):
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members:
            member = zipfile.ZipInfo(name)
            for field, value in info.items():
                setattr(member, field, value)
            archive.writestr(member, content)


def compressed(file):
    members = zipfile.ZipFile(file)
    content = [(name, members.read(name)) for name in members.namelist()]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in content:
            archive.writestr(name, data)


def encrypted(file):
    """Set the flag of encryption in the directory of an archive."""
    content = bytearray(file.read_bytes())
    place = content.find(b"PK\x01\x02")
    struct.pack_into("<H", content, place + 8, 1)
    file.write_bytes(content)


def with_member(name):
    def add(file):
        with zipfile.ZipFile(file) as archive:
            content = [(member, archive.read(member)) for member in archive.namelist()]
        stored(file, [*content, (name, content[0][1])])

    return add


def with_array(file):
    arrays = load_logits(file.stem, file.parent)
    np.savez(file, **arrays, test_payload=np.zeros(3))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "reason"),
    [(compressed, "and unpacks to"), (encrypted, "'chance.npy' is encrypted"), (with_array, "Unknown: test_payload"),
     (with_member("../../evil.npy"), "'../../evil.npy' is no array"), (with_member("run.py"), "'run.py' is no array"),
     (with_member("/etc/test_logits.npy"), "is no array"), (with_member("chance.npy"), "'chance.npy' is there twice")],
    ids=["compressed", "encrypted", "one more array", "a path", "a program", "a root", "twice"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_odd_archives_are_named(own_run, refusals, change, reason):
    change(file_of(own_run, "finetune", 42))
    (problem,) = refusals(own_run)
    assert METHOD.format("finetune", 42) in problem and reason in problem


@pytest.mark.slow
def test_outputs_of_a_table_are_bounded_together(own_run, refusals, monkeypatch):
    monkeypatch.setattr("mubench_hf.leaderboard.checks.LARGEST_TABLE", 10_000)
    (problem,) = refusals(own_run)
    assert "bytes together; allowed: 10000" in problem


def scores_with(**scores):
    return lambda content: content["scores"].update(scores)


HOSTILE = {
    "a huge time": scores_with(unlearn_seconds=1.7e308),
    "a huge whole number": scores_with(unlearn_seconds=10**400),
    "a score above its range": scores_with(zrf=1.5),
    "a thousand scores": lambda content: content["scores"].update({f"s{number}": 0.5 for number in range(1000)}),
    "a score with a long name": scores_with(**{"x" * 5000: 0.5}),
    "a score that is markup": scores_with(**{"<script>": 0.5}),
    "a seed beyond all seeds": lambda content: content.update(seed=10**30),
    "no seed": lambda content: content.update(seed=None),
    "a world without processes": lambda content: content.update(world_size=0),
    "a task that is a list": lambda content: content.update(task=["cifar100"]),
    "an unknown status": lambda content: content.update(status="best"),
    "settings of a megabyte": lambda content: content.update(settings={"a": "b" * 10**5}),
    "a method of nobody": lambda content: content.update(method="miracle"),
    "a model of another task": lambda content: content.update(model="t5-tiny"),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_one_bad_file_spoils_no_others_row(own_run, change):
    key = TableKey("cifar100", "mini", "vit-tiny", 5)
    for file in own_run.glob("results/*-scrub-*.json"):
        file.unlink()

    def shown(board):
        rows, columns = board.tables[key], board.columns(key)
        return board_table(key, rows, rows, columns, None, False), csv_text(rows, columns)

    honest = shown(read_board(own_run))
    content = json.loads(unsealed(file_of(own_run, "finetune", 42, "json").read_text()))
    content["method"] = "scrub"
    change(content)
    name = f"{METHOD.format('scrub', 42)}.json"
    (own_run / "results" / name).write_text(json.dumps(content))
    board = read_board(own_run)
    assert [left.path for left in board.left_out] == [f"results/{name}"] and board.left_out[0].reason
    assert shown(board) == honest


def one_model_as_three_seeds(run):
    for number, seed in enumerate(SEEDS[1:], start=1):
        replaced(run, "scrub", seed, "scrub", SEEDS[0], lambda logits, number=number: logits + number * 1e-3)
    rescore_all(run)


def not_finite(run):
    edit(run, "scrub", 87, lambda arrays: arrays["test_logits"].__setitem__((0, 0), np.nan))
    rescore_all(run)


def said_to_have_diverged(run):
    result = load_result(file_of(run, "scrub", 21, "json"))
    save_result(RunResult(**{**vars(result), "status": "diverged", "status_reason": "loss 1e9"}), run / "results")


def random_original(run):
    def forget(arrays):
        for split in SPLITS:
            arrays[f"{split}_logits"] = np.random.default_rng().normal(size=arrays[f"{split}_logits"].shape)

    edit(run, "original", 87, forget)
    rescore_all(run)


def a_score_of_ones_own(run):
    content = json.loads(unsealed(file_of(run, "scrub", 42, "json").read_text()))
    content["scores"]["average_gap"] /= 2
    file_of(run, "scrub", 42, "json").write_text(json.dumps(content))


def retrained(change):
    def forge(run):
        replaced(run, "scrub", 42, "retrain", 42, change)
        rescore_all(run)

    return forge


def on_outputs(change):
    return lambda run: change(file_of(run, "finetune", 42))


DISHONEST = {
    "retrain with noise": (retrained(noisy), "its logits are that run's own"),
    "retrain plus 1": (retrained(lambda logits: logits + 1), "its logits are that run's own"),
    "retrain times 1.0001": (retrained(lambda logits: logits * 1.0001), "its logits are that run's own"),
    "retrain, one row doubled": (retrained(one_doubled), "its logits are that run's own"),
    "one model as three seeds": (one_model_as_three_seeds, "its logits are that run's own"),
    "not a number": (not_finite, "are not finite"),
    "a false diverged": (said_to_have_diverged, "others: diverged 1/3"),
    "a random original": (random_original, "was not trained on these rows"),
    "a better gap": (a_score_of_ones_own, "score average_gap: stated"),
    "a compressed file": (on_outputs(compressed), "unpacks to"),
    "an encrypted file": (on_outputs(encrypted), "is encrypted"),
    "one more array": (on_outputs(with_array), "Unknown: test_payload"),
    "a path": (on_outputs(with_member("../../evil.npy")), "is no array"),
}


@pytest.mark.slow
def test_a_board_with_one_of_each_shows_the_honest_rows_and_lists_what_it_left_out(made, tmp_path, capsys):
    """Each attack is a submission of its own; those that are read at all stand in tables of their own, unmarked."""
    board = tmp_path / "board"
    key = TableKey("cifar100", "mini", "vit-tiny", 5, added(board, made))

    def shown():
        found = read_board(board)
        rows, columns = found.tables[key], found.columns(key)
        return found, (board_table(key, rows, rows, columns, None, False), csv_text(rows, columns))

    dispatch(["submit", "--verify", str(board), "--data", str(made)])
    _, honest = shown()
    others = submission(tmp_path / "others", methods=("finetune", "scrub"), seeds=SEEDS)
    refused, unreadable = {}, {}
    for name, (forge, reason) in DISHONEST.items():
        run = Path(shutil.copytree(others / "results", tmp_path / name / "results")).parent
        forge(run)
        refused[added(board, run)] = reason
    for name, change in HOSTILE.items():
        run = Path(shutil.copytree(others / "results", tmp_path / name / "results")).parent
        file = file_of(run, "scrub", 42, "json")
        place = f"cifar100-mini/{file.stem}"
        content = json.loads(unsealed(file.read_text()))
        change(content)
        listed = manifest_of(read_folder(run).entries)
        text = json.dumps(content).encode()
        listed = Manifest({**listed.runs, place: (hashlib.sha256(text).hexdigest(), "")})
        folder = board / SUBMISSIONS / listed.id / "runs" / place
        folder.parent.mkdir(parents=True)
        folder.with_suffix(".json").write_bytes(text)
        (board / SUBMISSIONS / listed.id / MANIFEST).write_bytes(listed.to_bytes())
        unreadable[listed.id] = f"{SUBMISSIONS}/{listed.id}/runs/{place}.json"
    found, now = shown()
    assert now == honest, "and its marks hold"
    assert {left.path for left in found.left_out} == {*unreadable.values()} and all(x.reason for x in found.left_out)
    capsys.readouterr()
    with pytest.raises(SystemExit):
        dispatch(["submit", "--verify", str(board), "--data", str(made)])
    said = capsys.readouterr().out
    problems = verify_submission(read_folder(board), data=made).problems
    by_submission = {}
    for problem in problems:
        by_submission.setdefault(problem.submission, []).append(str(problem))
    assert by_submission.keys() == refused.keys() | unreadable.keys() and all(name in said for name in by_submission)
    for name, reason in refused.items():
        assert any(reason in line for line in by_submission[name]), (name, reason, by_submission[name])
    found, now = shown()
    assert now == honest and all(row.is_verified for row in found.tables[key])
    assert not any(row.verified for other, rows in found.tables.items() if other != key for row in rows)
