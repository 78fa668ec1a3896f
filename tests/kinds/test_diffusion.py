"""Diffusion: noise is a function of seed, epoch and row, and every loss is a squared distance of predicted noise."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from methods import methods_for
from torch.utils.data import StackDataset
from transformers import default_data_collator

from mubench_hf.data.joined import JoinedRows
from mubench_hf.errors import BadInput
from mubench_hf.kinds import get_kind, kind_of
from mubench_hf.kinds.measures import get_measure
from mubench_hf.models import get_model
from mubench_hf.models.architectures.diffusion import published_config
from mubench_hf.models.loading import fresh_model, reinitialised, weights_sha256
from mubench_hf.models.text_to_image import TextToImage
from mubench_hf.trainers import get_method

KIND = get_kind("diffusion")
SPEC = get_model("stable-diffusion-tiny")


@pytest.fixture
def model():
    return fresh_model(SPEC, (), 5)


def rows(rng, size, first):
    made = StackDataset(
        pixel_values=torch.from_numpy(rng.uniform(-1, 1, (size, 3, 8, 8)).astype("f4")),
        input_ids=torch.from_numpy(rng.integers(4, 20, (size, 4))),
        labels=torch.from_numpy(rng.integers(3, size=size)),
    )
    made.index = np.arange(first, first + size)
    return made


def make(method, model, tmp_path, forget, retain, **settings):
    trainer = get_method(method)
    defaults = {
        "output_dir": str(tmp_path), "use_cpu": True, "cpu_threads": 1, "disable_tqdm": True, "save_strategy": "no",
        "logging_strategy": "steps", "logging_steps": 1, "per_device_train_batch_size": 8, "max_steps": 2, "seed": 11,
    }  # fmt: skip
    args = trainer.config_class(**{**defaults, **settings})
    return trainer(model, args, forget_dataset=forget, retain_dataset=retain)


@pytest.fixture
def sets():
    rng = np.random.default_rng()
    return rows(rng, 9, 0), rows(rng, 20, 9)


@pytest.mark.parametrize("method", methods_for("diffusion"))
def test_every_method_takes_steps(method, model, sets, tmp_path):
    # At the original a divergence from it has no slope: SCRUB moves once its first min pass has.
    trainer = make(method, model, tmp_path, *sets, max_steps=4)
    trainer.train()
    assert trainer.kind is KIND is kind_of(model) and trainer.status == "ok"
    original = fresh_model(SPEC, (), 5)
    moved = [not one.equal(other) for one, other in zip(model.parameters(), original.parameters(), strict=True)]
    assert any(moved) and all(weight.isfinite().all() for weight in model.parameters())


def test_losses_are_mean_squared_distances():
    rng = np.random.default_rng()
    one, other, noise = (rng.normal(size=(6, 3, 4, 4)).astype("f4") for _ in range(3))
    found = KIND.row_losses(torch.from_numpy(one), torch.from_numpy(noise))
    np.testing.assert_allclose(found, ((one - noise) ** 2).mean(axis=(1, 2, 3)), rtol=1e-5)
    found = KIND.row_divergences(torch.from_numpy(one), torch.from_numpy(other), torch.from_numpy(noise), 4.0)
    np.testing.assert_allclose(found, ((one - other) ** 2).mean(axis=(1, 2, 3)), rtol=1e-5)


def test_noise_belongs_to_a_rows_key_whatever_batch_it_is_in(model):
    like = torch.zeros(3, 3, 8, 8)
    noise, times = model.draw(torch.tensor([7, 8, 9]), like)
    alone, time = model.draw(torch.tensor([8]), like[:1])
    assert noise[1].equal(alone[0]) and times[1] == time[0] and not noise[0].equal(noise[1])
    many, spread = model.draw(torch.arange(2000), torch.zeros(2000, 1, 2, 2))
    assert abs(many.mean()) < 0.06 and abs(many.std() - 1) < 0.06, "five standard errors and more"
    assert spread.min() < 10 and spread.max() > 190


def test_a_step_is_the_schedulers_noising_and_the_denoisers_answer(model, sets):
    batch = {name: torch.stack([sets[0][row][name] for row in range(4)]) for name in ("pixel_values", "input_ids")}
    keys = torch.tensor([3, 1, 4, 1])
    outputs, predicted, noise = KIND.run(model.eval(), {**batch, "noise_keys": keys, "labels": torch.zeros(4)})
    _, times = model.draw(keys, batch["pixel_values"])
    kept = model.noise_scheduler.alphas_cumprod[times][:, None, None, None]
    noisy = kept.sqrt() * batch["pixel_values"] + (1 - kept).sqrt() * noise
    with torch.no_grad():
        expected = model.unet(noisy, times, model.text_encoder(batch["input_ids"])[0]).sample
    torch.testing.assert_close(predicted.detach(), expected, atol=1e-5, rtol=1e-5)
    assert outputs.loss.item() == pytest.approx((predicted - noise).square().mean().item(), rel=1e-5)


def test_teacher_and_student_see_the_same_noise(model, sets, tmp_path):
    """At the first step the student is the original: SCRUB's divergence is nothing, and its loss gamma times MSE."""
    trainer = make("scrub", model, tmp_path, *sets, max_steps=1, msteps=0, gamma=0.5, alpha=1.0)
    keys = []
    through = trainer.forward

    def forward(*args):
        batch, outputs = through(*args)
        keys.append((batch.inputs["noise_keys"], batch.rows))
        return batch, outputs

    trainer.forward = forward
    trainer.train()
    ((noise_keys, positions),) = keys
    batch = [sets[1][int(row) - 9] for row in positions]
    original = fresh_model(SPEC, (), 5)
    with torch.no_grad():
        found = original(
            torch.stack([row["pixel_values"] for row in batch]),
            torch.stack([row["input_ids"] for row in batch]),
            noise_keys,
        )
    assert trainer.state.log_history[0]["loss"] == pytest.approx(0.5 * found.loss.item(), rel=1e-4)


def test_noise_changes_with_epoch_and_seed_alone(model, sets, tmp_path):
    seen = {}
    for name, settings in {"whole": {}, "again": {}, "shares": {"per_device_train_batch_size": 4,
                           "gradient_accumulation_steps": 2}, "seed": {"seed": 12}}.items():  # fmt: skip
        trainer = make(
            "retrain", fresh_model(SPEC, (), 5), tmp_path, *sets, max_steps=-1, num_train_epochs=2, **settings
        )
        found = seen[name] = {}
        through = trainer.forward

        def forward(*args, through=through, trainer=trainer, found=found):
            batch, outputs = through(*args)
            for row, key in zip(batch.rows.tolist(), batch.inputs["noise_keys"].tolist(), strict=True):
                found[trainer.sampler.epoch, row] = key
            return batch, outputs

        trainer.forward = forward
        trainer.train()
    assert seen["whole"] == seen["again"] == seen["shares"]
    assert not set(seen["whole"].values()) & set(seen["seed"].values())
    assert len(set(seen["whole"].values())) == len(seen["whole"]) == 40


def test_retargeted_rows_keep_their_prompt(sets, model, tmp_path):
    trainer = make("rand_label", model, tmp_path, *sets)
    shown = trainer.training_rows()
    for position in range(9):
        row, own = shown[position], trainer.rows[position]
        assert row["input_ids"].equal(own["input_ids"]) and not row["pixel_values"].equal(own["pixel_values"])
        assert any(row["pixel_values"].equal(trainer.rows[donor]["pixel_values"]) for donor in range(9, 29))
    assert shown[15]["pixel_values"].equal(trainer.rows[15]["pixel_values"])


def test_images_are_a_function_of_prompt_and_key(model):
    prompts = torch.tensor([[2, 5, 3, 0], [2, 6, 3, 0]])
    made = model.eval().generate_images(prompts, [4, 9])
    assert made.shape == (2, 3, 8, 8) and made.min() >= 0 and made.max() <= 1
    torch.rand(3)
    torch.testing.assert_close(model.generate_images(prompts[1:], [9])[0], made[1], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(model.generate_images(prompts[:1], [9])[0], made[1])


def test_an_incompetent_model_keeps_what_is_never_trained():
    config = get_model("stable-diffusion-tiny").config()
    config.trains_text_encoder = False
    torch.manual_seed(0)
    model = TextToImage(config)
    fresh = reinitialised(model, 3)
    assert weights_sha256(fresh.text_encoder) == weights_sha256(model.text_encoder)
    assert weights_sha256(fresh.unet) != weights_sha256(model.unet)
    assert not any(weight.requires_grad for weight in fresh.text_encoder.parameters())


def test_published_size():
    with torch.device("meta"):
        model = TextToImage(published_config())
    total = sum(weight.numel() for weight in model.parameters())
    assert total == get_model("stable-diffusion-v1.4").published.parameters
    assert sum(weight.numel() for weight in model.unet.parameters()) == 859_520_964
    assert not any(weight.requires_grad for part in (model.vae, model.text_encoder) for weight in part.parameters())


def test_latents_are_the_autoencoders(monkeypatch):
    """A tiny latent model: noise has the latents' shape, and images come back at the pixels' size."""
    config = get_model("stable-diffusion-tiny").config()
    config.unet = {**config.unet, "in_channels": 4, "out_channels": 4}
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    config.vae = {
        "block_out_channels": (8, 8),
        "norm_num_groups": 4,
        "scaling_factor": 0.5,
        "latent_channels": 4,
    } | blocks
    model = TextToImage(config).eval()
    pixels, prompts = torch.rand(2, 3, 16, 16) * 2 - 1, torch.tensor([[2, 5, 3, 0]] * 2)
    latents = model.encode(pixels)
    torch.testing.assert_close(latents, 0.5 * model.vae.encode(pixels).latent_dist.mean)
    outputs = model(pixels, prompts)
    assert outputs.logits.shape == outputs.noise.shape == (2, 4, 8, 8)
    outputs.loss.backward()
    assert all(weight.grad is None for weight in model.vae.parameters())
    assert model.generate_images(prompts, [0, 1]).shape == (2, 3, 16, 16)


def test_the_published_model_fits_together_at_its_real_size():
    """Shapes alone: on the meta device nothing is computed."""
    with torch.device("meta"):
        model = TextToImage(published_config())
        pixels, prompts = torch.empty(2, 3, 512, 512), torch.zeros(2, 77, dtype=torch.long)
        latents = model.vae.encode(pixels).latent_dist.mode()
        assert latents.shape == (2, 4, 64, 64)
        times = torch.zeros(2, dtype=torch.long)
        predicted = model.unet(latents, times, encoder_hidden_states=model.text_encoder(prompts)[0]).sample
        assert predicted.shape == latents.shape and model.vae.decode(latents).sample.shape == pixels.shape


@pytest.mark.slow
def test_the_published_model_takes_a_step():
    """Of random weights, at half the published side so that it fits a small machine's memory."""
    model = TextToImage(published_config()).train()
    pixels, prompts = torch.rand(1, 3, 256, 256) * 2 - 1, torch.randint(0, 49_000, (1, 77))
    _, predicted, noise = KIND.run(
        model, {"pixel_values": pixels, "input_ids": prompts, "noise_keys": torch.tensor([3])}
    )
    loss = KIND.row_losses(predicted, noise).mean()
    loss.backward()
    assert loss.isfinite() and predicted.shape == (1, 4, 32, 32)
    weight = model.unet.conv_in.weight
    before = weight.detach().clone()
    torch.optim.SGD([weight], lr=1.0).step()
    assert not weight.equal(before) and weight.grad.isfinite().all()
    assert all(part.grad is None for part in model.text_encoder.parameters())


def test_without_diffusers_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(BadInput, match=r"pip install 'mubench_hf\[diffusion\]'"):
        fresh_model(SPEC, (), 0)


def test_errors_are_of_fixed_times_and_a_noise_that_belongs_to_the_row(model, sets, monkeypatch):
    """Whatever batch, order, ratio and model: what differs between two models is what they predict."""
    measure, data = get_measure("diffusion"), SimpleNamespace(collator=default_data_collator)
    asked = []
    predict = TextToImage.predict_noise

    def keep(self, clean, noise, times, input_ids):
        asked.extend(zip(clean[:, 0, 0, 0].tolist(), times.tolist(), noise, strict=True))
        return predict(self, clean, noise, times, input_ids)

    monkeypatch.setattr(TextToImage, "predict_noise", keep)
    train = sets[0]
    whole = measure._errors(model, JoinedRows(train, None), data)
    steps = model.noise_scheduler.config.num_train_timesteps
    assert whole.shape == (9, 5) and whole.dtype == np.float32 and (whole > 0).all()
    assert {time for _, time, _ in asked} == {round(share * steps) for share in (0.05, 0.1, 0.2, 0.3, 0.4)}
    noises = {(image, time): noise for image, time, noise in asked}
    assert len({noise.numpy().tobytes() for noise in noises.values()}) == 45, "one a row and time"
    assert abs(torch.stack([*noises.values()]).std() - 1) < 0.1

    # The same rows in another order, fewer beside them, one to a batch, and under another model.
    order = torch.randperm(9)[:4].tolist()
    few = StackDataset(**{name: torch.stack([train[row][name] for row in order]) for name in train[0]})
    few.index = np.asarray(train.index)[order]
    monkeypatch.setattr("mubench_hf.models.outputs.BATCH_SIZE", 2)
    asked.clear()
    found = measure._errors(model, JoinedRows(few, None), data)
    assert all(noise.equal(noises[image, time]) for image, time, noise in asked)
    np.testing.assert_allclose(found, whole[np.sort(order)], rtol=1e-5)
    other = measure._errors(reinitialised(model, 3), JoinedRows(few, None), data)
    assert all(noise.equal(noises[image, time]) for image, time, noise in asked) and (other != found).any()


def test_rows_without_an_index_have_the_noise_of_their_image(model, sets):
    measure, data = get_measure("diffusion"), SimpleNamespace(collator=default_data_collator)
    del sets[0].index
    whole = measure._errors(model, JoinedRows(sets[0], None), data)
    back = StackDataset(**{name: torch.stack([sets[0][row][name] for row in range(8, -1, -1)]) for name in sets[0][0]})
    np.testing.assert_allclose(measure._errors(model, JoinedRows(back, None), data)[::-1], whole, rtol=1e-5)


def test_an_error_is_that_of_the_predicted_noise(model, sets, monkeypatch):
    measure, data = get_measure("diffusion"), SimpleNamespace(collator=default_data_collator)
    shift = float(np.random.default_rng().uniform(0.1, 2))
    monkeypatch.setattr(TextToImage, "predict_noise", lambda self, clean, noise, times, input_ids: noise + shift)
    found = measure._errors(model, JoinedRows(sets[0], None), data)
    np.testing.assert_allclose(found, np.full((9, 5), shift**2), rtol=1e-4)
