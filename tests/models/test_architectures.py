"""Every architecture's tiny configuration trains: a sign that the real one would."""

import torch
from PIL import Image

from mubench_hf.models.loading import fresh_model, load_processor, saved_processor

CLASSES = 10


def test_forward_and_backward(tiny, tiny_rows):
    pixels, labels = tiny_rows(32, CLASSES)
    model = fresh_model(tiny, list("abcdefghij"), seed=3).train()
    output = model(pixel_values=pixels, labels=labels)
    assert output.logits.shape == (32, CLASSES) and output.loss.isfinite()
    output.loss.backward()
    gradients = torch.cat([weight.grad.flatten() for weight in model.parameters()])
    assert gradients.isfinite().all()
    assert (gradients == 0).float().mean() < 0.6, "most weights see the rows"


def test_rows_are_told_apart(tiny, tiny_rows):
    pixels, _ = tiny_rows(8, CLASSES)
    model = fresh_model(tiny, list("abcdefghij"), seed=3)
    with torch.no_grad():
        for _ in range(5):  # Batch normalisation needs statistics of some rows before it is of use in eval mode.
            model.train()(pixel_values=pixels)
        logits = model.eval()(pixel_values=pixels).logits
        alone = model(pixel_values=pixels[2:3]).logits[0]
    assert torch.pdist(logits).min() > 1e-3
    torch.testing.assert_close(alone, logits[2], rtol=1e-3, atol=1e-4)


def test_it_learns(tiny, tiny_rows):
    """Twelve rows of three classes are learned by heart."""
    pixels, labels = tiny_rows(12, 3)
    model = fresh_model(tiny, list("abc"), seed=3).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        loss = model(pixel_values=pixels, labels=labels).loss
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]


def test_processor_comes_back_from_a_checkpoint(tiny, images, tmp_path):
    processor, rows = load_processor(tiny), images(3, size=24)
    processor.save_pretrained(tmp_path)
    again = saved_processor(tmp_path)
    one, other = (each(rows, return_tensors="pt")["pixel_values"] for each in (processor, again))
    assert torch.equal(one, other) and one.std() > 0.1
    assert type(again) is type(processor) and "Pil" in type(again).__name__
    assert again.to_json_string() == processor.to_json_string()


def test_tiny_processor_makes_what_the_model_takes(tiny):
    model = fresh_model(tiny, list("abc"), seed=3).eval()
    sizes = set()
    for size in (16, 28, 70):
        black_and_white = [Image.new("RGB", (size, size), colour) for colour in ("black", "white")]
        pixels = load_processor(tiny)(black_and_white, return_tensors="pt")["pixel_values"]
        sizes.add(tuple(pixels.shape))
        assert (pixels[0] == -1).all() and (pixels[1] == 1).all()
        assert model(pixel_values=pixels).logits.shape == (2, 3)
    ((rows, channels, height, width),) = sizes
    assert (rows, channels) == (2, 3) and 16 <= height == width <= 64
