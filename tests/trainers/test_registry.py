"""What the registry of methods promises, of whatever methods there are."""

import ast
import inspect
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path

import pytest
from transformers import HfArgumentParser, TrainingArguments

import mubench_hf
from mubench_hf import trainers
from mubench_hf.errors import BadInput
from mubench_hf.kinds import list_kinds
from mubench_hf.trainers import UnlearningConfig, UnlearningTrainer, get_method, list_methods
from mubench_hf.trainers._documented import documented_arguments

PACKAGE, TESTS = Path(mubench_hf.__file__).parent, Path(__file__).parent


def test_names_and_classes():
    assert list_methods() == sorted(list_methods()) and list_methods()
    found = [get_method(method) for method in list_methods()]
    assert len(set(found)) == len(found) and all(issubclass(trainer, UnlearningTrainer) for trainer in found)
    assert [trainer.method_key() for trainer in found] == list_methods()


@pytest.mark.parametrize("method", list_methods())
def test_a_name_that_is_nearly_right_is_suggested(method):
    for found in (method.upper(), method + method[-1]):
        with pytest.raises(BadInput, match=f"^Unknown method '{found}'. Did you mean '{method}'"):
            get_method(found)


@pytest.mark.parametrize("found", ["xyzzy", "_base", "../retrain", "__init__", ""])
def test_what_is_not_a_method(found):
    with pytest.raises(BadInput) as error:
        get_method(found)
    assert all(method in str(error.value) for method in list_methods())


@pytest.mark.parametrize("method", list_methods())
def test_a_method_says_what_it_is(method):
    trainer = get_method(method)
    for word in ("title", "measurement", "corruption", "retention", "source"):
        assert isinstance(getattr(trainer, word), str) and getattr(trainer, word)
    own = (trainer.measurement, trainer.corruption, trainer.retention)
    others = [get_method(other) for other in list_methods() if other != method]
    assert own not in [(other.measurement, other.corruption, other.retention) for other in others]
    assert trainer.title not in [other.title for other in others]
    assert trainer.kinds is None or (isinstance(trainer.kinds, tuple) and set(trainer.kinds) <= set(list_kinds()))
    assert [kind for kind in list_kinds() if trainer.is_for(kind)], "it is for something"


@pytest.mark.parametrize("method", list_methods())
def test_a_method_has_a_test_of_its_own(method):
    assert (TESTS / f"test_{method}.py").is_file()


@pytest.mark.parametrize("method", list_methods())
def test_trainer_and_config_are_imported_by_name(method):
    trainer = get_method(method)
    config = f"{trainer.__name__.removesuffix('Trainer')}Config"
    assert trainer.config_class.__name__ == config and trainer.config_class.__module__ == trainer.__module__
    assert getattr(trainers, trainer.__name__) is trainer and getattr(trainers, config) is trainer.config_class
    assert {trainer.__name__, config} <= set(dir(trainers))


def test_what_editors_are_told_is_true():
    tree = ast.parse(Path(trainers.__file__).read_text(encoding="utf-8"))
    (told,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    assert len(told.body) > 5
    for line in told.body:
        for name in line.names:
            found = getattr(trainers, name.name)
            assert (name.asname, found.__module__) == (name.name, line.module) and name.name in dir(trainers)
    with pytest.raises(AttributeError, match="has no attribute 'NoTrainer'"):
        trainers.NoTrainer  # noqa: B018


# Settings ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [UnlearningConfig, *(get_method(method).config_class for method in list_methods())])
def test_every_setting_is_documented_where_an_editor_shows_it(config):
    classes = [each for each in config.__mro__ if issubclass(each, UnlearningConfig)]
    shown = [documented_arguments(each.__doc__) for each in classes]
    for each, texts in zip(classes, shown, strict=True):
        assert set(texts) <= set(inspect.get_annotations(each)), "the docstring names settings of the class alone"
    for setting in fields(config):
        text = next((texts[setting.name] for texts in shown if setting.name in texts), None)
        if setting.name not in TrainingArguments.__dataclass_fields__:
            assert text, f"{setting.name} is not in Args: of {config.__name__}"
        help, _, bounds = setting.metadata["help"].partition(" Allowed: ")
        allowed = config.ranges.get(setting.name)
        assert bounds == (f"{allowed.bounds}." if allowed and allowed.bounds else "")
        assert help == (text or TrainingArguments.__dataclass_fields__[setting.name].metadata["help"])
    printed = " ".join(HfArgumentParser(config).format_help().split())
    assert all(" ".join(text.split()).split(":")[0] in printed for texts in shown for text in texts.values())


def test_documented_arguments():
    doc = """Settings of something.

    More of it.

    Args:
        one: A text that goes on
            in a second line: with a colon.
        two_more: Another.

    Raises:
        three: No argument.
    """
    expected = {"one": "A text that goes on in a second line: with a colon.", "two_more": "Another."}
    assert documented_arguments(doc) == expected
    assert documented_arguments(None) == documented_arguments("Nothing.") == {}


def test_a_config_may_say_its_help_itself_or_only_change_a_default():
    @dataclass
    class Mine(UnlearningConfig):
        """Mine.

        Args:
            documented: In the docstring.
        """

        learning_rate: float = 0.5
        documented: int = 1
        older: int = field(default=2, metadata={"help": "In the field."})

    found = {each.name: (each.default, each.metadata["help"]) for each in fields(Mine)}
    assert found["documented"] == (1, "In the docstring.") and found["older"] == (2, "In the field.")
    original = TrainingArguments.__dataclass_fields__["learning_rate"].metadata["help"]
    assert found["learning_rate"] == (0.5, original)
    assert Mine(use_cpu=True, documented=7).documented == 7
    assert "learning_rate" not in documented_arguments(Mine.__doc__)
    assert TrainingArguments.__dataclass_fields__["learning_rate"].default != 0.5


def test_a_config_that_is_no_dataclass_is_refused():
    class Mine(UnlearningConfig):
        strength: float = 0.5

    with pytest.raises(BadInput, match="Mine declares strength and is no dataclass.*Put @dataclass above it"):
        Mine(use_cpu=True)


# Files of the package ------------------------------------------------------------------------------------------------


@pytest.fixture
def in_a_copy(tmp_path):
    """Run Python on a copy of the package with some files added: `in_a_copy({"trainers/x.py": "..."}, "print(1)")`."""

    def in_a_copy(files, code):
        shutil.copytree(PACKAGE, tmp_path / "mubench_hf", ignore=shutil.ignore_patterns("__pycache__"))
        for name, text in files.items():
            (tmp_path / "mubench_hf" / name).write_text(text, encoding="utf-8")
        env = {**os.environ, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True)
        return done.stdout + done.stderr.strip().rpartition("\n")[2]

    return in_a_copy


HELPER = """
from dataclasses import dataclass


@dataclass
class Entry:
    key: str = "entry"


def helper():
    return 1
"""


def test_helper_files_and_further_classes_are_no_methods(in_a_copy):
    scrub = (PACKAGE / "trainers" / "scrub.py").read_text(encoding="utf-8")
    second = f"{scrub}\n\nclass Second:\n    title = 'A helper'\n\n\n@dataclass\nclass Third:\n    key: str = 'x'\n"
    files = {"trainers/helper.py": HELPER, "trainers/_private.py": HELPER, "trainers/scrub.py": second}
    code = """
import sys
from mubench_hf.trainers import declared_methods, list_methods
import mubench_hf.trainers
assert "ScrubTrainer" in dir(mubench_hf.trainers) and "Second" not in dir(mubench_hf.trainers)
assert "torch" not in sys.modules
print(*list_methods())
"""
    assert in_a_copy(files, code).split() == list_methods()


def test_two_methods_with_one_key_are_refused(in_a_copy):
    copied = (PACKAGE / "trainers" / "finetune.py").read_text(encoding="utf-8").replace("Finetune", "Mine")
    found = in_a_copy({"trainers/mine.py": copied}, "import mubench_hf.trainers; mubench_hf.trainers.list_methods()")
    assert found == (
        "mubench_hf.errors.BadInput: MineTrainer (mine.py) has the key 'finetune' of FinetuneTrainer (finetune.py). "
        "Give it a key of its own."
    )
