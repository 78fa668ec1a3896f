"""UCF101's two sources: the mini motions, and the authors' folders and lists."""

import hashlib
import io
import os
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from datasets import ClassLabel, Value, Video, load_dataset
from PIL import Image

from mubench_hf.data import build
from mubench_hf.data.prepare import load_task_data
from mubench_hf.data.splits import deletion_draws, list_sha256, stream
from mubench_hf.errors import BadInput
from mubench_hf.models import get_model
from mubench_hf.models.loading import fresh_model, load_processor, saved_processor
from mubench_hf.tasks import get_task, ucf101
from mubench_hf.tasks._clips import read_frames, write_avi

TASK = get_task("ucf101")
TINY = get_model("videomae-tiny")
PUBLISHED = Path(__file__).parents[3] / "shared" / "official_splits" / "ucf101.txt"
# Videos of each class in the first official train list, in class order.
CLASS_SIZES = [
    101, 82, 104, 97, 77, 112, 107, 99, 94, 112, 96, 110, 93, 76, 82, 112, 114, 97, 73, 95, 79, 99, 103, 118, 77, 105,
    116, 77, 86, 89, 89, 100, 100, 97, 107, 105, 100, 77, 106, 86, 89, 115, 91, 112, 86, 81, 86, 106, 105, 89, 92, 90,
    92, 91, 76, 97, 77, 80, 120, 110, 115, 107, 117, 77, 113, 80, 72, 109, 88, 72, 121, 72, 83, 103, 85, 101, 90, 118,
    98, 88, 95, 72, 79, 108, 96, 80, 82, 93, 89, 101, 72, 117, 92, 87, 93, 76, 81, 87, 95, 107, 92,
]  # fmt: skip
ACTIONS = ["Archery", "Biking", "CliffDiving"]


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets_cache"))
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def mini():
    return {split: rows.cast_column("video", Video(decode=False)) for split, rows in TASK.mini.load(None).items()}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    build(TASK, variant="mini", out=out, progress=False)
    return out


def clip(length, side=4):
    """A video whose frame number n is of colour n."""
    frames = np.broadcast_to(np.arange(length, dtype=np.uint8)[:, None, None], (length, side, side))
    return write_avi(frames, [(shade, 255 - shade, 3) for shade in range(256)], rate=25)


def shades(images):
    return [np.unique(np.asarray(image)[..., 0]).item() for image in images]


def encoded(length, codec="mpeg4", container="avi", seed=0):
    """A noisy video as encoders make them: frames that depend on each other."""
    rng, buffer = np.random.default_rng(seed), io.BytesIO()
    with av.open(buffer, "w", format=container) as file:
        stream = file.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for _ in range(length):
            pixels = rng.integers(256, size=(32, 32, 3), dtype=np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())
    return buffer.getvalue()


def test_mini_rows(mini):
    assert {split: len(rows) for split, rows in mini.items()} == {"train": 800, "test": 240}
    for rows in mini.values():
        assert rows.column_names == ["video", "label"]
        assert rows.features["label"].names == list(ucf101.MOTIONS)
        assert len(set(np.bincount(rows["label"][:]).tolist())) == 1
    clips = [video["bytes"] for rows in mini.values() for video in rows["video"][:]]
    assert len(set(clips)) == len(clips)


def test_mini_is_the_same_everywhere(mini):
    digest = hashlib.sha256()
    for rows in mini.values():
        for row in rows:
            digest.update(row["video"]["bytes"] + bytes([row["label"]]))
    assert digest.hexdigest() == "7fbf02eb115fd697256c479788d9ab82788253213e95a6ab9503f6a7f7a3b6b0"


@pytest.mark.parametrize(("motion", "step"), [("right", (1, 0)), ("left", (-1, 0)), ("down", (0, 1)), ("up", (0, -1))])
def test_mini_discs_move_as_their_label_says(mini, motion, step):
    """Frames moved back by the motion lie on each other, so that the disc stands out of the noise."""

    def disc_over_noise(dx, dy):
        found = []
        for row in (row for row in mini["test"] if ucf101.MOTIONS[row["label"]] == motion):
            frames = [np.asarray(image.convert("L"), float) for image in read_frames(row["video"]["bytes"], 16)]
            mean = np.mean([np.roll(frame, (-dy * t, -dx * t), (0, 1)) for t, frame in enumerate(frames)], axis=0)
            found.append(np.quantile(mean, 0.97) - np.median(mean))
        return np.mean(found)

    assert disc_over_noise(*step) > 60 > 1.5 * disc_over_noise(-step[0], -step[1])


def test_mini_through_plain_datasets(built, mini):
    splits = load_dataset(str(built / "mubench" / "ucf101-mini"), "df_5pct")
    assert {split: len(rows) for split, rows in splits.items()} == {"forget": 40, "retain": 760, "test": 240}
    assert splits["forget"].features == {
        "index": Value("int64"), "video": Video(), "label": ClassLabel(names=list(ucf101.MOTIONS))
    }  # fmt: skip
    row = splits["forget"].cast_column("video", Video(decode=False))[7]
    assert (row["video"]["bytes"], row["label"]) == (
        mini["train"][row["index"]]["video"]["bytes"],
        mini["train"][row["index"]]["label"],
    )
    with av.open(io.BytesIO(row["video"]["bytes"])) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert np.shape(frames) == (16, 24, 24, 3)
    # What a user decodes is what the model gets, from -1 to 1.
    data = load_task_data(TASK, variant="mini", ratio=5, processor=lambda texts: load_processor(TINY, texts), out=built)
    inputs = data.splits["forget"][7]
    assert inputs["labels"] == row["label"] and inputs["pixel_values"].shape == (16, 3, 24, 24)
    np.testing.assert_allclose(inputs["pixel_values"], np.transpose(frames, (0, 3, 1, 2)) / 127.5 - 1, atol=1e-6)


def test_mini_data_stay_small(built):
    assert sum(file.stat().st_size for file in built.glob("mubench/ucf101-mini/data/*")) < 4_000_000


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (16, range(16)),
        (31, range(0, 31, 2)),
        (151, range(0, 151, 10)),
        (8, [0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7]),
        (1, [0] * 16),
    ],
)
def test_frames_lie_evenly_over_a_video(length, expected):
    images = read_frames(clip(length), 16)
    assert shades(images) == list(expected)
    assert all(isinstance(image, Image.Image) and image.mode == "RGB" and image.size == (4, 4) for image in images)


@pytest.mark.parametrize(("codec", "container"), [("mpeg4", "avi"), ("mpeg4", "mp4"), ("mpeg4", "matroska")])
def test_encoded_videos_are_read(codec, container):
    data = encoded(40, codec, container)
    with av.open(io.BytesIO(data)) as file:
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert len(frames) == 40
    for image, place in zip(read_frames(data, 14), range(0, 40, 3), strict=True):
        np.testing.assert_array_equal(np.asarray(image), frames[place])


def broken_videos():
    whole, made = clip(30, side=32), encoded(60)
    noise = np.random.default_rng(1).bytes(20_000)
    cut = whole.rindex(b"00db", 0, whole.index(b"idx1") * 2 // 3)
    return {
        "cut inside a frame": whole[: len(whole) // 2],
        "cut inside the last frame": whole[: whole.index(b"idx1") - 100],
        "cut between two frames": whole[:cut],
        "cut, encoded": made[: len(made) // 2],
        "cut in the header": whole[:100],
        "frames overwritten": whole[:6000] + noise + whole[26_000:],
        "noise": noise,
        "text": b"not a video",
        "empty": b"",
        "a picture of no frame": whole[: whole.index(b"movi") + 4],
    }


@pytest.mark.parametrize("kind", broken_videos())
def test_a_video_that_cannot_be_decoded_is_named(kind):
    row = {"video": {"bytes": broken_videos()[kind], "path": None}, "label": 0, "index": 83}
    with pytest.raises(BadInput, match="Row 83: column 'video' cannot be decoded: .*Check the upstream file"):
        TASK.prepare(row, load_processor(TINY))


def test_avi_needs_no_padding():
    with pytest.raises(ValueError, match="width 6.*multiple of 4"):
        write_avi(np.zeros((1, 4, 6), np.uint8), [(0, 0, 0)], 1)


def lay_out(raw, *, nested=True, shifted=False, per_class=40):
    """Write a folder as the authors' archives unpack it, of three classes; return its train and test paths."""
    lists, videos = (raw / "ucfTrainTestlist", raw / "UCF-101") if nested else (raw, raw)
    lists.mkdir(parents=True, exist_ok=True)
    names = {"train": [], "test": []}
    for name in ACTIONS:
        (videos / name).mkdir(parents=True)
        for number in range(per_class + 2):
            path = f"{name}/v_{name}_g{number // 4 + 1:02d}_c{number % 4 + 1:02d}.avi"
            (videos / path).write_bytes(clip(number + 1))
            names["train" if number < per_class else "test"].append(path)
    numbers = {name: number for number, name in enumerate(ACTIONS, start=1)}
    lines = [f"{path} {numbers[path.split('/')[0]]}" for path in names["train"]]
    (lists / "classInd.txt").write_bytes("".join(f"{number} {name}\r\n" for name, number in numbers.items()).encode())
    (lists / "trainlist01.txt").write_bytes("".join(f"{line}\r\n" for line in lines).encode())
    (lists / "testlist01.txt").write_bytes("".join(f"{path}\r\n" for path in names["test"]).encode())
    if shifted:
        for path in ("Biking/b.mp4", "Biking/a.avi", "Archery/z.avi"):
            file = raw / "UCF101-DS" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(clip(3) if file.suffix == ".avi" else encoded(5, container="mp4"))
        (raw / "UCF101-DS" / "Biking" / "notes.txt").write_text("no video")
    return names


@pytest.mark.parametrize("nested", [True, False])
def test_full_rows_from_a_folder(tmp_path, nested):
    names = lay_out(tmp_path, nested=nested, shifted=nested)
    found = TASK.full.load(tmp_path)
    assert list(found) == ["train", "test", *(["ood"] if nested else [])]
    for split, paths in names.items():
        rows = found[split].cast_column("video", Video(decode=False))
        assert rows.features["label"].names == ACTIONS and found[split].features["video"] == Video()
        videos = tmp_path / "UCF-101" if nested else tmp_path
        assert [video["path"] for video in rows["video"][:]] == [str(videos / path) for path in paths]
        assert {video["bytes"] for video in rows["video"][:]} == {None}, "rows point to files"
        assert rows["label"][:] == [ACTIONS.index(path.split("/")[0]) for path in paths]
    if nested:
        rows = found["ood"].cast_column("video", Video(decode=False))
        assert [Path(video["path"]).name for video in rows["video"][:]] == ["z.avi", "a.avi", "b.mp4"]
        assert rows["label"][:] == [0, 1, 1]


@pytest.mark.slow
def test_full_build_stores_the_files_themselves(tmp_path):
    """The true numbers of rows and classes, so that the published deletion list is the one that is drawn."""
    raw = tmp_path / "raw"
    names = [f"Action{number:03d}" for number in range(101)]
    (raw / "ucfTrainTestlist").mkdir(parents=True)
    (raw / "one.avi").write_bytes(clip(1))
    train, test = [], []
    for number, (name, size) in enumerate(zip(names, CLASS_SIZES, strict=True), start=1):
        (raw / name).mkdir()
        for video in range(size):
            os.link(raw / "one.avi", raw / name / f"v_{name}_{video:03d}.avi")
            train.append(f"{name}/v_{name}_{video:03d}.avi {number}\n")
        (raw / name / "test.avi").write_bytes(clip(2))
        test.append(f"{name}/test.avi\n")
    (raw / "ucfTrainTestlist" / "trainlist01.txt").write_text("".join(train))
    (raw / "ucfTrainTestlist" / "testlist01.txt").write_text("".join(test))
    classes = "".join(f"{number} {name}\n" for number, name in enumerate(names, start=1))
    (raw / "ucfTrainTestlist" / "classInd.txt").write_text(classes)

    folder = build(TASK, variant="full", out=tmp_path / "out", raw=raw, progress=False)
    splits = load_dataset(str(folder), "df_10pct")
    assert {split: len(rows) for split, rows in splits.items()} == {"forget": 1010, "retain": 8527, "test": 101}
    row = splits["retain"].cast_column("video", Video(decode=False))[0]
    assert row["video"] == {"bytes": clip(1), "path": Path(train[row["index"]].split()[0]).name}
    assert splits["retain"].features["video"] == Video() and splits["retain"].features["label"].names == names


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("classInd.txt", None, None, r"no file .*classInd\.txt.*ucfTrainTestlist"),
        ("trainlist01.txt", None, None, r"no file .*trainlist01\.txt"),
        ("testlist01.txt", None, None, r"no file .*testlist01\.txt"),
        ("classInd.txt", "2 Biking", "Biking", r"classInd\.txt, line 2: 'Biking'.*'2 <name of a class>'"),
        ("classInd.txt", "2 Biking", "3 Biking", r"classInd\.txt, line 2"),
        ("classInd.txt", "2 Biking", "2 Archery", r"classInd\.txt, line 2.*once"),
        ("trainlist01.txt", "g01_c02.avi 1", "g01_c02.avi", r"trainlist01\.txt, line 2: .*<number of the class>"),
        ("trainlist01.txt", "g01_c02.avi 1", "g01_c02.avi 2", r"trainlist01\.txt, line 2"),
        ("trainlist01.txt", "g01_c02.avi 1", "g01_c03.avi 1", r"trainlist01\.txt, line 3: .*listed before"),
        ("trainlist01.txt", "g01_c02.avi 1", "g99_c02.avi 1", r"line 2: .*no file .*g99_c02\.avi.*UCF101\.rar"),
        ("trainlist01.txt", "Biking/v", "Hiking/v", r"trainlist01\.txt, line 41: 'Hiking/v"),
        ("testlist01.txt", "Biking/v", "v", r"testlist01\.txt, line 3"),
        ("testlist01.txt", "g11_c02.avi", "g11_c02.avi 1", r"testlist01\.txt, line 2"),
    ],
)
def test_malformed_lists_are_named(tmp_path, file, old, new, message):
    lay_out(tmp_path)
    path = tmp_path / "ucfTrainTestlist" / file
    text = path.read_text()
    path.unlink()
    if old:
        assert old in text
        path.write_text(text.replace(old, new, 1))
    with pytest.raises(BadInput, match=message):
        TASK.full.load(tmp_path)


def test_an_empty_list_is_named(tmp_path):
    lay_out(tmp_path)
    (tmp_path / "ucfTrainTestlist" / "testlist01.txt").write_text("\n")
    with pytest.raises(BadInput, match=r"testlist01\.txt lists no video"):
        TASK.full.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(clip(9)[:1300], "cut off: 1,300 of 1,616 bytes"), (b"", "not an AVI file"), (b"<html>404</html>", "not an AVI")],
)
def test_broken_files_are_named_at_build(tmp_path, content, message):
    lay_out(tmp_path)
    (tmp_path / "UCF-101" / "Biking" / "v_Biking_g02_c01.avi").write_bytes(content)
    with pytest.warns(UserWarning, match=rf"1 of 120 videos look damaged: .*v_Biking_g02_c01\.avi is {message}"):  # noqa: SIM117
        with pytest.raises(BadInput, match="Split 'train': column 'video' cannot be decoded at index"):
            build(ANY_LIST, variant="full", out=tmp_path / "out", raw=tmp_path)


ANY_LIST = replace(TASK, full=replace(TASK.full, deletion_sha256=None))
"""Few videos give another deletion list than the published one."""


def test_a_header_that_counts_wrongly_is_only_told(tmp_path):
    """The frames are all there, whatever the header announces."""
    lay_out(tmp_path)
    whole = bytearray(clip(9))
    whole[4:8] = (int.from_bytes(whole[4:8], "little") + 500).to_bytes(4, "little")
    (tmp_path / "UCF-101" / "Biking" / "v_Biking_g02_c01.avi").write_bytes(bytes(whole))
    with pytest.warns(UserWarning, match="1 of 120 videos look damaged: .*cut off"):
        folder = build(ANY_LIST, variant="full", out=tmp_path / "out", raw=tmp_path, progress=False)
    assert len(load_dataset(str(folder), split="train")) == 120


def test_other_folders_of_shifted_videos_are_named(tmp_path):
    lay_out(tmp_path)
    (tmp_path / "UCF101-DS" / "Hiking").mkdir(parents=True)
    with pytest.raises(BadInput, match="UCF101-DS has a folder 'Hiking'"):
        TASK.full.load(tmp_path)
    (tmp_path / "UCF101-DS" / "Hiking").rmdir()
    with pytest.raises(BadInput, match="UCF101-DS holds no video"):
        TASK.full.load(tmp_path)


def test_full_data_need_a_folder():
    with pytest.raises(BadInput, match="--raw.*UCF101.rar.*classInd.txt"):
        TASK.full.load(None)


def test_deletion_list_is_the_published_one():
    assert (len(CLASS_SIZES), sum(CLASS_SIZES)) == (101, 9537)
    draws = deletion_draws(np.repeat(np.arange(101), CLASS_SIZES), 101, stream(TASK.full.stream))
    assert list_sha256(np.concatenate(draws)) == TASK.full.deletion_sha256
    if not PUBLISHED.is_file():
        pytest.skip(f"the published list {PUBLISHED} is not here")
    published = np.loadtxt(PUBLISHED, dtype=int).reshape(10, 101)
    for drawn, rows in zip(draws, published, strict=True):
        assert set(drawn) == set(rows) and len(drawn) == 101


@pytest.fixture(scope="module")
def batch(mini):
    rows = [TASK.prepare(mini["train"][number] | {"index": number}, load_processor(TINY)) for number in range(20)]
    return torch.stack([row["pixel_values"] for row in rows]), torch.tensor([row["labels"] for row in rows])


def test_forward_and_backward(batch):
    model = fresh_model(TINY, ucf101.MOTIONS, seed=3).train()
    assert model.config.num_frames == ucf101.FRAMES
    output = model(pixel_values=batch[0], labels=batch[1])
    assert output.logits.shape == (20, 8) and output.loss.isfinite()
    output.loss.backward()
    gradients = torch.cat([weight.grad.flatten() for weight in model.parameters()])
    assert gradients.isfinite().all() and (gradients == 0).float().mean() < 0.6


def test_processor_comes_back_from_a_checkpoint(tmp_path):
    processor, frames = load_processor(TINY), read_frames(encoded(20), 16)
    processor.save_pretrained(tmp_path)
    again = saved_processor(tmp_path)
    one, other = (each(frames, return_tensors="pt")["pixel_values"] for each in (processor, again))
    assert type(again) is type(processor) and torch.equal(one, other)
    assert one.shape == (1, 16, 3, 24, 24) and one.std() > 0.1


def test_published_scales():
    scales = TINY.architecture.scales
    assert list(scales) == ["small", "base", "large", "huge"]
    assert all(size.hub_id == f"MCG-NJU/videomae-{scale}" for scale, size in scales.items())
