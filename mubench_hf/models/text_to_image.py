"""A text-to-image diffusion model as one module: text encoder, denoiser and, for latents, an autoencoder."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import ModelOutput

from mubench_hf.errors import BadInput
from mubench_hf.models.checked import CONFIG, PIPELINE, check_built
from mubench_hf.models.sources import source_of
from mubench_hf.utils.json_files import read_object

PARTS = {
    "unet": ("diffusers", "UNet2DConditionModel"),
    "text_encoder": ("transformers", "CLIPTextModel"),
    "vae": ("diffusers", "AutoencoderKL"),
}
"""Part → library and class, as a pipeline's ``model_index.json`` names them."""

SCHEDULER = ("diffusers", "DDPMScheduler")
SAMPLER = "DDIMScheduler"
SAMPLING_STEPS = 20
"""Steps of the deterministic sampler, without guidance, which would change every score, and not monotonically."""


class TextToImageConfig(PreTrainedConfig):
    """Configuration of each part.

    Args:
        unet: The denoiser, which predicts noise.
        text_encoder: The text encoder.
        vae: The autoencoder; ``None`` for diffusion of the pixels themselves.
        scheduler: The noise schedule.
        trains_text_encoder: Whether the text encoder is trained; a pretrained one is usually left alone.
    """

    model_type = "text-to-image"

    def __init__(
        self,
        unet: dict[str, Any] | None = None,
        text_encoder: dict[str, Any] | None = None,
        vae: dict[str, Any] | None = None,
        scheduler: dict[str, Any] | None = None,
        trains_text_encoder: bool = True,
        **kwargs: Any,
    ):
        self.unet, self.text_encoder, self.vae = unet or {}, text_encoder or {}, vae
        self.scheduler, self.trains_text_encoder = scheduler or {}, trains_text_encoder
        super().__init__(**kwargs)


@dataclass
class DenoisingOutput(ModelOutput):
    """The denoiser's output.

    Attributes:
        loss: Mean squared error of the predicted noise.
        logits: Predicted noise ``[rows, channels, height, width]``; named as ``Trainer`` expects.
        noise: The noise that was added, of the same shape.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    noise: Tensor | None = None


class TextToImage(PreTrainedModel):
    """Latent or pixel diffusion, conditioned on a text; saved in the layout of a ``diffusers`` pipeline."""

    config_class = TextToImageConfig
    main_input_name = "pixel_values"

    def __init__(self, config: TextToImageConfig):
        super().__init__(config)
        for name in PARTS:
            values = getattr(config, name)
            setattr(self, name, None if values is None else _part(name, values))
        self.noise_scheduler = _class(SCHEDULER).from_config(copy.deepcopy(config.scheduler))
        self._freeze()

    def _freeze(self) -> None:
        for part in (self.vae, None if self.config.trains_text_encoder else self.text_encoder):
            if part is not None:
                part.requires_grad_(False)

    def forward(
        self, pixel_values: Tensor, input_ids: Tensor, noise_keys: Tensor | None = None, labels: Tensor | None = None
    ) -> DenoisingOutput:
        """Add noise to images at one random time each and predict it.

        Args:
            pixel_values: In [-1, 1], ``[rows, channels, height, width]``.
            input_ids: Prompts' tokens, ``[rows, tokens]``.
            noise_keys: int64 ``[rows]``; time and noise of a row are a function of its key. Default: its position.
            labels: Classes of the prompts; not read.
        """
        keys = torch.arange(len(pixel_values)) if noise_keys is None else noise_keys
        clean = self.encode(pixel_values)
        noise, times = self.draw(keys, clean)
        predicted = self.predict_noise(clean, noise, times, input_ids)
        return DenoisingOutput(torch.nn.functional.mse_loss(predicted.float(), noise.float()), predicted, noise)

    def predict_noise(self, clean: Tensor, noise: Tensor, times: Tensor, input_ids: Tensor) -> Tensor:
        """Return what the model takes for the noise in images that noise was added to, of the noise's shape.

        Args:
            clean: Images as ``encode`` returns them, ``[rows, channels, height, width]``.
            noise: Of the same shape.
            times: int64 ``[rows]``, from 0, almost no noise, to the last step of the schedule.
            input_ids: Prompts' tokens, ``[rows, tokens]``.
        """
        noisy = self.noise_scheduler.add_noise(clean, noise, times)
        return self.unet(noisy, times, encoder_hidden_states=self.text_encoder(input_ids)[0]).sample

    def draw(self, keys: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return the noise (as ``like``) and the times (int64 ``[rows]``) that belong to ``keys``."""
        noise, times = [], []
        for key in keys.tolist():
            generator = torch.Generator().manual_seed(key)
            times.append(torch.randint(self.noise_scheduler.config.num_train_timesteps, (), generator=generator))
            noise.append(torch.randn(like.shape[1:], generator=generator))
        return torch.stack(noise).to(like), torch.stack(times).to(like.device)

    def encode(self, pixel_values: Tensor) -> Tensor:
        """Return what noise is added to: the pixels, or their latents."""
        if self.vae is None:
            return pixel_values.to(self.dtype)
        with torch.no_grad():
            return self.vae.encode(pixel_values.to(self.dtype)).latent_dist.mode() * self.vae.config.scaling_factor

    @torch.no_grad()
    def generate_images(self, input_ids: Tensor, keys: Sequence[int]) -> Tensor:
        """Return an image for each prompt, float32 in [0, 1], ``[rows, channels, height, width]``.

        Args:
            input_ids: ``[rows, tokens]``.
            keys: int64 ``[rows]``; the noise that an image starts from is a function of its key.
        """
        sampler = _class(("diffusers", SAMPLER)).from_config(self.noise_scheduler.config)
        sampler.set_timesteps(min(SAMPLING_STEPS, sampler.config.num_train_timesteps), device=self.device)
        side, channels = self.unet.config.sample_size, self.unet.config.in_channels
        starts = [torch.randn((channels, side, side), generator=torch.Generator().manual_seed(key)) for key in keys]
        state, hidden = torch.stack(starts).to(self.device, self.dtype), self.text_encoder(input_ids)[0]
        for time in sampler.timesteps:
            state = sampler.step(self.unet(state, time, encoder_hidden_states=hidden).sample, time, state).prev_sample
        if self.vae is not None:
            state = self.vae.decode(state / self.vae.config.scaling_factor).sample
        return (state.float().clamp(-1, 1) + 1) / 2

    def keep_frozen(self, fresh: TextToImage) -> None:
        """Give a newly drawn model the parts of this one that are never trained, and so hold nothing it learned."""
        for name in PARTS:
            part = getattr(self, name)
            if part is not None and not any(weight.requires_grad for weight in part.parameters()):
                getattr(fresh, name).load_state_dict(part.state_dict())

    # Saving and loading, in the layout of a pipeline ------------------------------------------------------------------

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Write each part into its own folder, beside a pipeline's index."""
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        index: dict[str, Any] = {
            "_class_name": "StableDiffusionPipeline" if self.vae is not None else "DiffusionPipeline"
        }
        for name, found in PARTS.items():
            part = getattr(self, name)
            index[name] = list(found) if part is not None else [None, None]
            if part is not None:
                part.save_pretrained(folder / name, safe_serialization=True)
        self.noise_scheduler.save_pretrained(folder / "scheduler")
        index |= {"scheduler": list(SCHEDULER), "tokenizer": ["transformers", "PreTrainedTokenizerFast"]}
        index["trains_text_encoder"] = self.config.trains_text_encoder
        (folder / PIPELINE).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *_: Any,
        revision: str | None = None,
        dtype: torch.dtype = torch.float32,
        config: TextToImageConfig | None = None,
        image_size: int | None = None,
        output_loading_info: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Load a pipeline from a folder or a Hub repository.

        Args:
            name: Folder or Hub id.
            revision: Commit on the Hub.
            dtype: Type of the weights; by default that of `diffusers`, however its parts are stored.
            config: Configuration of a model of the same shape, whose image size is kept.
            image_size: Width and height of the images that are denoised and drawn, in pixels; default: as published.
            output_loading_info: Whether to say also what was missing.
            kwargs: Other arguments of ``transformers``; not read.

        Returns:
            The model; with ``output_loading_info``, also which of its tensors the weights lack, as ``missing_keys``.

        Raises:
            OSError: If there is none.
        """
        folder = pipeline_folder(name, revision)
        index = read_object(folder / PIPELINE)
        how = {"torch_dtype": dtype, "use_safetensors": True, "output_loading_info": True}
        parts, missing = {}, []
        for part, found in PARTS.items():
            if not index.get(part, [None])[0]:
                continue
            check_built(folder / part, partial(_part, part, read_object(folder / part / CONFIG)))
            parts[part], info = _class(found).from_pretrained(folder / part, **how)
            missing += [f"{part}.{key}" for key in info["missing_keys"]]
        halvings = _halvings(parts["vae"].config.block_out_channels) if "vae" in parts else 0
        side = config.unet["sample_size"] if config else image_size and image_size >> halvings
        if side:
            parts["unet"].register_to_config(sample_size=side)
        scheduler = _class(SCHEDULER).from_pretrained(folder / "scheduler")
        configs = {part: _plain(model.config) for part, model in parts.items()}
        trains = index.get("trains_text_encoder", False)
        config = TextToImageConfig(**configs, scheduler=dict(scheduler.config), trains_text_encoder=trains)
        model = cls.__new__(cls)
        PreTrainedModel.__init__(model, config)
        for part in PARTS:
            setattr(model, part, parts.get(part))
        model.noise_scheduler = scheduler
        model._freeze()
        model.eval()
        return (model, {"missing_keys": missing}) if output_loading_info else model


def pipeline_folder(name: str | Path, revision: str | None = None) -> Path:
    """Return the local folder of a pipeline, fetched from the Hub if it is not one.

    Raises:
        OSError: If it is neither a folder with ``model_index.json`` nor a repository.
    """
    folder = source_of(name, revision).folder
    if not (folder / PIPELINE).is_file():
        raise OSError(f"{name} has no {PIPELINE}, so it is not a text-to-image pipeline.")
    return folder


def _halvings(blocks: Sequence[int]) -> int:
    """Return how often an autoencoder halves an image's side: in each of its blocks except the first."""
    return len(blocks) - 1


def published_size(folder: Path) -> int:
    """Return the width and height of the images that a pipeline draws, in pixels."""
    size = read_object(folder / "unet" / CONFIG)["sample_size"]
    if (folder / "vae" / CONFIG).is_file():
        size *= 2 ** _halvings(read_object(folder / "vae" / CONFIG)["block_out_channels"])
    return size


def _class(found: Sequence[str]) -> Any:
    library, name = found
    try:
        return getattr(import_module(library), name)
    except ModuleNotFoundError as error:
        raise BadInput(
            f"Text-to-image needs {library}, which is missing. Run: pip install 'mubench_hf[diffusion]'"
        ) from error


def _part(name: str, values: dict[str, Any]) -> torch.nn.Module:
    made = _class(PARTS[name])
    if hasattr(made, "config_class") and made.config_class is not None:
        return made(made.config_class(**copy.deepcopy(values)))
    return made.from_config(copy.deepcopy(values))


def _plain(config: Any) -> dict[str, Any]:
    return config.to_dict() if hasattr(config, "to_dict") else dict(config)
