"""Speech Commands: the mini speech, both upstream layouts, and what the models make of a second of sound."""

import hashlib
import io
import shutil
import wave
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pytest
import soundfile
import torch
from datasets import Audio, ClassLabel, Features, load_dataset

from mubench_hf.data import build, load_split
from mubench_hf.data.build import _upstream, deletion_list
from mubench_hf.data.manifest import MANIFEST, read_manifest
from mubench_hf.data.prepare import load_task_data
from mubench_hf.errors import BadInput
from mubench_hf.models import get_model
from mubench_hf.models.loading import fresh_model, load_processor, saved_processor
from mubench_hf.tasks import get_task

TASK = get_task("speech_commands")
LABELS = ["yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "_silence_", "_unknown_"]
TINY = {"wav2vec2-tiny": "input_values", "hubert-tiny": "input_values", "whisper-micro": "input_features"}
# Rows of SUPERB's train set in upstream order, by label: its files are sorted by path, so a word is one run of rows.
UPSTREAM_RUNS = [
    ("_silence_", 6), ("_unknown_", 5546), ("down", 1842), ("_unknown_", 5535), ("go", 1861), ("_unknown_", 2800),
    ("left", 1839), ("_unknown_", 3299), ("no", 1853), ("off", 1839), ("on", 1864), ("_unknown_", 1892),
    ("right", 1852), ("_unknown_", 5110), ("stop", 1885), ("_unknown_", 5088), ("up", 1843), ("_unknown_", 1414),
    ("yes", 1860), ("_unknown_", 1866),
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def datasets_cache(tmp_path_factory):
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets_cache"))
        yield


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("mini")
    build(TASK, variant="mini", out=out, progress=False)
    return out


@pytest.fixture(scope="module")
def rows(built):
    found = load_dataset(str(built / "mubench" / "speech_commands-mini"), "df_5pct")
    return {split: rows.cast_column("audio", Audio(decode=False)) for split, rows in found.items()}


def wav(samples, rate=16000, width=2, channels=1):
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(np.asarray(samples, np.int16).tobytes())
    return buffer.getvalue()


def extractor(sound, sampling_rate, return_tensors):
    assert (sampling_rate, return_tensors, sound.dtype) == (16000, "pt", np.float32)
    return {"input_values": torch.from_numpy(sound)[None]}


extractor.model_input_names = ["input_values", "attention_mask"]


def test_mini_features_and_splits(built):
    found = load_dataset(str(built / "mubench" / "speech_commands-mini"), "df_5pct")
    assert {split: len(part) for split, part in found.items()} == {"forget": 60, "retain": 540, "test": 300}
    for part in found.values():
        assert part.column_names == ["index", "audio", "label"]
        assert part.features["audio"] == Audio(sampling_rate=16000) and part.features["label"].names == LABELS
    labels = np.bincount([*found["forget"]["label"], *found["retain"]["label"]])
    assert labels.tolist() == [50] * 12 and np.bincount(found["test"]["label"]).tolist() == [25] * 12


def test_mini_bytes_are_the_same_everywhere(rows):
    digest = hashlib.sha256()
    train = datasets.concatenate_datasets([rows["forget"], rows["retain"]]).sort("index")
    for row in [*train, *rows["test"]]:
        digest.update(row["audio"]["bytes"] + row["audio"]["path"].encode() + bytes([row["label"]]))
    assert digest.hexdigest() == "bcf2cacb7f5f73326c46326df79568af4c4ab3ece22070383365af5651170321"


def test_mini_rows_hold_sound(rows):
    """Each is 8-bit WAV that Python's own reader understands, and only silence has no word in it."""
    loud = {True: [], False: []}
    for row in rows["test"]:
        with wave.open(io.BytesIO(row["audio"]["bytes"])) as file:
            assert (file.getframerate(), file.getsampwidth(), file.getnchannels()) == (16000, 1, 1)
            samples = np.frombuffer(file.readframes(file.getnframes()), np.uint8).astype(int) - 128
        assert len(samples) == 8000
        loud[LABELS[row["label"]] == "_silence_"].append(np.abs(samples).max())
    assert max(loud[True]) < 5 and min(loud[False]) > 20
    speakers = {split: {row["audio"]["path"].split("_")[0] for row in part} for split, part in rows.items()}
    assert not speakers["test"] & (speakers["forget"] | speakers["retain"]) and len(speakers["test"]) == 25


def test_prepare_sees_the_stored_sound(rows):
    row = rows["forget"][3]
    inputs = TASK.prepare(row, extractor)
    stored = np.frombuffer(row["audio"]["bytes"][-8000:], np.uint8)
    assert inputs["labels"] == row["label"] and inputs["input_values"].dtype == torch.float32
    assert inputs["input_values"].tolist() == [*((stored.astype(float) - 128) / 128), *[0] * 8000]


def test_prepare_cuts_and_averages_channels():
    long = np.random.default_rng(0).integers(-(2**15), 2**15, 20000)
    inputs = TASK.prepare({"audio": {"bytes": wav(long), "path": None}, "label": 1}, extractor)
    assert inputs["input_values"].tolist() == (long[:16000] / 2**15).tolist()
    stereo = np.stack([long, np.zeros_like(long)], 1).ravel()
    inputs = TASK.prepare({"audio": {"bytes": wav(stereo, channels=2), "path": None}, "label": 1}, extractor)
    assert inputs["input_values"].tolist() == (long[:16000] / 2**16).tolist()


def test_prepare_reads_flac():
    samples, buffer = np.arange(-8000, 8000, dtype=np.int16), io.BytesIO()
    soundfile.write(buffer, samples, 16000, format="FLAC", subtype="PCM_16")
    inputs = TASK.prepare({"audio": {"bytes": buffer.getvalue(), "path": None}, "label": 0}, extractor)
    assert inputs["input_values"].tolist() == (samples / 2**15).tolist()


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        (b"not sound at all", "not recognised"),
        (b"", ""),
        (wav([1] * 9)[:30], ""),
        (wav([1] * 9, rate=8000), "8000 samples per second"),
        (wav([]), "no samples"),
        (None, ""),
    ],
)
def test_prepare_names_a_bad_row(stored, reason):
    with pytest.raises(BadInput, match=f"Row 17: column 'audio' cannot be decoded .*{reason}.*Needed: sound of 16,000"):
        TASK.prepare({"index": 17, "audio": {"bytes": stored, "path": None}, "label": 0}, extractor)


# Upstream layouts.


def parquet_export(folder, splits):
    """Write rows as the Hub's parquet branch has them: ``(file name, bytes, label)`` by split."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    features = Features({"file": datasets.Value("string"), "audio": Audio(16000), "label": ClassLabel(names=LABELS)})
    for split, rows in splits.items():
        table = pa.table(
            [
                pa.array([name for name, _, _ in rows]),
                pa.array([{"bytes": sound, "path": name.split("/")[-1]} for name, sound, _ in rows],
                         features.arrow_schema.field("audio").type),
                pa.array([LABELS.index(label) for *_, label in rows], pa.int64()),
            ],
            schema=features.arrow_schema,
        )  # fmt: skip
        (folder / "ks" / split).mkdir(parents=True)
        half = len(rows) // 2
        pq.write_table(table.slice(0, half), folder / "ks" / split / "0000.parquet")
        pq.write_table(table.slice(half), folder / "ks" / split / "0001.parquet")
    return folder


def sound(number):
    return wav([number] * 160)


ARCHIVE, TEST_ARCHIVE = "speech_commands_v0.01", "speech_commands_test_set_v0.01"
TRAIN_FILES = {
    "_background_noise_/pink_noise.wav": "_silence_",
    "bed/aa_nohash_0.wav": "_unknown_",
    "on/zz_nohash_1.wav": "on",
    "one/aa_nohash_0.wav": "_unknown_",
    "yes/aa_nohash_0.wav": "yes",
}
VALIDATION_FILES = {"no/bb_nohash_0.wav": "no", "zero/bb_nohash_0.wav": "_unknown_"}
TEST_FILES = {"_silence_/1.wav": "_silence_", "_unknown_/x.wav": "_unknown_", "go/cc_nohash_0.wav": "go"}


@pytest.fixture
def archives(tmp_path):
    """A folder with the two archives of Speech Commands v0.01, unpacked, of a few files."""
    raw = tmp_path / "raw"
    inside = {**TRAIN_FILES, **VALIDATION_FILES, "down/dd_nohash_0.wav": "listed for testing"}
    for folder, files in ((raw / ARCHIVE, inside), (raw / TEST_ARCHIVE, TEST_FILES)):
        for number, name in enumerate(reversed(files)):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(sound(len(files) - number))
    (raw / ARCHIVE / "validation_list.txt").write_text("".join(f"{name}\n" for name in reversed(VALIDATION_FILES)))
    (raw / ARCHIVE / "testing_list.txt").write_text("down/dd_nohash_0.wav\n")
    (raw / ARCHIVE / "README.md").write_text("Speech Commands")
    return raw


def test_archives_become_superbs_splits(archives):
    data = TASK.full.load(archives)
    for split, files in (("train", TRAIN_FILES), ("validation", VALIDATION_FILES), ("test", TEST_FILES)):
        assert data[split].features == Features({"audio": Audio(16000), "label": ClassLabel(names=LABELS)})
        assert [LABELS[label] for label in data[split]["label"]] == list(files.values())
        paths = [row["path"] for row in data[split].cast_column("audio", Audio(decode=False))["audio"]]
        assert [path.split("v0.01/")[1] for path in paths] == list(files)


def test_archives_and_export_build_the_same_rows(archives, tmp_path):
    """A hundred more files, so that there is something to forget; sounds go into the data set, not paths."""
    for number in range(240):
        file = archives / ARCHIVE / ("left", "stop", "cat")[number % 3] / f"{number:03d}_nohash_0.wav"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(sound(number))
    splits = {}
    for split, rows in TASK.full.load(archives).items():
        paths = rows.cast_column("audio", Audio(decode=False))["audio"]
        splits[split] = [
            (audio["path"], Path(audio["path"]).read_bytes(), LABELS[label])
            for audio, label in zip(paths, rows["label"], strict=True)
        ]
    export = parquet_export(tmp_path / "export", splits)
    task = replace(TASK, full=replace(TASK.full, deletion_sha256=None))
    made = []
    for name, raw in (("a", archives), ("b", export), ("c", export / "ks")):
        folder = build(task, variant="full", out=tmp_path / name, raw=raw, progress=False)
        made.append(read_manifest(folder / MANIFEST)["files"])
    assert made[0] == made[1] == made[2]
    shutil.rmtree(archives)
    row = load_split(task, variant="full", ratio=5, out=tmp_path / "a")["forget"].cast_column(
        "audio", Audio(decode=False)
    )[0]
    assert (row["audio"]["path"], row["audio"]["bytes"]) == (splits["train"][row["index"]][0].split("/")[-1],
                                                             splits["train"][row["index"]][1])  # fmt: skip


COMMITS = {None: "a" * 40, "refs/convert/parquet": "b" * 40}


@pytest.mark.parametrize("main_is_a_program", [False, True])
def test_the_main_branch_is_tried_first(main_is_a_program, tmp_path, monkeypatch):
    """What was read is what is recorded: the branch that could be."""
    rows = [("a/b.wav", sound(3), "go"), ("a/c.wav", sound(4), "yes")]
    export, asked = parquet_export(tmp_path, dict.fromkeys(("train", "validation", "test"), rows)), []

    def local(name, *config, revision, **where):
        asked.append((name, *config, revision))
        if config and main_is_a_program:
            raise RuntimeError("Dataset scripts are no longer supported, but found superb.py")
        return load_dataset(str(export), data_dir="ks")

    monkeypatch.setattr(datasets, "load_dataset", local)
    monkeypatch.setattr("mubench_hf.tasks._commits.dataset_commit", lambda repo, branch: COMMITS[branch])
    monkeypatch.setattr("mubench_hf.tasks._commits._read", {})
    data = TASK.full.load(None)
    tried = [("s3prl/superb", "ks", "a" * 40), ("s3prl/superb", "b" * 40)]
    assert asked == tried[: 1 + main_is_a_program] and set(data) == {"train", "validation", "test"}
    assert data["train"].column_names == ["audio", "label"] and data["train"]["label"][:] == [9, 0]
    read = COMMITS["refs/convert/parquet" if main_is_a_program else None]
    assert TASK.full.commit() == read == _upstream(TASK, "full", None)["revision"]


def test_what_no_branch_has_is_said(monkeypatch, tmp_path):
    def nothing(*_, **__):
        raise ValueError("there is no such configuration")

    monkeypatch.setattr(datasets, "load_dataset", nothing)
    monkeypatch.setattr("mubench_hf.tasks._commits.dataset_commit", lambda repo, branch: COMMITS[branch])
    with pytest.raises(BadInput, match="Cannot read Speech Commands from s3prl/superb on the Hub: there is no such"):
        build(TASK, variant="full", out=tmp_path)


def remove(name):
    return lambda raw: (raw / ARCHIVE / name).unlink()


BROKEN = {
    "no validation list": (remove("validation_list.txt"), "There is no file .*validation_list.txt"),
    "a listed file is missing": (remove("no/bb_nohash_0.wav"), r"validation_list.txt, line 2: 'no/bb_nohash_0.wav' is"),
    "no test archive": (lambda raw: shutil.rmtree(raw / TEST_ARCHIVE), r"No files .*test_set_v0.01/\*/\*.wav"),
    "neither layout": (lambda raw: (raw / ARCHIVE).rename(raw / "other"), "Needed in .*: ks/train.*or speech_commands"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_folders_are_named(case, archives, tmp_path):
    harm, message = BROKEN[case]
    harm(archives)
    with pytest.raises(BadInput, match=message):
        build(TASK, variant="full", out=tmp_path / "out", raw=archives)


def test_broken_exports_are_named(tmp_path):
    rows = [("a/b.wav", sound(3), "go")] * 3
    export = parquet_export(tmp_path, dict.fromkeys(("train", "validation", "test"), rows))
    for file in export.glob("ks/*/*.parquet"):
        part = datasets.Dataset.from_parquet(str(file))
        part.cast_column("label", ClassLabel(names=LABELS[::-1])).to_parquet(file)
    with pytest.raises(BadInput, match="Split 'train' has the features .*Needed: audio, and label.*yes, no, up"):
        TASK.full.load(export)


def test_published_deletion_list(tmp_path):
    """The labels of all 51,094 rows in upstream order give the published list; other orders are refused."""
    labels = [label for label, count in UPSTREAM_RUNS for _ in range(count)]
    assert len(labels) == 51094
    rows = [("x/y.wav", b"sound", label) for label in labels]
    export = parquet_export(tmp_path, {"train": rows, "validation": rows[:9], "test": rows[:9]})
    train = TASK.full.load(export)["train"]
    order, drawn = deletion_list(TASK, "full", train)
    assert drawn["sha256"] == "bfb7ca7cd891c0740c3380a2e821a76356e2a88a90adcaddd9a3391dd5e000fe" and len(order) == 5040
    with pytest.raises(BadInput, match="the published one bfb7ca7cd891"):
        deletion_list(TASK, "full", train.select(range(1, len(train))))


# Models.


@pytest.fixture(params=TINY)
def prepared(request, built):
    spec = get_model(request.param)
    data = load_task_data(TASK, variant="mini", ratio=5, processor=lambda texts: load_processor(spec, texts), out=built)
    return spec, data, TINY[request.param]


def test_tiny_models_take_prepared_rows(prepared):
    spec, data, name = prepared
    batch = data.collator([data.splits["test"][position] for position in range(12)])
    assert set(batch) == {name, "labels"} and batch[name].dtype == torch.float32
    assert batch[name].shape == ((12, 16000) if name == "input_values" else (12, 80, 100))
    model = fresh_model(spec, LABELS, seed=3).train()
    output = model(**batch)
    assert output.logits.shape == (12, 12) and output.loss.isfinite()
    output.loss.backward()
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    moved, total = (sum(int(g.count_nonzero()) for g in gradients), sum(w.numel() for w in model.parameters()))
    assert moved > 0.8 * total
    assert torch.pdist(output.logits.detach()).min() > 1e-4


def test_processor_comes_back_from_a_checkpoint(prepared, tmp_path):
    """Beside a config whose model type has a processor with a tokenizer, which these checkpoints lack."""
    spec, data, name = prepared
    fresh_model(spec, LABELS, seed=3).save_pretrained(tmp_path)
    data.processor.save_pretrained(tmp_path)
    again = saved_processor(tmp_path, processor_class=spec.architecture.processor_class)
    assert type(again) is type(data.processor)
    row = data.splits["test"].rows[5]
    one, other = (TASK.prepare(row, processor)[name] for processor in (data.processor, again))
    assert torch.equal(one, other)


def test_published_models_of_the_task():
    names = {"wav2vec2": ["base", "large"], "hubert": ["base", "large", "xlarge"], "whisper": ["tiny", "base", "small"]}
    for name, scales in names.items():
        assert list(get_model(f"{name}-{scales[0]}").architecture.scales) == scales
        for scale in scales:
            assert get_model(f"{name}-{scale}").hub_id.split("/")[0] in ("facebook", "openai")
    assert get_model("whisper-tiny").hub_id == "openai/whisper-tiny" and get_model("whisper-micro").hub_id is None
