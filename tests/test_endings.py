"""How commands end: errors of known families, interruptions and odd words are one line and a code."""

import errno
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from mubench_hf.commands._ending import check_words, exit_with, line_of
from mubench_hf.commands._paths import LONGEST_NAME, check_folder
from mubench_hf.errors import LONGEST_LINE, BadInput, shown

HIDDEN = "\x1b\x07\r\n\t\x00\x9b\u202e\u200b\ud800"


def test_a_process_that_fails_alone_tells_its_launcher(tmp_path, monkeypatch, capsys):
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

    def fails(argv):
        raise BadInput("there is no such file here")

    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    with pytest.raises(SystemExit):
        exit_with(fails, [])
    assert capsys.readouterr().err == ""
    found = ProcessFailure(local_rank=1, pid=1, exitcode=2, error_file=str(tmp_path / "error.json"))
    assert found.message["message"] == "mubench: there is no such file here"


def test_what_is_shown_is_one_line_that_no_terminal_obeys():
    for _ in range(200):
        text = "".join(random.choices(f"{HIDDEN}aé漢 []", k=random.choice([5, 50, 5000])))
        line = shown(text)
        assert line.isprintable() and len(line) <= LONGEST_LINE
        assert len(text) > 50 or line.count("é") == text.count("é")
    assert shown("\x1b[31mred") == "\\x1b[31mred" and shown(" a\n b ") == "a b"
    assert shown("x" * 5000 + " is too long").endswith("xxx is too long")


def chained(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def of_the_hub(words: str) -> Exception:
    from huggingface_hub.errors import OfflineModeIsEnabled

    return OfflineModeIsEnabled(words)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (BadInput("Wrong."), "Wrong."),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "The disk is full"),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598"), "The disk is full"),
        (RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"), "The disk is full"),
        (OSError("200000 requested and 1234 written"), "The disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/a/b"), "/a/b: Permission denied. Choose a folder"),
        (OSError(errno.EROFS, "Read-only file system", "/a/b"), "/a/b: Read-only file system. Choose a folder"),
        (chained(ValueError("x"), NotADirectoryError(errno.ENOTDIR, "Not a directory", "/a")), "/a: Not a directory."),
        (RuntimeError('I/O error: Not a directory (os error 20) at path "/a/.tmp1"'), "/a/.tmp1: Not a directory."),
        (ModuleNotFoundError("No module named 'wandb'", name="wandb.sdk"), "pip install wandb"),
        (ModuleNotFoundError("No module named 'av'", name="av"), "pip install 'mubench_hf[video]'"),
        (chained(OSError("Cannot load a/b"), of_the_hub("offline")), "was asked for: Cannot load a/b Check the name"),
    ],
)
def test_an_error_of_a_known_family_is_one_line(error, said):
    assert said in line_of(error)


@pytest.mark.parametrize(
    "error",
    [
        KeyError("labels"),
        OSError("something else"),
        PermissionError(errno.EACCES, "Permission denied"),
        ModuleNotFoundError("No module named 'mubench_hf.nothing'", name="mubench_hf.nothing"),
        chained(AttributeError("a mistake made while handling"), of_the_hub("offline")),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    ],
)
def test_a_mistake_in_the_program_stays_a_traceback(error):
    def main(argv):
        raise error

    with pytest.raises(type(error)):
        exit_with(main, [])


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["run", "--out", ""], "--out is empty"),
        (["run", "--out="], "--out is empty"),
        (["run", "--out=--"], "--out=-- gives no value"),
        (["build", ""], "An argument is empty"),
        (["build", "a\0b"], "is no text"),
        (["build", os.fsdecode(b"\xff")], "is no text"),
        (["run", "--seed", "1", "--seed=2"], "--seed: given twice"),
        (["run", "--learning_rate", "1", "--learning-rate", "2"], "--learning_rate and --learning-rate: given twice"),
        (["run", "--no_evaluate", "--evaluate"], "--no_evaluate and --evaluate: given twice"),
    ],
)
def test_words_that_no_command_can_use(argv, said):
    with pytest.raises(BadInput, match=f"{said}"):
        check_words(argv)


def test_words_that_may_be_used():
    check_words(["run", "-1", "--a", "--b", "b=", "--c=d=", "x y", "naïve/漢字"])


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("-x", "Write ./-x"),
        ("~/x", "Write ./~/x"),
        ("a\tb", "without control characters"),
        ("file", "is a file"),
        ("file/below/it", "is a file"),
        ("x" * (LONGEST_NAME + 1), "too long"),
        ("é" * 200, "too long"),
        ("x/" * 3000, "too long"),
        ("/dev/null/x", "/dev/null is a file"),
    ],
)
def test_folders_that_nothing_can_be_written_to(folder, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match=said):
        check_folder("--out", folder)
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_without_rights_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(BadInput, match=f"nothing may be written to {tmp_path}"):
        check_folder("--out", tmp_path / "new" / "folder")


def test_folders_that_can_be_written_to(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in (".", "..", "a/b", "ü b", "x" * LONGEST_NAME, tmp_path, None):
        check_folder("--out", folder)
    assert not os.listdir(tmp_path)


def in_the_foreground():
    """Let a child be interrupted even if the tests run in the background, where a shell has Ctrl-C ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


WAITING = """
import sys, time
from mubench_hf.commands._ending import exit_with

def main(argv):
    try:
        print("started", flush=True)
        time.sleep(60)
    finally:
        print("cleaned up", flush=True)

exit_with(main)
"""


@pytest.mark.parametrize(
    ("sent", "code", "said"), [(signal.SIGINT, 130, "Interrupted"), (signal.SIGTERM, 143, "Terminated")]
)
def test_an_interrupted_command_cleans_up_and_says_how_to_go_on(sent, code, said, offline_env):
    child = subprocess.Popen(
        [sys.executable, "-c", WAITING], env=offline_env, preexec_fn=in_the_foreground,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout.readline() == "started\n"
    child.send_signal(sent)
    out, err = child.communicate(timeout=20)
    assert (child.returncode, out) == (code, "cleaned up\n")
    assert err == (
        f"mubench: {said}. What was finished before is kept. Give the same command again; it goes on from there.\n"
    )


def test_a_process_that_it_started_is_terminated_as_ever():
    def main(argv):
        ready, here = os.pipe()
        child = os.fork()
        if not child:
            os.write(here, b".")
            time.sleep(60)
            os._exit(1)
        os.read(ready, 1)
        os.kill(child, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
        done.append(True)

    done, before = [], signal.getsignal(signal.SIGTERM)
    exit_with(main, [])
    assert done and signal.getsignal(signal.SIGTERM) == before


def test_a_full_disk_behind_the_output_is_one_line(offline_env):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mubench_hf.cli", "--version"], env=offline_env, stdout=full, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("mubench: The disk is full") and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_an_interrupted_run_is_finished_by_the_same_command(own_bench, offline_env):
    argv = [sys.executable, "-m", "mubench_hf.cli", "unlearn", "--task", "cifar100", "--mini", "--method", "finetune",
            "--out", str(own_bench), "--num_train_epochs", "8", "--disable_tqdm", "true",
            "--save_strategy", "epoch"]  # fmt: skip
    sent = random.choice([signal.SIGINT, signal.SIGTERM])
    with subprocess.Popen(
        argv, env=offline_env, preexec_fn=in_the_foreground, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True,
    ) as child:  # fmt: skip
        while not list(own_bench.glob("mubench/*-finetune-*/checkpoint-*/unlearning_state.json")):
            assert child.poll() is None, child.stderr.read()
            time.sleep(0.05)
        child.send_signal(sent)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 128 + sent and "Traceback" not in err
    assert err.splitlines()[-1].endswith("Give the same command again; it goes on from there.")
    assert not list(own_bench.glob("results/*finetune*"))
    done = subprocess.run(argv, env=offline_env, capture_output=True, text=True)
    assert done.returncode == 0 and len(list(own_bench.glob("results/*finetune*.json"))) == 1, done.stderr
