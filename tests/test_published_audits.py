"""`mubench audit org/name`: a published checkpoint beside its published original."""

import shutil

import pytest
from test_verification import NAME, ORIGINAL, put, tampered_weights

from mubench_hf.cli import dispatch
from mubench_hf.errors import BadInput
from mubench_hf.hub import model_bundle
from mubench_hf.runs.audits.report import load_report

FEW = ["--parts", "relearn", "prune", "--steps", "1", "--most_steps", "3", "--prune", "0.5"]


@pytest.mark.slow
def test_what_is_published_is_audited_and_what_is_not_is_named(own_bench, quick, hub_here, tmp_path):
    dispatch(["evaluate", str(own_bench / "mubench" / ORIGINAL), "--out", str(own_bench)])
    flags = ["--method", "finetune", "--out", str(own_bench), "--disable_tqdm", "true"]
    dispatch(["unlearn", "--task", "cifar100", "--mini", *flags])
    data = "mubench/cifar100-mini"
    shutil.copytree(own_bench / data, tmp_path / "out" / data)
    put(hub_here, model_bundle(own_bench / "mubench" / ORIGINAL))
    files, _ = put(hub_here, model_bundle(own_bench / "mubench" / NAME))

    dispatch(["audit", f"mubench/{NAME}", "--out", str(tmp_path / "out"), *FEW])
    dispatch(["audit", str(own_bench / "mubench" / NAME), "--out", str(own_bench), *FEW])
    found, local = (next((out / "audits").glob("*finetune*.json")) for out in (tmp_path / "out", own_bench))
    assert found.read_bytes() == local.read_bytes()
    report = load_report(found)
    assert report.references.keys() == {"original"}
    assert report.reasons["relearn_time"] == "needs the retrained model of the same seed"

    hub_here.add("model", "mubench/changed", tampered_weights(files))
    with pytest.raises(BadInput, match="was changed"):
        dispatch(["audit", "mubench/changed", "--out", str(tmp_path / "out"), *FEW])
