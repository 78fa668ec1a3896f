"""``--help`` shows what is particular to a method first; flags are read as ``HfArgumentParser`` reads them."""

import random
import re
from dataclasses import dataclass, field, fields
from typing import Literal

import pytest
from transformers import HfArgumentParser, TrainingArguments

from mubench_hf.cli import dispatch
from mubench_hf.commands._arguments import UnlearnArguments, parse
from mubench_hf.errors import BadInput
from mubench_hf.trainers import UnlearningConfig, get_method, list_methods

LINK = "https://huggingface.co/docs/transformers/main_classes/trainer#transformers.TrainingArguments"


def printed(argv: list[str], capsys, monkeypatch) -> str:
    monkeypatch.setenv("COLUMNS", "400")
    with pytest.raises(SystemExit) as end:
        dispatch(argv)
    assert end.value.code == 0
    return capsys.readouterr().out


def flags_in(text: str) -> list[str]:
    return re.findall(r"^  --(\w+)", text, flags=re.MULTILINE)


@pytest.mark.parametrize("method", list_methods())
def test_a_methods_own_settings_come_first(method, capsys, monkeypatch):
    text = printed(["unlearn", "--method", method, "--help"], capsys, monkeypatch)
    config = get_method(method).config_class
    own, run = text.split("\nthe run:\n")[0], text.split("\nthe run:\n")[1].split("\nsettings of every method:\n")[0]
    added = {each.name for each in fields(config)} - {each.name for each in fields(UnlearningConfig)}
    assert added <= set(flags_in(own)) and f"settings of {method}:" in own
    for each in fields(config):
        if each.name in flags_in(own) and each.default is not None:
            line = next(line for line in own.splitlines() if line.startswith(f"  --{each.name} "))
            assert line.lower().endswith(f"(default: {str(each.default).lower()})")
    assert flags_in(run) == [each.name for each in fields(UnlearnArguments)]
    assert text.index(LINK) > text.rindex("\n  --")
    common = {each.name for each in fields(TrainingArguments)} - set(vars(UnlearningConfig)["__annotations__"])
    assert not common & set(flags_in(text.split("\nthe run:\n")[1])), "these are documented elsewhere"
    assert len(flags_in(text)) < 40


@pytest.mark.parametrize("order", [["--help", "--method", "{}"], ["--method={}", "--task", "imdb", "-h"]])
def test_a_method_of_ones_own_explains_itself(order, tmp_path, capsys, monkeypatch):
    strength, layers = round(random.uniform(1, 9), 4), [random.randrange(99) for _ in range(3)]
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import dataclass, field\n"
        "from typing import Literal\n"
        "from mubench_hf import UnlearningConfig, UnlearningTrainer\n"
        "@dataclass\n"
        "class MineConfig(UnlearningConfig):\n"
        f"    strength: float = field(default={strength}, metadata={{'help': 'How much, at most 50% of it.'}})\n"
        "    side: Literal['left', 'right'] = 'left'\n"
        f"    layers: list[int] = field(default_factory=lambda: {layers})\n"
        "    warmup_steps: int = 7\n"
        "class Mine(UnlearningTrainer):\n"
        "    key, config_class = 'my_method', MineConfig\n"
    )
    text = printed(["unlearn", *(word.format(f"{file}:Mine") for word in order)], capsys, monkeypatch)
    own = text.split("\nthe run:\n")[0]
    assert "settings of my_method:" in own and flags_in(own) == ["warmup_steps", "strength", "side", "layers"]
    assert re.search(rf"--strength FLOAT +How much, at most 50% of it\. \(default: {strength}\)\n", own)
    assert re.search(r"--side left\|right +\(default: left\)\n", own)
    assert re.search(rf"--layers INT \[INT \.\.\.\] +\(default: {' '.join(map(str, layers))}\)\n", own)
    assert re.search(r"--warmup_steps INT .*\(default: 7\)\n", own), "the help of TrainingArguments, its own default"


def test_without_a_method_the_methods_are_named(capsys, monkeypatch):
    text = printed(["unlearn", "--help"], capsys, monkeypatch)
    methods = text.split("\nmethods:\n")[1]
    assert re.findall(r"^  (\w+)  ", methods, flags=re.MULTILINE) == list_methods()
    assert text.endswith("`mubench unlearn --method NAME --help` shows the settings of one.\n")
    assert flags_in(text) == [each.name for each in fields(UnlearnArguments)]


def test_training_explains_itself(capsys, monkeypatch):
    text = printed(["train", "--help"], capsys, monkeypatch)
    assert flags_in(text)[:3] == ["init_from", "task", "mini"] and LINK in text
    assert text.startswith("usage: mubench train --task TASK [flags]\n")


def test_help_for_a_method_that_there_is_not():
    with pytest.raises(BadInput, match="Unknown method 'scrubb'. Did you mean 'scrub'"):
        dispatch(["unlearn", "--method", "scrubb", "--help"])


@pytest.mark.parametrize(
    ("flag", "meant"),
    [("--del_ration", "--del_ratio"), ("--evaluat", "--evaluate"), ("--learning_rat", "--learning_rate"),
     ("--mstep", "--msteps"), ("--bas", "--base")],
)  # fmt: skip
def test_a_misspelt_flag_is_compared_with_all(flag, meant, tmp_path):
    config_class, defaults = get_method("scrub").config_class, {"output_dir": str(tmp_path)}
    with pytest.raises(BadInput, match=f"Unknown argument '{flag}'. Did you mean {meant}\\?"):
        parse(config_class, [flag, "3"], defaults, names=UnlearnArguments)


def test_a_command_knows_its_misspelt_flags(tmp_path):
    with pytest.raises(BadInput, match="Unknown argument '--modl'. Did you mean --model\\?"):
        dispatch(["train", "--task", "cifar100", "--mini", "--out", str(tmp_path), "--modl", "vit-tiny"])


@dataclass
class Everything:
    """One field of each type."""

    text: str
    some_text: str = "a"
    whole_number: int = 1
    share: float | None = None
    be_quiet: bool = False
    be_kind: bool = True
    colour: Literal["red", "blue"] = "red"
    some_ids: list[int] = field(default_factory=lambda: [1])
    names: list[str] | None = None


def random_argv() -> list[str]:
    """Return some of the flags, in any order, with values that are allowed."""
    spelt = random.choice
    number = str(random.randrange(-50, 50))
    flags = [
        [spelt(["--some_text", "--some-text"]), spelt(["x y", "", "%d", "7"])],
        [spelt(["--whole_number", "--whole-number"]), number],
        ["--share", str(random.random())],
        spelt([["--be_quiet"], ["--be-quiet", "true"], ["--be_quiet", "False"], ["--be_quiet=1"]]),
        spelt([["--no_be_kind"], ["--no-be-kind"], ["--be_kind", "false"], ["--be-kind"]]),
        ["--colour", spelt(["red", "blue"])],
        [spelt(["--some_ids", "--some-ids"]), number, "3"],
        ["--names", "b", "c"],
    ]
    chosen = [["--text", "t"], *random.sample(flags, random.randint(0, len(flags)))]
    random.shuffle(chosen)
    return [word for words in chosen for word in words]


@pytest.mark.parametrize("_", range(40))
def test_flags_are_read_as_transformers_reads_them(_):
    argv = random_argv()
    (expected,) = HfArgumentParser(Everything).parse_args_into_dataclasses(argv, look_for_args_file=False)
    assert parse(Everything, argv) == expected, argv


def test_what_is_not_known_is_handed_on():
    parsed, rest = parse(Everything, ["--text", "t", "--gamma", "2", "--be_quiet"], rest=True)
    assert (parsed.text, parsed.be_quiet, rest) == ("t", True, ["--gamma", "2"])


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "required: --text"),
        (["--text"], "expected one argument"),
        (["--text", "t", "--whole_number", "2.5"], "invalid int value: '2.5'"),
        (["--text", "t", "--be_quiet", "maybe"], "'maybe' is neither true nor false"),
        (["--text", "t", "--colour", "green"], "choose from"),
        (["--text", "t", "--colou", "red"], "Unknown argument '--colou'. Did you mean --colour?"),
    ],
)
def test_what_cannot_be_read_is_refused(argv, said):
    with pytest.raises(BadInput) as error:
        parse(Everything, argv)
    assert said in str(error.value)
