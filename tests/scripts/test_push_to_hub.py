"""`--push_to_hub true` on `mubench train` and `mubench unlearn` sends what `mubench publish model` sends."""

import pytest
from hub import OUTSIDER, WRITER

from mubench_hf.cli import dispatch
from mubench_hf.errors import BadInput
from mubench_hf.hub import model_bundle

NAME = "cifar100-mini-vit-tiny-finetune-df5pct-s42"
ORIGINAL = "cifar100-mini-vit-tiny-original-s42"
CIFAR = ["--task", "cifar100", "--mini", "--disable_tqdm", "true", "--push_to_hub", "true"]
UNLEARN = ["unlearn", *CIFAR, "--method", "finetune"]

pytestmark = pytest.mark.usefixtures("quick")


def content(bundle):
    return {path: file if isinstance(file, bytes) else file.read_bytes() for path, file in bundle.files.items()}


@pytest.mark.slow
def test_a_run_is_pushed_as_it_is_published(own_bench, hub_here, capsys):
    argv = [*UNLEARN, "--hub_token", WRITER, "--out", str(own_bench)]
    dispatch([*argv, "--hub_private_repo", "true"])
    sent = hub_here.files("model", f"mubench/{NAME}")
    assert sent == content(model_bundle(own_bench / "mubench" / NAME)) and "run_result.json" in sent
    assert f"mubench/{NAME}: created, revision " in capsys.readouterr().out
    assert len(hub_here.repos["model", f"mubench/{NAME}"].commits) == 2 and len(hub_here.repos) == 1
    assert hub_here.repos["model", f"mubench/{NAME}"].private
    dispatch(argv)  # Finished already: only what is to be pushed is looked at.
    assert f"mubench/{NAME}: unchanged" in capsys.readouterr().out
    dispatch([*argv, "--hub_model_id", f"writer/{NAME}"])
    assert set(hub_here.files("model", f"writer/{NAME}")) == set(sent)


def test_an_original_is_evaluated_and_pushed(own_bench, hub_here, capsys):
    dispatch(["train", *CIFAR, "--out", str(own_bench), "--hub_token", WRITER])
    assert hub_here.files("model", f"mubench/{ORIGINAL}") == content(model_bundle(own_bench / "mubench" / ORIGINAL))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--hub_token", OUTSIDER], "outsider is no member of the organisation 'mubench'"),
        ([], "no token of the Hub"),
        (["--hub_token", WRITER, "--hub_model_id", "mubench/mine"], f"Allowed: ORG/{NAME}"),
        (["--hub_token", WRITER, "--hub_model_id", NAME], f"Allowed: ORG/{NAME}"),
        (["--hub_token", WRITER, "--hub_revision", "v2"], "hub_revision is 'v2'"),
        (["--hub_token", WRITER, "--evaluate", "false"], "pushed with its scores"),
        (["--hub_token", WRITER, "--hub_strategy", "checkpoint"], "never pushed"),
    ],
)
def test_what_cannot_be_pushed_is_said_before_any_work(own_bench, hub_here, flags, said):
    with pytest.raises(BadInput, match=said):
        dispatch([*UNLEARN, "--out", str(own_bench), *flags])
    assert not hub_here.repos and not (own_bench / "mubench" / NAME).exists()
