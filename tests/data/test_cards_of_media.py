"""The card of a set of sounds or videos says how its rows are read, and what it says works as it stands."""

import re
from dataclasses import replace

import numpy as np
import pytest
from datasets import Audio, ClassLabel, Dataset, DatasetDict, Features, Video

from mubench_hf.data import build
from mubench_hf.tasks import get_task
from mubench_hf.tasks._clips import write_avi
from mubench_hf.tasks._formants import wav_bytes
from mubench_hf.tasks._sounds import read_sound


def sound(rng):
    return wav_bytes(rng.integers(0, 256, 400).astype(np.uint8))


def clip(rng):
    return write_avi(rng.integers(0, 256, (3, 8, 8)), [(shade, shade, shade) for shade in range(256)], rate=8)


@pytest.mark.parametrize(
    ("name", "column", "feature", "make"),
    [("speech_commands", "audio", Audio(sampling_rate=16_000), sound), ("ucf101", "video", Video(), clip)],
)
def test_the_code_of_the_card_reads_a_row(name, column, feature, make, rng, tmp_path):
    features = Features({column: feature, "label": ClassLabel(names=["a", "b"])})

    def rows(count):
        files = [{"bytes": make(rng), "path": None} for _ in range(count)]
        return Dataset.from_dict({column: files, "label": [row % 2 for row in range(count)]}).cast(features)

    task = get_task(name)
    source = {"load": lambda raw: DatasetDict({"train": rows(100), "test": rows(4)}), "deletion_sha256": None}
    folder = build(replace(task, full=replace(task.full, **source, hub_id=None)), variant="full", out=tmp_path)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "pip install torchcodec" in card
    code = "\n".join(re.findall(r"```python\n(.*?)```", card, re.DOTALL)).replace(f"mubench/{name}", str(folder))
    found = {}
    exec(code, found)
    if column == "audio":
        samples, rate = read_sound(found["file"].getvalue())
        assert found["rate"] == rate == 16_000 and np.allclose(found["samples"], samples[:, 0]) and len(samples) == 400
    else:
        assert [np.asarray(frame).shape for frame in found["frames"]] == [(8, 8, 3)] * 3


def test_other_cards_say_nothing_of_it(made_up, tmp_path):
    assert "torchcodec" not in (build(made_up(), variant="full", out=tmp_path) / "README.md").read_text()
