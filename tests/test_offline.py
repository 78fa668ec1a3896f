"""Without a network, a full source is refused in one line that says what was asked for and what to do."""

import pytest

from mubench_hf.cli import dispatch
from mubench_hf.errors import BadInput
from mubench_hf.tasks import get_task, list_tasks

FROM_HUB = [name for name in list_tasks() if get_task(name).full.hub_id]


@pytest.mark.parametrize("task", FROM_HUB)
def test_a_full_source_names_the_ways_out(task, tmp_path):
    with pytest.raises(BadInput) as error:
        dispatch(["build", task, "--out", str(tmp_path)])
    said = str(error.value)
    assert "--raw" in said and len(said) < 600 and "\n" not in said
    assert get_task(task).title in said
    # Photographs that the Hub lacks are asked for first.
    assert "not on the Hub" in said or (get_task(task).full.hub_id in said and "--mini" in said)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_model_that_is_not_here_is_named(tmp_path):
    dispatch(["build", "celeb_profile", "--out", str(tmp_path)])
    with pytest.raises(BadInput, match="'microsoft/phi-1_5'.*HF_HUB_OFFLINE"):
        dispatch(["train", "--task", "celeb_profile", "--out", str(tmp_path)])
