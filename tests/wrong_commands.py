"""Command lines that are wrong in one known way: a grammar of right ones, and the ways to break them, by a seed.

The right ones work in a folder that `lay_out` makes. A break returns the words of the broken line, or `None` where it
has nothing to break; each yields only lines that must be refused, whatever the draw.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from random import Random
from typing import NamedTuple

from own_data import write_reviews

ORIGINAL = "bench/mubench/cifar100-mini-vit-tiny-original-s42"

QUICK = ["--max_steps", "1", "--disable_tqdm", "true"]

DATA = ["--data", "reviews.csv", "--label", "mood", "--inputs", "text", "--hold_out", "20%", "--out", "new"]

RIGHT = {
    "list": ["list", "tasks"],
    "build": ["build", "imdb", "--mini", "--out", "new"],
    "build of own data": ["build", *DATA],
    "train": ["train", "--task", "cifar100", "--mini", "--out", "bench", "--seed", "7", *QUICK],
    "unlearn": ["unlearn", "--task", "cifar100", "--mini", "--method", "scrub", "--out", "bench", "--seed", "42",
                *QUICK],
    "unlearn an adapter": ["unlearn", "--task", "cifar100", "--mini", "--method", "neggrad", "--out", "bench",
                           "--peft", "lora", "--peft_target_modules", "q_proj,v_proj", *QUICK],
    "evaluate": ["evaluate", ORIGINAL, "--out", "bench", "--del_ratio", "5"],
    "audit": ["audit", ORIGINAL, "--out", "bench", "--parts", "prune", "--prune", "0.5"],
    "table": ["table", "bench"],
    "run": ["run", "cifar100", "--mini", "--out", "new", "--methods", "finetune", "--seeds", "42"],
    "sweep": ["sweep", "cifar100", "--mini", "--out", "new", "--methods", "finetune", "--seeds", "42", "--launcher",
              "none"],
    "shadow": ["shadow", "cifar100", "--mini", "--models", "2", "--out", "new"],
    "meta": ["meta", "cifar100", "--out", "new", "--jobs", "1"],
    "run of own data": ["run", *DATA, "--model", "bert", "--methods", "finetune", "--seeds", "42"],
    "demo": ["demo", "bench", "--no_browser"],
    "publish dataset": ["publish", "dataset", "cifar100", "--mini", "--out", "bench", "--org", "me"],
    "publish model": ["publish", "model", ORIGINAL, "--org", "me"],
    "publish metric": ["publish", "metric", "accuracy", "--org", "me"],
    "submit": ["submit", "bench", "--to", "me/results"],
}  # fmt: skip

NASTY = ["../x", "/etc/passwd", "..", "a\x1b[31mb", "a\nb", "a\0b", os.fsdecode(b"\xff\xfe"), "x" * 5000, "漢字",
         "[red]x[/]",
         "$(touch canary)", "`touch canary`", ";touch canary", "__import__('os').system('touch canary')", "%s%n",
         "{0}",
         "🙂", "a/b/c", "gnp\u202e.exe", "\x07", "missing.module:X"]  # fmt: skip
"""Texts that are the name of nothing."""

FOLDERS = ["", "file", "file/below", "/dev/null/x", "/proc/x", "x" * 300, "x" * 5000, "x/" * 3000, "a\0b",
           "a\nb",
           "\x1b[2J", os.fsdecode(b"a\xff")]  # fmt: skip
"""Folders that nothing can be written to."""

NO_FOLDERS = ["", "nowhere", "empty", "file", "loop", "x" * 5000, "a\0b", "a\x1b[31mb", "/dev/null", "bench/nothing"]
"""Folders that nothing can be read from."""

NO_NUMBER = ["", "fast", "0x10", "1,5", "--", "½", "1e", "１２x", "[1]", "None"]
NO_WHOLE = [*NO_NUMBER, "nan", "inf", "1e999", "2.5", "9" * 5000]
NO_SEED = [*NO_WHOLE, "-1", "4294967296", "9" * 30]
NO_COUNT = [*NO_WHOLE, "0", "-3"]
NO_RATE = [*NO_NUMBER, "nan", "inf", "-inf", "1e999", "-1"]
NO_RATIO = [*NO_WHOLE, "0", "11", "-5", "5%%", "1e1"]

NO_DATA = ["empty.csv", "binary.csv", "one_class.csv", "no_labels.csv", "no.parquet", "no.json", "huge.csv",
           "header.csv", "empty",
           "loop", "file", "state", "nowhere", "nobody/nothing", "x" * 5000, "nothing.csv", "/dev/null", "a\nb",
           "folder.csv"]  # fmt: skip

WRONG_VALUES: dict[str, dict[str, list[str]]] = {
    "build": {"--out": FOLDERS, "--raw": ["nowhere", "bench"], "--model": ["vit-tiny"], "--label": ["mood"]},
    "build of own data": {"--out": FOLDERS, "--data": NO_DATA, "--label": ["", "moood", "\x1b[31m", "x" * 5000],
                          "--inputs": ["txt", "mood", "\x07"], "--hold_out": ["0%", "100%", "nan%", "20", "-5%",
                                                                              "1e999%", ""],
                          "--forget": ["0%", "11%", "nowhere.txt", "city=Paris", "town=Rome", "binary.csv", "1e1%",
                                       "digits.txt", "=", ""],
                          "--test": ["nowhere", "nobody/nothing", "train", "empty.csv"],
                          "--kind": ["classifcation", "\0"],
                          "--task_name": ["", "..", "../x", "/", "cifar100", "a\0b", "x" * 300, "a b", "\x1b[31m"],
                          "--settings": ["learning_rate", "learning_rat=1", "output_dir=x", "=", "seed=3"],
                          "--recipe": ["warmup", "x=1"]},
    "train": {"--out": FOLDERS, "--output_dir": FOLDERS, "--task": NASTY, "--model": NASTY, "--seed": NO_SEED,
              "--max_steps": NO_WHOLE,
              "--learning_rate": NO_RATE, "--per_device_train_batch_size": NO_COUNT, "--weight_decay": [*NO_NUMBER,
                                                                                                        "nan"]},
    "unlearn": {"--out": FOLDERS, "--output_dir": FOLDERS, "--teacher_cache_dir": FOLDERS, "--task": NASTY,
                "--model": NASTY,
                "--base": [*NASTY, "empty", "bench"], "--method": [*NASTY, "scrubb"], "--seed": NO_SEED,
                "--original_seed": NO_SEED,
                "--learning_rate": NO_RATE, "--per_device_train_batch_size": NO_COUNT,
                "--per_device_eval_batch_size": NO_COUNT,
                "--gradient_accumulation_steps": NO_COUNT, "--num_train_epochs": [*NO_NUMBER, "nan", "inf", "0",
                                                                                  "-1"],
                "--alpha": NO_RATE, "--gamma": NO_RATE, "--temperature": [*NO_RATE, "0"], "--msteps": [*NO_WHOLE,
                                                                                                       "-1"],
                "--forget_batch_size": NO_COUNT, "--max_abs_loss": [*NO_NUMBER, "nan", "-1"],
                "--cpu_threads": [*NO_COUNT, "99999999"],
                "--torch_compile_backend": ["nothing"], "--dataloader_num_workers": ["-1", "100000", "1.5"],
               
                "--del_ratio": NO_RATIO, "--evaluate": ["", "maybe", "2"], "--optim": ["adamm", "",
                                                                                       "adamw_torch_8bit"],
                "--lr_scheduler_type": ["lineal", "\x1b"], "--report_to": ["wandb", "nothing", "\0"],
                "--deepspeed": ["nowhere.json", "file"],
                "--fsdp": ["full_shard", "x"], "--eval_strategy": ["sometimes"], "--save_strategy": ["sometimes"],
                "--resume_from_checkpoint": ["nowhere", "empty", "file"], "--hub_strategy": ["never"],
                "--fp16": ["perhaps"]},
    "evaluate": {"--out": FOLDERS, "--del_ratio": NO_RATIO, "--metrics": NASTY},
    "audit": {"--out": FOLDERS, "--del_ratio": NO_RATIO, "--parts": [*NASTY, "", "relern"], "--steps": NO_COUNT,
              "--most_steps": NO_COUNT, "--batch_size": NO_COUNT, "--learning_rate": [*NO_RATE, "0"],
              "--prune": [*NO_NUMBER, "nan", "inf", "0", "1", "-0.1"], "--seed": NO_SEED},
    "table": {"--metrics": NASTY},
    "run": {"--out": FOLDERS, "--model": NASTY, "--methods": [*NASTY, "scrubb"], "--seeds": NO_SEED,
            "--original_seeds": NO_SEED,
            "--del_ratio": NO_RATIO, "--metrics": NASTY, "--raw": ["nowhere", "bench"]},
    "sweep": {"--out": FOLDERS, "--model": NASTY, "--methods": [*NASTY, "scrubb"], "--seeds": NO_SEED,
              "--del_ratio": [*NO_RATIO, "5-4", "1-11", "1-"], "--jobs": NO_COUNT, "--tries": NO_COUNT,
              "--shard": ["", "2", "3/2", "0/2", "1/2/3", "½/2"], "--launcher": ["", "pbs", "\x07"],
              "--set": ["finetune", "finetune.=1", "scrub.msteps=2", "finetune.seed=1", "finetune.learning_rate=",
                        "finetune.learning_rate=fast", "finetune.nothing=1", "finetune.out=x", "=", "a\nb"],
              "--seconds": ["unlearn", "start=3", "unlearn=-1", "unlearn=soon"], "--engine": ["image", "image=x"],
              "--raw": ["nowhere", "bench"]},
    "shadow": {"--out": FOLDERS, "--model": NASTY, "--models": [*NO_COUNT, "1"], "--jobs": NO_COUNT,
               "--index": [*NO_WHOLE, "-1", "2"], "--seed": NO_SEED, "--del_ratio": NO_RATIO,
               "--kind": ["", "quarter", "\x07"], "--method": [*NASTY, "scrubb"], "--raw": ["nowhere", "bench"]},
    "meta": {"--out": FOLDERS, "--seeds": [*NO_SEED, "7"], "--jobs": NO_COUNT, "--metrics": NASTY},
    "publish dataset": {"--out": ["", "nowhere", "empty", "file"], "--org": NASTY},
    "publish model": {"--out": ["", "nowhere", "empty", "file"], "--org": NASTY, "--del_ratio": [*NO_RATIO, "3"]},
    "publish metric": {"--org": NASTY},
    "submit": {"--to": ["", "me", "a/b/c", "../x", "\x1b[31m/x"], "--data": ["", "nowhere",
                                                                                               "file"]},
}  # fmt: skip
"""Right command → flag → values that it must refuse."""

WRONG_VALUES["unlearn an adapter"] = {
    "--peft": ["loraa", "prompt_tuning", "\x1b"], "--peft_r": [*NO_COUNT, "9" * 30],
    "--peft_alpha": [*NO_NUMBER, "nan", "inf"],
    "--peft_dropout": [*NO_NUMBER, "nan", "1", "-0.1"], "--peft_target_modules": ["nowhere", ",", "\x07"],
    "--peft_modules_to_save": ["nowhere", "a/b"], "--peft_feedforward_modules": ["output"], "--learning_rate": NO_RATE,
}  # fmt: skip
WRONG_VALUES["run of own data"] = WRONG_VALUES["build of own data"]

POSITIONS = {"list": (1, NASTY), "build": (1, NASTY), "run": (1, NASTY),
             "meta": (1, [*NASTY, "samsum"]), "sweep": (1, NASTY), "shadow": (1, NASTY),
             "evaluate": (1, NO_FOLDERS), "audit": (1, NO_FOLDERS),
             "table": (1,






                                                                                                          NO_FOLDERS),
             "demo": (1, NO_FOLDERS), "publish dataset": (2, NASTY), "publish model": (2, NO_FOLDERS),
             "publish metric": (2, NASTY), "submit": (1, NO_FOLDERS)}  # fmt: skip
"""Right command → place of its name or folder, and what must be refused there."""

REQUIRED = {"train": ["--task"], "unlearn": ["--task", "--method"], "unlearn an adapter": ["--task", "--method"],
             "build of own data": ["--data", "--label",
                                                                                          "--hold_out"],
            "run of own data": ["--data", "--label", "--hold_out", "--model"]}  # fmt: skip

SWITCHES = ("--mini", "--no_browser")


def lay_out(folder: Path, bench: Path) -> None:
    """Fill a folder with what right command lines need, and with data that nobody can use."""
    shutil.copytree(bench, folder / "bench")
    write_reviews(folder, Random(1))
    (folder / "file").write_text("mine")
    (folder / "empty").mkdir()
    (folder / "folder.csv").mkdir()
    os.symlink("loop", folder / "loop")
    (folder / "empty.csv").touch()
    (folder / "digits.txt").write_text("9" * 5000)
    (folder / "state").mkdir()
    (folder / "state" / "state.json").write_text("{}")
    (folder / "binary.csv").write_bytes(Random(2).randbytes(3000))
    (folder / "header.csv").write_text("text,mood\n")
    (folder / "one_class.csv").write_text("text,mood\n" + "a,sad\n" * 50)
    (folder / "no_labels.csv").write_text("text,mood\n" + "a,\nb,\n" * 50)
    (folder / "no.parquet").write_text("not a parquet file" * 50)
    (folder / "no.json").write_text('{"text": "a", "mood"')
    (folder / "huge.csv").write_text('text,mood\n"' + "x" * 5_000_000)


def misspelt(draw: Random, word: str) -> str:
    """Return a word with one letter left out, doubled or replaced by a digit."""
    place = draw.randrange(3, len(word)) if word.startswith("--") else draw.randrange(len(word))
    letter = draw.choice(["", word[place] * 2, "7"])
    return word[:place] + letter + word[place + 1 :]


def flags_of(words: list[str]) -> list[int]:
    """Return the places of the flags that take a value."""
    return [place for place, word in enumerate(words) if word.startswith("--") and word not in SWITCHES]


def misspell_the_command(draw: Random, right: str, words: list[str]) -> list[str]:
    return [draw.choice([misspelt(draw, words[0]), words[0].upper(), *NASTY]), *words[1:]]


def misspell_a_flag(draw: Random, right: str, words: list[str]) -> list[str] | None:
    places = [place for place, word in enumerate(words) if word.startswith("--")]
    if not places:
        return None
    place = draw.choice(places)
    return [*words[:place], misspelt(draw, words[place]), *words[place + 1 :]]


def abbreviate_a_flag(draw: Random, right: str, words: list[str]) -> list[str] | None:
    places = [place for place, word in enumerate(words) if word.startswith("--") and len(word) > 5]
    if not places:
        return None
    place = draw.choice(places)
    return [*words[:place], words[place][: draw.randrange(4, len(words[place]))], *words[place + 1 :]]


def add_an_unknown_flag(draw: Random, right: str, words: list[str]) -> list[str]:
    added = draw.choice(
        [["--frobnicate"], ["--frobnicate", "3"], ["--x=y"], ["-z"], ["--alpha_", "1"], ["--\x1b[31m", "1"]]
    )
    return [*words, *added]


def leave_out_a_value(draw: Random, right: str, words: list[str]) -> list[str] | None:
    # A last flag that may stand alone, such as `--disable_tqdm`, is none of these.
    places = [place for place in flags_of(words) if words[place] != "--disable_tqdm"]
    if not places:
        return None
    place = draw.choice(places)
    end = place + 2
    return [*words[:place], *words[end:], words[place]]


def give_a_flag_twice(draw: Random, right: str, words: list[str]) -> list[str] | None:
    if not (places := flags_of(words)):
        return None
    place = draw.choice(places)
    spelt = draw.choice([words[place], words[place].replace("_", "-")])
    return [*words, *draw.choice([[spelt, words[place + 1]], [f"{spelt}={words[place + 1]}"]])]


def leave_out_what_is_required(draw: Random, right: str, words: list[str]) -> list[str] | None:
    if right in POSITIONS and right not in ("list", "demo"):
        place = POSITIONS[right][0]
        return [*words[:place], *words[place + 1 :]]
    if right not in REQUIRED:
        return None
    place = words.index(draw.choice(REQUIRED[right]))
    return [*words[:place], *words[place + 2 :]]


def give_a_wrong_value(draw: Random, right: str, words: list[str]) -> list[str] | None:
    if right not in WRONG_VALUES:
        return None
    flag = draw.choice(sorted(WRONG_VALUES[right]))
    return set_flag(draw, words, flag, draw.choice(WRONG_VALUES[right][flag]))


def set_flag(draw: Random, words: list[str], flag: str, value: str) -> list[str]:
    """Return the words with a flag's one value put in the place of its own, or added."""
    if flag in words:
        place = words.index(flag)
        words = [*words[:place], *words[place + 2 :]]
    # The value of a flag without `=` would be taken for another flag.
    return [*words, *([f"{flag}={value}"] if value.startswith("-") or draw.random() < 0.3 else [flag, value])]


def give_a_wrong_name(draw: Random, right: str, words: list[str]) -> list[str] | None:
    if right not in POSITIONS:
        return None
    place, wrong = POSITIONS[right]
    return [*words[:place], draw.choice(wrong), *words[place + 1 :]]


def add_what_does_not_belong(draw: Random, right: str, words: list[str]) -> list[str] | None:
    added = {"list": ["method"], "train": ["cifar100"], "unlearn": ["scrub"], "build": ["--data", "reviews.csv"],
             "demo": ["other"],
             "run": ["--label", "mood"], "build of own data": ["--mini"], "run of own data": ["--mini"],
             "submit": ["--verify", "bench"],
             "publish metric": ["nothing"], "evaluate": ["nobody/nothing"], "table": ["nowhere"],
             "audit": ["nobody/nothing"]}  # fmt: skip
    return [*words, *added[right]] if right in added else None


def ask_for_what_is_offline(draw: Random, right: str, words: list[str]) -> list[str] | None:
    tasks = ["cifar100", "imdb", "samsum", "nlvr2", "speech_commands", "tiny_imagenet", "ucf101", "ddi2013"]
    if right in ("build", "run"):
        return [words[0], draw.choice(tasks), "--out", "new"]
    if right == "train":
        return [words[0], "--task", draw.choice(tasks), "--out", "new"]
    if right == "unlearn":
        return set_flag(draw, words, draw.choice(["--base", "--model"]), "nobody/nothing")
    return None


BREAKS = {break_.__name__.replace("_", " "): break_ for break_ in (
    misspell_the_command, misspell_a_flag, abbreviate_a_flag, add_an_unknown_flag, leave_out_a_value,
    give_a_flag_twice,
    leave_out_what_is_required, give_a_wrong_value, give_a_wrong_name, add_what_does_not_belong,
    ask_for_what_is_offline,
)}  # fmt: skip

WEIGHTS = {"give a wrong value": 8, "give a wrong name": 3}
"""How many times as often as the others a break is drawn."""


class Wrong(NamedTuple):
    """A wrong command line, how it was broken, and the right one."""

    how: str
    right: str
    words: list[str]


def wrong_commands(seed: int, count: int) -> list[Wrong]:
    """Return different wrong command lines."""
    draw, found, seen = Random(seed), [], set()
    while len(found) < count:
        how = draw.choices(list(BREAKS), [WEIGHTS.get(each, 1) for each in BREAKS])[0]
        right = draw.choice(list(RIGHT))
        words = BREAKS[how](draw, right, list(RIGHT[right]))
        if words is not None and tuple(words) not in seen:
            seen.add(tuple(words))
            found.append(Wrong(how, right, words))
    return found
