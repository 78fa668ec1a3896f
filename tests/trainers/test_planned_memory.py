"""What `mubench plan` reads off a method is what the method does."""

import pytest

from mubench_hf.runs import memory
from mubench_hf.trainers import get_method, list_methods


@pytest.mark.parametrize("method", list_methods())
def test_what_a_method_needs_is_read_from_its_code(method, world, make, monkeypatch):
    chosen, called = get_method(method), set()
    for name in ("original_teacher", "forget_teacher"):
        through = getattr(chosen, name)

        def counted(self, *args, name=name, through=through):
            called.add(name)
            return through(self, *args)

        monkeypatch.setattr(chosen, name, counted)
    make(chosen, world).prepare()
    monkeypatch.undo()
    assert called == {name for name in ("original_teacher", "forget_teacher") if memory._calls(chosen, name)}
