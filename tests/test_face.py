"""The public face: every name is there for Python, for editors and for a type checker, and costs nothing until used."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import mubench_hf
from mubench_hf.utils.lazy import lazy_exports

ROOT = Path(__file__).parents[1]


def seen_by_editors() -> dict[str, str]:
    """Return name → module of what is imported for type checkers."""
    tree = ast.parse(Path(mubench_hf.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    return {alias.asname: node.module for node in block.body for alias in node.names}


@pytest.mark.parametrize(("name", "home"), seen_by_editors().items())
def test_python_gives_what_editors_see(name, home):
    assert getattr(mubench_hf, name) is getattr(import_module(home), name)


def test_importing_the_package_imports_nothing_else(offline_env):
    """Of the package itself only what makes the names, and nothing that is not Python's own."""
    code = "import sys; known = {*sys.modules}; import mubench_hf; print(*({*sys.modules} - known))"
    done = subprocess.run([sys.executable, "-c", code], env=offline_env, capture_output=True, text=True, check=True)
    made = {name for name in done.stdout.split() if name.partition(".")[0] not in sys.stdlib_module_names}
    assert made == {"mubench_hf", "mubench_hf.utils", "mubench_hf.utils.lazy"}


def test_the_names_are_listed():
    expected = {*seen_by_editors(), "__version__"}
    assert set(mubench_hf.__all__) == expected and len(mubench_hf.__all__) == len(expected)
    assert expected < set(dir(mubench_hf))
    everything: dict = {}
    exec("from mubench_hf import *", everything)
    assert expected < set(everything)


def test_what_people_need_is_there():
    needed = "ScrubTrainer ScrubConfig UnlearningTrainer UnlearningConfig Pass Batch BadInput build RunResult TaskSpec"
    assert set(needed.split()) < set(dir(mubench_hf))
    for kind in ("task", "method", "model", "metric"):
        assert {f"get_{kind}", f"list_{kind}s"} < set(dir(mubench_hf))


@pytest.mark.parametrize("name", ["ScrubTrainr", "import_module", "lazy", "_homes"])
def test_what_is_not_there_is_an_attribute_error(name):
    with pytest.raises(AttributeError, match=f"'mubench_hf' has no attribute '{name}'"):
        getattr(mubench_hf, name)
    with pytest.raises(ImportError):
        exec(f"from mubench_hf import {name}")


def test_one_line_adds_a_name(tmp_path, monkeypatch):
    """A package of one's own with two names, one of them two modules away."""
    package = tmp_path / "lazy_house"
    package.mkdir()
    (package / "room.py").write_text("LAMP = object()\nTABLE = object()\nBED = object()\n")
    (package / "__init__.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n"
        "    from lazy_house.room import LAMP as LAMP\n"
        "    from lazy_house.room import TABLE as TABLE\n"
        "    from lazy_house.room import BED\n"
        "else:\n"
        "    from mubench_hf.utils.lazy import lazy_exports\n"
        "    __getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    house = import_module("lazy_house")
    assert "lazy_house.room" not in sys.modules and house.__all__ == ["LAMP", "TABLE"]
    assert house.LAMP is import_module("lazy_house.room").LAMP
    assert not hasattr(house, "BED"), "what is imported under its name alone is for the annotations of the file"
    get, names, _ = lazy_exports("lazy_house", house.__file__)
    assert get("TABLE") is house.TABLE and {"LAMP", "TABLE", "__name__"} < set(names())


def test_the_package_is_marked_as_typed():
    assert Path(mubench_hf.__file__).with_name("py.typed").is_file()


@pytest.mark.slow
def test_the_wheel_is_marked_as_typed(tmp_path):
    import zipfile

    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert "mubench_hf/py.typed" in zipfile.ZipFile(wheel).namelist()


@pytest.mark.slow
def test_the_type_checker_is_content(tmp_path):
    """It reads a user's program, tests/typed/face.py, and what the face stands on."""
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
