"""Every registered checkpoint, imitated in the files of its repository, is read whole: no weight of it is random."""

import io
import os
import pickle
import threading
from dataclasses import replace

import pytest
import torch
from upstream import BERT, HEADS, LAYOUTS, counterpart, imitation, safetensors_of, weight_files, write

from mubench_hf.errors import BadInput
from mubench_hf.models import get_model, list_models
from mubench_hf.models.loading import (
    fresh_model,
    load_processor,
    named_class,
    reinitialised,
    saved_processor,
    text_positions,
)
from mubench_hf.models.pretrained import split_reference

PUBLISHED = [
    name for name in list_models() if get_model(name).published and get_model(name).architecture.kind != "diffusion"
]
SMALLEST = {}
for spec in sorted(map(get_model, PUBLISHED), key=lambda spec: spec.published.parameters):
    SMALLEST.setdefault(spec.architecture.name, spec.name)
QUICK = {"vit-base", "wav2vec2-base", "t5-v1.1-base", "deberta-v3-base", "mobilenet-v1-1.0"}
"""One of each way to be unlike what ``transformers`` writes today; the others take seconds more."""

CASES = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in PUBLISHED]


def local(name, folder):
    """The registered model, its checkpoint in a folder."""
    spec = get_model(name)
    return replace(spec, published=replace(spec.published, hub_id=str(folder), revision=None))


def labels_of(spec):
    return ["no", "yes"] if spec.architecture.kind == "classification" else ()


def seed_of(rng):
    return int(rng.integers(2**31))


def test_every_architecture_has_a_layout():
    """A new published checkpoint needs an imitation in the layout of its repository."""
    named = {get_model(name).architecture.name for name in PUBLISHED}
    assert set(LAYOUTS) == named


@pytest.mark.parametrize("name", CASES)
def test_every_weight_of_the_backbone_is_the_checkpoints(name, tmp_path, rng):
    seed = seed_of(rng)
    files, upstream = imitation(get_model(name), seed)
    spec = local(name, write(files, tmp_path))
    model = fresh_model(spec, labels_of(spec), seed=1)
    published = upstream.state_dict()
    assert model.config.num_labels == 2 or spec.architecture.kind != "classification"
    seen = 0
    for key, weight in model.state_dict().items():
        other = counterpart(key, published)
        if not any(part in f"{key}." for part in HEADS):
            assert other is not None and torch.equal(weight, other), f"{key} is not the checkpoint's"
            seen += 1
    assert seen > 0.75 * len(model.state_dict())
    again = reinitialised(model, 1, spec.reference)  # as an original and its retrained model begin
    assert all(torch.equal(weight, again.state_dict()[key]) for key, weight in model.state_dict().items())


@pytest.mark.parametrize("name", CASES)
def test_its_processor_is_the_repositorys(name, tmp_path, rng):
    files, _ = imitation(get_model(name), seed_of(rng))
    spec = local(name, write(files, tmp_path / "upstream"))
    processor = load_processor(spec)
    processor.save_pretrained(tmp_path / "saved")
    again = saved_processor(tmp_path / "saved", processor_class=spec.architecture.processor_class)
    texts, images = getattr(processor, "tokenizer", processor), getattr(processor, "image_processor", processor)
    if spec.architecture.modality in ("text", "image pair and text"):
        text = "Person 3 of Ulm likes soup."
        ids, copy = texts(text)["input_ids"], getattr(again, "tokenizer", again)
        assert copy(text)["input_ids"] == ids and len(ids) > 4
        unknown = {None if texts.unk_token_id == texts.bos_token_id else texts.unk_token_id} - {None}
        assert not unknown & set(ids), "its vocabulary was read"
        assert "soup" in texts.decode(ids, skip_special_tokens=True)
        assert max(ids) < spec.architecture.tiny_config().get_text_config().vocab_size
        positions = text_positions(spec.architecture.tiny_config().get_text_config())
        assert texts.model_max_length <= positions or positions <= 0
    if spec.architecture.modality in ("image", "video", "image pair and text"):
        real = spec.architecture.real_processor
        expected = tuple(real().image_mean) if real else (0.5,) * 3
        assert tuple(images.image_mean) == expected, "as the processor of the published size"
    if spec.architecture.modality == "audio":
        assert type(processor) is type(spec.architecture.real_processor()) and processor.sampling_rate == 16_000


@pytest.mark.slow
@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.parametrize("name", SMALLEST.values())
def test_either_format_of_weights_is_the_same_model(name, pickled, tmp_path, rng):
    seed = seed_of(rng)
    made = []
    for form in (pickled, not pickled):
        files, _ = imitation(get_model(name), seed, pickled=form)
        spec = local(name, write(files, tmp_path / str(form)))
        made.append(fresh_model(spec, labels_of(spec), seed=2).state_dict())
    assert all(torch.equal(weight, made[1][key]) for key, weight in made[0].items())


def test_what_the_benchmark_sets_is_not_the_files(tmp_path, rng):
    """MobileNet's file once said that nearly everything is dropped; a random class keeps one value in a thousand."""
    files, upstream = imitation(get_model("mobilenet-v1-1.0"), seed_of(rng))
    assert upstream.config.classifier_dropout_prob == 0.999
    spec = local("mobilenet-v1-1.0", write(files, tmp_path))
    model = fresh_model(spec, ["a", "b", "c"], seed=1)
    assert model.config.classifier_dropout_prob == spec.config().classifier_dropout_prob == 0.001
    assert reinitialised(model, 2, spec.reference).config.classifier_dropout_prob == 0.001


def bert(tmp_path, rng, change):
    files, upstream = imitation(get_model("bert-base"), seed_of(rng), pickled=False)
    write(files, tmp_path)
    weights = change(dict(safetensors_of(tmp_path)))
    write(weight_files(weights, pickled=False), tmp_path)
    return local("bert-base", tmp_path), upstream


@pytest.mark.parametrize("lost", ["encoder.layer.1.output.dense.weight", "embeddings.LayerNorm.gamma"])
def test_a_backbone_that_would_be_partly_random_is_refused(lost, tmp_path, rng):
    kept = lambda weights: {name: value for name, value in weights.items() if name != f"bert.{lost}"}  # noqa: E731
    spec, _ = bert(tmp_path, rng, kept)
    with pytest.raises(BadInput, match=rf"lacks 1 of the \d+ weights of a Bert.*{lost[:20]}.*they would be random"):
        fresh_model(spec, ["a", "b"], seed=1)


def test_names_that_nobody_knows_are_refused(tmp_path, rng):
    spec, _ = bert(tmp_path, rng, lambda weights: {f"my.{name}": value for name, value in weights.items()})
    with pytest.raises(BadInput, match=r"lacks (\d+) of the \d+ weights of a BertForSequenceClassification"):
        fresh_model(spec, ["a", "b"], seed=1)


def test_a_backbone_of_another_size_is_refused(tmp_path, rng):
    """Shapes that differ are drawn afresh only in a head."""
    name = "bert.embeddings.position_embeddings.weight"
    spec, _ = bert(tmp_path, rng, lambda weights: {**weights, name: weights[name][:100].clone()})
    with pytest.raises(BadInput, match="lacks 1 of .*position_embeddings"):
        fresh_model(spec, ["a", "b"], seed=1)


def test_a_pooler_may_be_new(tmp_path, rng):
    """Models trained to fill in words are published without one."""
    kept = lambda weights: {name: value for name, value in weights.items() if "pooler" not in name}  # noqa: E731
    spec, upstream = bert(tmp_path, rng, kept)
    model = fresh_model(spec, ["a", "b"], seed=1)
    assert not torch.equal(model.bert.pooler.dense.weight, upstream.bert.pooler.dense.weight)


def test_a_pickle_is_never_run(tmp_path, rng):
    ran = tmp_path / "ran"

    class Harm:
        def __reduce__(self):
            return (os.mkdir, (str(ran),))

    files, _ = imitation(get_model("wav2vec2-base"), seed_of(rng))
    stream = io.BytesIO()
    torch.save({"wav2vec2.masked_spec_embed": Harm()}, stream)
    for content in (stream.getvalue(), pickle.dumps(Harm())):
        folder = write({**files, "pytorch_model.bin": content}, tmp_path / "upstream")
        with pytest.raises(BadInput, match="cannot be loaded by AutoModelForAudio.*hold something else than tensors"):
            fresh_model(local("wav2vec2-base", folder), ["a", "b"], seed=1)
    assert not ran.exists()


@pytest.mark.parametrize("name", ["t5-v1.1-small", "deberta-v3-base"])
@pytest.mark.parametrize("package", ["sentencepiece", "protobuf"])
def test_a_missing_package_is_named(name, package, tmp_path, rng, monkeypatch):
    """AutoProcessor says only that there is no tokenizer."""
    files, _ = imitation(get_model(name), seed_of(rng))
    spec = local(name, write(files, tmp_path))
    load_processor(spec)
    module = {"sentencepiece": "sentencepiece", "protobuf": "google.protobuf"}[package]
    find = "mubench_hf.models.pretrained.find_spec"
    monkeypatch.setattr(find, lambda wanted: None if wanted == module else object())

    def fail(*_, **__):
        raise ValueError("Unrecognized processing class")

    monkeypatch.setattr(named_class("AutoProcessor"), "from_pretrained", fail)
    pieces = next(file for file in files if file.endswith(".model"))
    said = rf"Its vocabulary is {pieces}, which needs sentencepiece and protobuf; missing here: {package}\. Run: pip "
    with pytest.raises(BadInput, match=f"{said}install {package}$"):
        load_processor(spec)


def test_a_name_with_a_commit():
    commit = "0123456789abcdef" * 2 + "01234567"
    assert split_reference(f"org/name@{commit}") == ("org/name", commit)
    for plain in ("org/name", "folder@home", "org/name@main", f"@{commit}"):
        assert split_reference(plain) == (plain, None)


def test_nobody_is_asked_to_convert_weights(hub_here, rng):
    """By default a load of ``.bin`` weights posts a request on the model's page, from a thread of its own."""
    spec = get_model("biomedbert-fulltext")
    files, upstream = imitation(spec, seed_of(rng))
    assert "pytorch_model.bin" in files and "DISABLE_SAFETENSORS_CONVERSION" not in os.environ
    commit = hub_here.add("model", spec.hub_id, {**files, **BERT()})
    model = fresh_model(spec.at(commit), ["a", "b"], seed=1)
    assert torch.equal(model.bert.embeddings.word_embeddings.weight, upstream.bert.embeddings.word_embeddings.weight)
    assert not [thread for thread in threading.enumerate() if "conversion" in thread.name]
    asked = {path for _, path in hub_here.requests}
    assert not [path for path in asked if "discussions" in path or "spaces" in path]
    assert all(commit in path for path in asked if "/resolve/" in path), "at that commit alone"
    assert "DISABLE_SAFETENSORS_CONVERSION" not in os.environ
