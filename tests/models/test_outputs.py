"""What a model says of each row, and the table of it."""

import json

import numpy as np
import pytest
import torch
from torch.utils.data import StackDataset

from mubench_hf.models.loading import fresh_model, weights_sha256
from mubench_hf.models.outputs import BATCH_SIZE, SAMPLE, cached_row_outputs, row_outputs
from mubench_hf.utils.files import file_sha256
from mubench_hf.utils.sealed import sealed


@pytest.fixture
def rows(rng):
    pixels = torch.from_numpy(rng.normal(size=(23, 3, 16, 16)).astype("f4"))
    return StackDataset(pixel_values=pixels, labels=torch.from_numpy(rng.integers(3, size=23)))


def test_equals_a_forward_pass(tiny, tiny_rows):
    pixels, labels = tiny_rows(9, 4)
    model = fresh_model(tiny, list("abcd"), seed=3)
    outputs = row_outputs(model, StackDataset(pixel_values=pixels, labels=labels))
    with torch.no_grad():
        expected = model.eval()(pixel_values=pixels).logits.numpy()
    assert outputs.logits.shape == (9, 4) and outputs.logits.dtype == np.float32 and outputs.spent.wall > 0
    np.testing.assert_allclose(outputs.logits, expected, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 5, 23, BATCH_SIZE])
def test_rows_stand_in_order_for_any_batch_size(vit, rows, batch_size):
    with torch.no_grad():
        expected = torch.stack([vit.eval()(pixel_values=row["pixel_values"][None]).logits[0] for row in rows]).numpy()
    np.testing.assert_allclose(row_outputs(vit, rows, batch_size=batch_size).logits, expected, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_model_keeps_its_mode_and_weights(tiny, tiny_rows, training):
    """Statistics of batch normalisation are weights too."""
    pixels, labels = tiny_rows(6, 3)
    model = fresh_model(tiny, list("abc"), seed=1).train(training)
    before = weights_sha256(model)
    row_outputs(model, StackDataset(pixel_values=pixels, labels=labels))
    assert model.training is training and weights_sha256(model) == before
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())


def test_random_state_is_left_as_it_was(vit, rows):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    row_outputs(vit, rows)
    assert torch.equal(torch.rand(3), expected)


def test_a_model_that_draws_gives_the_same_outputs(vit, rows, monkeypatch):
    through = vit.forward

    def forward(pixel_values):
        return through(pixel_values + torch.rand(()))

    monkeypatch.setattr(vit, "forward", forward)
    one = row_outputs(vit, rows).logits
    torch.rand(7)
    np.testing.assert_array_equal(row_outputs(vit, rows).logits, one)


def test_users_collator(vit, rows):
    def collator(batch):
        return {"pixel_values": -torch.stack([row["pixel_values"] for row in batch])}

    negated = StackDataset(pixel_values=-torch.stack([row["pixel_values"] for row in rows]))
    np.testing.assert_array_equal(row_outputs(vit, rows, collator).logits, row_outputs(vit, negated).logits)


def test_labels_are_not_given_to_the_model(vit, rows, monkeypatch):
    given = []
    through = vit.forward
    monkeypatch.setattr(vit, "forward", lambda **inputs: given.append(set(inputs)) or through(**inputs))
    row_outputs(vit, rows)
    assert given == [{"pixel_values"}]


class Counted:
    """Rows that count how often they are read."""

    def __init__(self, rows):
        self.rows, self.reads = rows, 0

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, position):
        self.reads += 1
        return self.rows[position]


def test_without_a_folder_nothing_is_kept(vit, rows):
    counted = Counted(rows)
    for reads in (23, 46):
        cached_row_outputs(vit, counted, None)
        assert counted.reads == reads


def test_a_table_is_computed_once(vit, rows, tmp_path):
    counted = Counted(rows)
    first = cached_row_outputs(vit, counted, tmp_path / "deep" / "cache")
    assert counted.reads == 23 + SAMPLE
    (table,) = tmp_path.glob("deep/cache/*.npy")
    (tmp_path / "deep" / "cache" / f"{weights_sha256(vit)[:32]}.json").write_text(
        json.dumps(sealed({"seconds": 77.0, "sha256": file_sha256(table)}))
    )
    second = cached_row_outputs(vit, counted, tmp_path / "deep" / "cache")
    assert counted.reads == 23 + 2 * SAMPLE
    np.testing.assert_array_equal(first.logits, row_outputs(vit, rows).logits)
    np.testing.assert_array_equal(second.logits, first.logits)
    assert min(first.spent) > 0 and second.spent == (77, None), "what it took when it was computed"
    with pytest.raises(ValueError, match="read-only"):
        second.logits[0] = 0


def test_other_rows_in_the_same_folder_have_a_table_of_their_own(vit, rows, tmp_path):
    """As many rows, another order, other preparation: none of them reads another's table."""
    pixels = torch.stack([row["pixel_values"] for row in rows])
    for other in (pixels, pixels.flip(0), pixels * 2, pixels[:-1], torch.randn_like(pixels)):
        given = StackDataset(pixel_values=other)
        np.testing.assert_array_equal(cached_row_outputs(vit, given, tmp_path).logits, row_outputs(vit, given).logits)


@pytest.mark.parametrize("damage", ["negated", "cut", "other shape", "note", "earlier version"])
def test_a_damaged_table_is_computed_again(vit, rows, tmp_path, damage):
    expected = np.array(cached_row_outputs(vit, rows, tmp_path).logits)
    (table,), (note,) = tmp_path.glob("*.npy"), tmp_path.glob("*.json")
    if damage == "note":
        note.write_text(note.read_text().replace('"seconds": ', '"seconds": 9'))
    elif damage == "earlier version":
        note.write_text(json.dumps({"seconds": 9e9}))
    elif damage == "cut":
        table.write_bytes(table.read_bytes()[:-5])
    else:
        np.save(table, -expected if damage == "negated" else expected[:-1])
    again = cached_row_outputs(vit, rows, tmp_path)
    np.testing.assert_array_equal(again.logits, expected)
    assert again.spent.wall < 9e8
    np.testing.assert_array_equal(np.load(table), expected)


def test_another_model_has_another_table(vit, rows, tmp_path):
    first = cached_row_outputs(vit, rows, tmp_path)
    with torch.no_grad():
        vit.classifier.bias += torch.tensor([1.0, 0, 0])
    second = cached_row_outputs(vit, rows, tmp_path)
    assert len(list(tmp_path.glob("*.npy"))) == 2
    np.testing.assert_allclose(second.logits - first.logits, np.tile([1, 0, 0], (23, 1)), atol=1e-5)


@pytest.mark.parametrize("missing", ["npy", "json"])
def test_an_interrupted_table_is_computed_again(vit, rows, tmp_path, missing):
    counted = Counted(rows)
    expected = np.array(cached_row_outputs(vit, counted, tmp_path).logits)
    (table,) = tmp_path.glob("*.npy")
    if missing == "json":
        table.write_bytes(table.read_bytes()[:100])
    table.with_suffix(f".{missing}").unlink()
    again = cached_row_outputs(vit, counted, tmp_path)
    assert counted.reads == 46 + 2 * SAMPLE
    np.testing.assert_array_equal(again.logits, expected)


def test_the_note_is_written_after_the_table(vit, rows, tmp_path, monkeypatch):
    def kill(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("mubench_hf.models.outputs.np.save", kill)
    with pytest.raises(KeyboardInterrupt):
        cached_row_outputs(vit, rows, tmp_path)
    assert not list(tmp_path.iterdir()), "nothing half-written is left"
