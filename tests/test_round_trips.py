"""A checkpoint of every kind, from training to the Hub and back: others load it in plain terms and get its scores.

What runs in the other process imports nothing of this package. It shows how each kind of checkpoint is used.
"""

import json
import subprocess
import sys

import pytest
from hub import WRITER

from mubench_hf.cli import dispatch
from mubench_hf.hub import dataset_bundle, metric_bundle, model_bundle
from mubench_hf.hub.publish import Publisher
from mubench_hf.tasks import get_task

START = """
import io, json, sys
sys.modules["mubench_hf"] = None  # Importing it fails from here on.
import evaluate, numpy as np, torch
from datasets import Audio, Video, concatenate_datasets, load_dataset
from huggingface_hub import hf_hub_download
from transformers import AutoFeatureExtractor, AutoProcessor, AutoTokenizer
from transformers import AutoModelForAudioClassification, AutoModelForCausalLM, AutoModelForSeq2SeqLM
from transformers import AutoModelForSequenceClassification, AutoModelForVideoClassification

task, checkpoints = json.loads(sys.argv[1])
data = load_dataset(f"mubench/{task}-mini", "df_5pct")

def score(metric, predictions, references):
    return evaluate.load(f"mubench/{metric}").compute(predictions=predictions, references=references)[metric]

def batches(rows, size):
    return [rows[first : first + size] for first in range(0, len(rows), size)]
"""

END = """
found = {}
for name, revision in checkpoints.items():
    result = json.load(open(hf_hub_download(name, "run_result.json", revision=revision)))
    outputs = np.load(hf_hub_download(name, "run_outputs.npz", revision=revision), allow_pickle=False)
    torch.set_num_threads(result["hardware"]["threads"])
    with torch.inference_mode():
        found[name] = {"stated": result["scores"], "found": scores(name, revision, result["seed"], outputs)}
print(json.dumps(found))
"""

CLASSES = """
def scores(name, revision, seed, outputs):
    # The last bits of a row's logits depend on the batch it is in: rows stand as they did when they were measured.
    train = concatenate_datasets([data["forget"], data["retain"]]).sort("index")
    forget = np.isin(train["index"], data["forget"]["index"])
    logits = np.concatenate([np.asarray(batch) for batch in logits_of(train, name, revision)])[forget]
    return {
        "forget_accuracy": score("accuracy", logits, np.asarray(train["label"])[forget]),
        "zrf": score("zrf", logits, outputs["incompetent_forget_logits"]),
    }
"""

TEXT = """
def logits_of(rows, name, revision):
    tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
    model = AutoModelForSequenceClassification.from_pretrained(name, revision=revision).eval()
    for batch in batches(rows, 256):
        inputs = tokenizer(batch["text"], truncation=True, max_length=128, padding=True, return_tensors="pt")
        yield model(**inputs).logits
"""

SPEECH = """
import soundfile

def sound(stored):
    samples, rate = soundfile.read(io.BytesIO(stored["bytes"]), dtype="float32")
    return np.pad(samples[:16_000], (0, max(0, 16_000 - len(samples))))

def logits_of(rows, name, revision):
    extractor = AutoFeatureExtractor.from_pretrained(name, revision=revision)
    model = AutoModelForAudioClassification.from_pretrained(name, revision=revision).eval()
    for batch in batches(rows.cast_column("audio", Audio(decode=False)), 256):
        sounds = [sound(stored) for stored in batch["audio"]]
        yield model(**extractor(sounds, sampling_rate=16_000, return_tensors="pt")).logits
"""

VIDEO = """
import av

def frames(stored):
    with av.open(io.BytesIO(stored["bytes"])) as video:
        return [frame.to_image() for frame in video.decode(video=0)]  # The mini clips have the 16 that are read.

def logits_of(rows, name, revision):
    processor = AutoProcessor.from_pretrained(name, revision=revision)
    model = AutoModelForVideoClassification.from_pretrained(name, revision=revision).eval()
    for batch in batches(rows.cast_column("video", Video(decode=False)), 256):
        yield model(**processor([frames(stored) for stored in batch["video"]], return_tensors="pt")).logits
"""

TOKENS = """
import torch.nn.functional as F

def filled(rows, token):
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=token)

def divergences(one, other, labels):
    "Mean Jensen-Shannon divergence over the positions of each row's labels, in bits."
    p, q = F.log_softmax(one, -1), F.log_softmax(other, -1)
    m = torch.logaddexp(p, q) - torch.log(torch.tensor(2.0))
    both = (p.exp() * (p - m)).sum(-1) + (q.exp() * (q - m)).sum(-1)
    both = torch.where(labels != -100, both, 0.0).sum(-1) / (labels != -100).sum(-1)
    return both / (2 * torch.log(torch.tensor(2.0)))

def untrained(model, seed):
    "The incompetent model of ZRF: fresh weights from a seed beside that of the run."
    torch.manual_seed(1_000_003 + seed)
    return type(model)(model.config).eval()

def scores(name, revision, seed, outputs):
    tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
    model = auto_class.from_pretrained(name, revision=revision).eval()
    forget, other, written, apart = data["forget"].sort("index"), untrained(model, seed), [], []
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    for batch in batches(forget, 64):
        inputs = prompts(tokenizer, batch)
        tokens = model.generate(**inputs, **ends, max_new_tokens=most, do_sample=False, num_beams=1)
        written += tokenizer.batch_decode(continuation(tokens, inputs), skip_special_tokens=True)
    for batch in batches(forget, 32):
        labels, (own, others) = compared(tokenizer, batch, (model, other))
        apart.append(divergences(own, others, labels))
    apart = np.concatenate(apart).astype(np.float64)
    return {"forget_rouge_l": score("rouge_l", written, forget[target]), "zrf": 1 - np.mean(apart)}
"""

SUMMARIES = """
auto_class, target, most = AutoModelForSeq2SeqLM, "summary", 128

def prompts(tokenizer, batch):
    texts = ["summarize: " + dialogue for dialogue in batch["dialogue"]]
    return tokenizer(texts, truncation=True, max_length=tokenizer.model_max_length, padding=True, return_tensors="pt")

def continuation(tokens, inputs):
    return tokens

def compared(tokenizer, batch, models):
    inputs = prompts(tokenizer, batch)
    labels = tokenizer(text_target=batch["summary"], truncation=True, max_length=most)["input_ids"]
    labels = filled(labels, -100)
    return labels, [model(**inputs, labels=labels).logits for model in models]
"""

BIOGRAPHIES = """
auto_class, target, most = AutoModelForCausalLM, "biography", 192

def prompts(tokenizer, batch):
    tokenizer.padding_side = "left"  # A text goes on from where its prompt ends.
    texts = [instruction + "\\n" for instruction in batch["instruction"]]
    return tokenizer(texts, padding=True, return_tensors="pt")

def continuation(tokens, inputs):
    return tokens[:, inputs["input_ids"].shape[1] :]

def compared(tokenizer, batch, models):
    starts = [tokenizer(instruction + "\\n")["input_ids"] for instruction in batch["instruction"]]
    ends = tokenizer(batch["biography"], add_special_tokens=False, truncation=True, max_length=most - 1)["input_ids"]
    ends = [end + [tokenizer.eos_token_id] for end in ends]
    ids = filled([start + end for start, end in zip(starts, ends)], tokenizer.pad_token_id)
    mask = filled([[1] * len(start + end) for start, end in zip(starts, ends)], 0)
    labels = filled([[-100] * len(start) + end for start, end in zip(starts, ends)], -100)
    # What is said at a position is of the token after it.
    return labels[:, 1:], [model(input_ids=ids, attention_mask=mask).logits[:, :-1] for model in models]
"""

IMAGES = """
from diffusers import DDIMScheduler, UNet2DConditionModel
from sklearn.linear_model import LogisticRegression
from transformers import CLIPTextModel

def grey(images):
    return np.asarray(images, dtype=np.float32).mean(axis=1).reshape(len(images), -1)

def pixels(rows):
    images = np.stack([np.asarray(image.convert("RGB"), dtype=np.float32) / 127.5 - 1 for image in rows["image"]])
    return (np.moveaxis(images, -1, 1) + 1) / 2

def scores(name, revision, seed, outputs):
    part = {"pretrained_model_name_or_path": name, "revision": revision}
    unet = UNet2DConditionModel.from_pretrained(**part, subfolder="unet").eval()
    text_encoder = CLIPTextModel.from_pretrained(**part, subfolder="text_encoder").eval()
    tokenizer = AutoTokenizer.from_pretrained(**part, subfolder="tokenizer")
    sampler = DDIMScheduler.from_pretrained(**part, subfolder="scheduler")
    forget = data["forget"].sort("index")

    # An image for each prompt, from noise whose seed is the row's place, in 20 steps without guidance.
    tokens = tokenizer(forget["prompt"][:], padding="max_length", truncation=True, return_tensors="pt")["input_ids"]
    shape, hidden = (3, unet.config.sample_size, unet.config.sample_size), text_encoder(tokens)[0]
    drawn = [torch.Generator().manual_seed(place) for place in range(len(forget))]
    images = torch.stack([torch.randn(shape, generator=generator) for generator in drawn])
    sampler.set_timesteps(20)
    for time in sampler.timesteps:
        images = sampler.step(unet(images, time, encoder_hidden_states=hidden).sample, time, images).prev_sample
    images = (images.clamp(-1, 1).numpy() + 1) / 2

    # The mini data's judge: a logistic regression on the grey pixels of the train images.
    train = concatenate_datasets([data["forget"], data["retain"]]).sort("index")
    judge = LogisticRegression(C=1.0, max_iter=2000).fit(grey(pixels(train)), np.asarray(train["label"][:]))
    seen = judge.predict_log_proba(grey(images))
    return {
        "forget_prompt_accuracy": score("prompt_accuracy", seen, forget["label"][:]),
        "forget_frechet_distance": score("frechet_distance", grey(images), grey(pixels(forget))),
    }
"""

KINDS = {
    "imdb": ("bert-tiny", CLASSES + TEXT, ["--num_train_epochs", "1"]),
    "speech_commands": ("wav2vec2-tiny", CLASSES + SPEECH, ["--num_train_epochs", "1"]),
    "ucf101": ("videomae-tiny", CLASSES + VIDEO, ["--max_steps", "8"]),
    "samsum": ("t5-v1.1-tiny", TOKENS + SUMMARIES, ["--num_train_epochs", "1"]),
    "celeb_profile": ("llama-2-tiny", TOKENS + BIOGRAPHIES, ["--num_train_epochs", "1"]),
    "tiny_imagenet": ("stable-diffusion-tiny", IMAGES, ["--max_steps", "8"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_others_get_the_scores_that_are_published(name, hub, hub_env, tmp_path, monkeypatch):
    model, code, length = KINDS[name]
    out, task = tmp_path / "out", get_task(name)
    arguments = ["--task", name, "--mini", "--out", str(out), "--disable_tqdm", "true", *length]
    dispatch(["build", name, "--mini", "--out", str(out)])
    dispatch(["train", *arguments])
    (original,) = (out / "mubench").glob(f"{name}-mini-{model}-original-s42*")
    dispatch(["evaluate", str(original), "--out", str(out)])
    dispatch(["unlearn", *arguments, "--method", "finetune", "--base", str(original)])
    (unlearned,) = (out / "mubench").glob(f"{name}-mini-{model}-finetune-df5pct-s42*")
    names = [original.name, unlearned.name]

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    Publisher(endpoint=hub.url, token=WRITER).publish(
        [
            dataset_bundle(task, variant="mini", out=out),
            *(model_bundle(out / "mubench" / run) for run in names),
            *(metric_bundle(metric) for metric in (*task.metrics, "zrf")),
        ]
    )
    revisions = {f"mubench/{run}": hub.repos["model", f"mubench/{run}"].commits[-1][0] for run in names}
    env = {name: value for name, value in hub_env.items() if name not in ("HF_TOKEN", "PYTHONPATH")}
    done = subprocess.run(
        [sys.executable, "-c", START + code + END, json.dumps([name, revisions])],
        env=env, cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for run, seen in json.loads(done.stdout.strip().splitlines()[-1]).items():
        for key, value in seen["found"].items():
            assert value == seen["stated"][key], f"{key} of {run}"
        assert any(value > 0 for key, value in seen["found"].items() if key.startswith("forget_"))
        # A denoiser has no distribution over classes, so there is no ZRF of it.
        assert ("zrf" in seen["found"]) == (seen["stated"]["zrf"] is not None)
