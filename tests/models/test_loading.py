"""Fresh, incompetent, frozen and saved models, and the hash of their weights."""

import copy
import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import ViTConfig, ViTForImageClassification

from mubench_hf.errors import BadInput
from mubench_hf.models import get_model
from mubench_hf.models.loading import fresh_model, frozen, load_model, reinitialised, weights_sha256

NAMES = ["cat", "dog", "owl", "fox"]


def weights(model):
    return dict(model.named_parameters())


def test_fresh_model_knows_its_classes(tiny):
    model = fresh_model(tiny, NAMES, seed=1)
    assert model.config.num_labels == 4
    assert model.config.id2label == dict(enumerate(NAMES))
    assert model.config.label2id == {"cat": 0, "dog": 1, "owl": 2, "fox": 3}


def test_fresh_model_follows_its_seed_alone(tiny):
    hashes = []
    for seed in (1, 1, 2):
        torch.rand(seed)
        hashes.append(weights_sha256(fresh_model(tiny, NAMES, seed)))
    assert hashes[0] == hashes[1] != hashes[2]


def test_random_state_is_left_as_it_was(tiny):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    model = fresh_model(tiny, NAMES, seed=1)
    reinitialised(model, seed=2)
    assert torch.equal(torch.rand(3), expected)


def test_reinitialised_shares_no_drawn_weight(tiny):
    """Every tensor is new, unless its initial value is a constant: then two fresh models have it in common too."""
    model = fresh_model(tiny, NAMES, seed=1)
    with torch.no_grad():
        for weight in model.parameters():
            weight += torch.randn_like(weight)  # as if trained
    fresh, other = reinitialised(model, seed=2), reinitialised(model, seed=3)
    drawn = 0
    for name, weight in weights(fresh).items():
        assert not (weight == weights(model)[name]).any(), name
        if weight.unique().numel() == 1:
            assert torch.equal(weight, weights(other)[name]), f"{name} starts as a constant"
        else:
            drawn += 1
            assert (weight != weights(other)[name]).float().mean() > 0.99, name
    assert drawn >= 5


def test_reinitialised_vit_has_a_new_class_token_and_positions():
    config = ViTConfig(image_size=16, patch_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    model = ViTForImageClassification(config)
    fresh = weights(reinitialised(model, seed=2))
    for name in ("vit.embeddings.cls_token", "vit.embeddings.position_embeddings"):
        assert (fresh[name] != weights(model)[name]).all()
        assert 0.005 < fresh[name].std() < 0.05, "drawn at the configured scale of 0.02"


def test_reinitialised_is_like_its_model_and_leaves_it(tiny):
    model = fresh_model(tiny, NAMES, seed=1)
    before = weights_sha256(model)
    fresh = reinitialised(model, seed=2)
    assert type(fresh) is type(model) and fresh.config.id2label == model.config.id2label
    assert fresh.config is not model.config and weights_sha256(model) == before
    assert [tuple(weight.shape) for weight in fresh.parameters()] == [tuple(w.shape) for w in model.parameters()]
    again = reinitialised(model, seed=2)
    assert weights_sha256(again) == weights_sha256(fresh) != weights_sha256(reinitialised(model, seed=3))


def test_reinitialised_keeps_the_type(vit):
    assert reinitialised(vit.to(torch.bfloat16), seed=2).dtype == torch.bfloat16


def test_reinitialised_from_a_backbone(vit, tmp_path):
    """The backbone's weights, and a new head where the classes differ."""
    backbone = fresh_model(get_model("vit-tiny"), list("abcdefg"), seed=9)
    backbone.save_pretrained(tmp_path)
    fresh, again = reinitialised(vit, 2, str(tmp_path)), reinitialised(vit, 2, str(tmp_path))
    assert weights_sha256(fresh) == weights_sha256(again)
    assert fresh.config.num_labels == 3
    for name, weight in weights(fresh).items():
        if name.startswith("classifier"):
            assert weight.shape[0] == 3
        else:
            assert torch.equal(weight, weights(backbone)[name])
    other = reinitialised(vit, 3, str(tmp_path))
    assert not torch.equal(other.classifier.weight, fresh.classifier.weight)


def test_frozen(vit):
    model = frozen(vit.train())
    assert model is vit and not model.training and not any(weight.requires_grad for weight in model.parameters())
    assert not model(pixel_values=torch.zeros(1, 3, 16, 16)).logits.requires_grad


def test_hash_changes_with_any_weight(tiny):
    model = fresh_model(tiny, NAMES, seed=1)
    start = weights_sha256(model)
    assert len(start) == 64 and weights_sha256(copy.deepcopy(model)) == start
    seen = {start}
    for tensor in model.state_dict().values():
        changed = tensor.flatten()[-1:]
        kept = changed.clone()
        changed += 1
        seen.add(weights_sha256(model))
        changed.copy_(kept)
    assert weights_sha256(model) == start
    assert len(seen) == 1 + len(model.state_dict())


def test_hash_tells_types_shapes_and_names_apart():
    def named(**tensors):
        module = torch.nn.Module()
        for name, tensor in tensors.items():
            module.register_buffer(name, tensor)
        return weights_sha256(module)

    zeros = torch.zeros(4)
    hashes = [
        named(a=zeros),
        named(b=zeros),
        named(a=zeros.view(2, 2)),
        named(a=zeros.int()),
        named(a=zeros.bfloat16()),
        named(a=zeros, b=zeros),
        named(a=torch.tensor(0.0)),
        named(a=-zeros),
    ]
    assert len(set(hashes)) == len(hashes)
    assert named(a=zeros, b=zeros + 1) == named(b=zeros + 1, a=zeros), "the order they were made in does not count"
    transposed = torch.arange(6.0).view(2, 3).T
    assert named(a=transposed) == named(a=transposed.contiguous())


def test_hash_does_not_depend_on_mode_or_gradients(vit):
    start = weights_sha256(vit)
    assert weights_sha256(frozen(vit)) == start


def test_saved_and_loaded(tiny, tmp_path):
    model = fresh_model(tiny, NAMES, seed=1)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.01 * torch.randn_like(weight)
    model.save_pretrained(tmp_path)
    again = load_model(tmp_path, tiny.architecture.auto_class)
    assert weights_sha256(again) == weights_sha256(model)
    assert again.config.id2label == model.config.id2label and type(again) is type(model)


@pytest.mark.parametrize("make", [lambda folder: folder / "nothing", lambda folder: folder])
def test_no_checkpoint(make, tmp_path):
    name = make(tmp_path)
    with pytest.raises(BadInput) as error:
        load_model(name, "AutoModelForImageClassification")
    assert str(error.value).startswith(f"No checkpoint at {str(name)!r}: ") and "\n" not in str(error.value)


def test_a_folder_without_weights(vit, tmp_path):
    vit.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(BadInput, match="holds no weights as safetensors"):
        load_model(tmp_path, "AutoModelForImageClassification")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda config, tensors: config.update(num_hidden_layers=9), "they lack vit.layers"),
        (lambda config, tensors: config.update(num_hidden_layers=0), "it has no place for vit.layers.0"),
        (
            lambda config, tensors: config.update(id2label={"0": "a"}, label2id={"a": 0}),
            "another shape classifier.bias",
        ),
        (lambda config, tensors: tensors.pop("classifier.bias"), "they lack classifier.bias"),
        (lambda config, tensors: tensors.update(more=torch.zeros(2)), "it has no place for more"),
    ],
)
def test_a_checkpoint_that_does_not_fit_its_config_is_not_half_loaded(vit, tmp_path, spoil, message):
    vit.save_pretrained(tmp_path)
    auto_class = "AutoModelForImageClassification"
    assert weights_sha256(load_model(tmp_path, auto_class)) == weights_sha256(vit)
    config, tensors = json.loads((tmp_path / "config.json").read_text()), load_file(tmp_path / "model.safetensors")
    spoil(config, tensors)
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadInput, match=message) as error:
        load_model(tmp_path, auto_class)
    assert "\n" not in str(error.value)
