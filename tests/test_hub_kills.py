"""Killed at any moment, under a Hub that is often busy, publishing ends complete and identical once it is repeated."""

import random
import subprocess
import sys
import time

import pytest
from hub import Faults
from made_up import checkpoint

from mubench_hf.data.build import build
from mubench_hf.hub import dataset_bundle, metric_bundle, model_bundle
from mubench_hf.tasks import get_task

KILLS = 10

PUBLISH = """
import sys
from mubench_hf.hub import dataset_bundle, metric_bundle, model_bundle
from mubench_hf.hub.publish import Publisher
from mubench_hf.tasks import get_task
folder, out = sys.argv[1:]
bundles = [dataset_bundle(get_task("imdb"), variant="mini", out=out), model_bundle(folder), metric_bundle("zrf")]
Publisher(wait=0.01).publish(bundles)
"""


@pytest.mark.slow
def test_killed_again_and_again(hub, hub_env, tmp_path):
    folder, _, _ = checkpoint(tmp_path)
    build(get_task("imdb"), variant="mini", out=tmp_path, progress=False)
    (folder / "vocab.txt").write_text(random.randbytes(1 << 21).hex())  # Large enough to be killed in the midst of.
    bundles = [
        dataset_bundle(get_task("imdb"), variant="mini", out=tmp_path),
        model_bundle(folder),
        metric_bundle("zrf"),
    ]
    command = [sys.executable, "-c", PUBLISH, str(folder), str(tmp_path)]

    def start():
        return subprocess.Popen(command, env=hub_env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    seed = random.randrange(2**32)
    draws, killed = random.Random(seed), 0
    hub.faults = Faults(unavailable=0.3, seed=seed, seconds=0.01)
    for _ in range(KILLS):
        process, until = start(), len(hub.requests) + draws.randrange(1, 12)
        while process.poll() is None and len(hub.requests) < until:
            time.sleep(0.001)
        time.sleep(draws.random() * 0.03)
        killed += process.poll() is None
        process.kill()
        process.communicate(timeout=60)
    assert killed > KILLS / 2, f"seed {seed}"
    process = start()
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0, f"seed {seed}: {printed}"
    for bundle in bundles:
        expected = {path: file if isinstance(file, bytes) else file.read_bytes() for path, file in bundle.files.items()}
        assert hub.files(bundle.kind, bundle.repo_id) == expected, f"seed {seed}"
        assert len(hub.repos[bundle.kind, bundle.repo_id].commits) == 2, f"seed {seed}: one commit each, never two"
