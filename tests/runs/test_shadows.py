"""Populations of shadow models: who saw what, and the file that keeps what they say. Nothing is trained here."""

import hashlib
import os
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from mubench_hf.errors import BadInput
from mubench_hf.kinds import list_kinds
from mubench_hf.kinds.measures import get_measure
from mubench_hf.metrics.parameters import POPULATIONS, legal_parameters
from mubench_hf.runs.record import RunId, RunRecord
from mubench_hf.runs.setup import make_setup
from mubench_hf.runs.shadows.making import Shadows, half, model_seed
from mubench_hf.runs.shadows.population import Population, PopulationId, check_same, load_population, note_of, stacked
from mubench_hf.runs.shadows.reading import RunPopulations

SPLITS = {"forget": 7, "retain": 11, "test": 5}


@pytest.fixture
def rng():
    seed = int(os.environ.get("MUBENCH_TEST_SEED", np.random.SeedSequence().entropy))
    print(f"inputs drawn with MUBENCH_TEST_SEED={seed}")
    return np.random.default_rng(seed)


def drawn(rng, models=3, **other):
    """Return a population of models that were never trained."""
    note = {"task": "cifar100", "kind": "half", "recipe": {"learning_rate": 0.1}, "seeds": [*range(models)],
            "statuses": ["ok"] * models, **other}  # fmt: skip
    odds = {f"{split}_log_odds": rng.normal(size=(models, rows)).astype(np.float32) for split, rows in SPLITS.items()}
    return Population(note, {**odds, "forget_member": rng.random((models, 7)) < 0.5})


def test_halves_are_complementary_in_pairs_and_do_not_hang_on_how_many_models_there_are(rng):
    seed, size = int(rng.integers(2**31)), int(rng.integers(1, 60))
    halves = np.stack([half(size, seed, index) for index in range(8)])
    assert (halves.sum(axis=0) == 4).all(), "each row was seen by half of the models"
    assert {*halves[::2].sum(axis=1)} == {size // 2}
    assert (halves[5] == half(size, seed, 5)).all()
    if size > 20:  # Otherwise two of few halves may be equal by chance.
        assert len({row.tobytes() for row in halves}) == 8
        assert (halves[0] != half(size, seed + 1, 0)).any()


def test_seeds_of_models_differ_and_every_generator_takes_them(rng):
    seed = int(rng.integers(2**32))
    seeds = {model_seed(seed, index, stream) for index in range(500) for stream in range(2)}
    assert len(seeds) == 1000 and min(seeds) >= 0 and max(seeds) < 2**31


def test_a_population_is_read_as_it_was_written_and_equal_ones_have_equal_bytes(rng, tmp_path):
    population = drawn(rng)
    file = population.save(tmp_path / "a.npz")
    there = load_population(file)
    assert there.note == population.note and there.models == 3
    assert all((there.arrays[name] == value).all() for name, value in population.arrays.items())
    assert there.save(tmp_path / "b.npz").read_bytes() == file.read_bytes()
    assert there.member("retain").all() and not there.member("test").any() and there.member("test").shape == (3, 5)


def test_models_made_one_by_one_are_the_population_made_at_once(rng, tmp_path):
    whole = drawn(rng, models=4)
    parts = [replace(whole.first(n + 1)) for n in range(4)]
    single = [
        Population({**part.note, "seeds": part.note["seeds"][-1:], "statuses": ["ok"]},
                   {name: value[-1:] for name, value in part.arrays.items()})
        for part in parts
    ]  # fmt: skip
    assert stacked(single).save(tmp_path / "a").read_bytes() == whole.save(tmp_path / "b").read_bytes()
    grown = stacked([whole.first(2), *single[2:]])
    assert grown.save(tmp_path / "c").read_bytes() == whole.save(tmp_path / "d").read_bytes()
    with pytest.raises(BadInput, match=r"another population \(recipe.learning_rate is 0.1, not 0.2\)"):
        stacked([whole, replace(single[0], note={**single[0].note, "recipe": {"learning_rate": 0.2}})])
    with pytest.raises(BadInput, match=r"here is another population \(kind is half, not reseeded\)"):
        check_same(whole, {**whole.identity, "kind": "reseeded"}, "here")


def test_damaged_and_changed_files_are_refused(rng, tmp_path):
    file, other = drawn(rng).save(tmp_path / "a.npz"), drawn(rng)
    content = file.read_bytes()
    with np.load(file) as members:
        arrays = dict(members)
    for name, change in (
        ("forget_log_odds", arrays["forget_log_odds"] + 1),
        ("forget_member", ~arrays["forget_member"]),
        ("note", np.asarray(str(arrays["note"]).replace('"half"', '"reseeded"'))),
        ("note", np.asarray("{}")),
        ("other", np.zeros(3)),
    ):
        np.savez(file, **{**arrays, name: change})
        with pytest.raises(BadInput, match="a.npz is no population that can be used: .*Remove it"):
            load_population(file)
    for spoilt in (content[: len(content) // 2], b"", b"no archive"):
        file.write_bytes(spoilt)
        with pytest.raises(BadInput, match="a.npz is no population that can be used"):
            load_population(file)
    with pytest.raises(BadInput, match=r"b.npz is no population"):
        load_population(tmp_path / "b.npz")
    assert load_population(other.save(file)).note == other.note


def test_names():
    named = PopulationId("imdb", "mini", "bert", "half", "scrub", 5, 3)
    assert named.name == "imdb-mini-bert-half-scrub-df5pct-s3"
    assert replace(named, method="", del_ratio=None, variant="full").name == "imdb-bert-half-s3"


def test_kinds_whose_rows_have_no_log_odds_say_so(tmp_path):
    setup = make_setup("tiny_imagenet", variant="mini", out=tmp_path)
    assert setup.task.kind == "diffusion"
    with pytest.raises(BadInput, match="Denoisers give a row's image no probability, so it has no log-odds"):
        Shadows(setup, "half")
    for kind in {"classification", "causal_lm", "seq2seq"} & {*list_kinds()}:
        get_measure(kind).check_truths()


def test_what_cannot_be_made_is_refused(tmp_path):
    setup = make_setup("cifar100", variant="mini", out=tmp_path)
    with pytest.raises(BadInput, match="--kind is 'quarter'; allowed: half, reseeded"):
        Shadows(setup, "quarter")
    with pytest.raises(BadInput, match="unlearn nothing are made anyway"):
        Shadows(setup, "half", ("original",))
    shadows = Shadows(setup, "reseeded", ("original", "scrub"), seed=4)
    assert [each.name for each in shadows.populations] == [
        f"cifar100-mini-vit-tiny-{what}-df5pct-s4" for what in ("reseeded", "reseeded-original", "reseeded-scrub")
    ]
    assert not any(tmp_path.iterdir())


def finished(**other):
    """Return the record of a run that a population may fit."""
    run = RunId("cifar100", "mini", "vit-tiny", "scrub", 5, 42)
    return RunRecord(run, {"alpha": 0.1}, "rows", "list", "mubench/original", "weights", status="ok", **other)


def kept(rng, out, kind, method, models=3, seed=0, **other):
    named = PopulationId("cifar100", "mini", "vit-tiny", kind, method, 5, seed)
    config = {"alpha": 0.1} if method == "scrub" else {}
    manifest = {"fingerprint": "rows", "deletion_list": {"sha256": "list"}}
    note = note_of(named, manifest=manifest, recipe={"learning_rate": 0.1}, config=config, external={})
    drawn(rng, models, **{**note, **other}).save(named.file(out))


def sources(record, out, **references):
    return RunPopulations(record, record.run, references, out / "results").sources


def test_a_run_reads_the_populations_that_fit_it(rng, tmp_path):
    kept(rng, tmp_path, "half", "", 3)
    kept(rng, tmp_path, "half", "", 5, seed=9)
    kept(rng, tmp_path, "half", "scrub", 4)
    kept(rng, tmp_path, "reseeded", "", 2)
    kept(rng, tmp_path, "reseeded", "scrub", 6)
    found = {}
    for source in sources(finished(), tmp_path).values():
        found |= source()
    assert {*found} == {name for name, each in legal_parameters(()).items() if each.of in POPULATIONS}
    assert len(found["shadow_test_log_odds"]) == 5, "of two that fit, the one with more models"
    assert len(found["unlearned_shadow_forget_member"]) == 4 and found["shadow_retain_member"].all()
    assert len(found["population_test_margins"]) == 6 and len(found["retrain_population_retain_margins"]) == 2


@pytest.mark.parametrize(
    ("record", "there", "why"),
    [
        ({}, None, "Run: mubench shadow cifar100 --mini --model vit-tiny --del_ratio 5 --kind half --method scrub"),
        ({}, {"config": {"alpha": 0.2}}, "s0.npz has other settings of the method"),
        ({}, {"data_fingerprint": "others"}, "has other rows"),
        ({}, {"deletion_sha256": "others"}, "has other rows to forget"),
        ({}, {"recipe": {"learning_rate": 0.2}}, "has other recipe"),
        ({"external": {"task": {"name": "x", "sha256": "y"}}}, {}, "has other external parts"),
        ({"settings": {"alpha": 0.3}}, {}, r"presets, and this run's settings differ from them \(alpha\)"),
    ],
)  # fmt: skip
def test_populations_that_do_not_fit_a_run_are_not_read(rng, tmp_path, record, there, why):
    if there is not None:
        kept(rng, tmp_path, "half", "scrub", **there)
    retrain = SimpleNamespace(config={"learning_rate": 0.1})
    with pytest.raises(ValueError, match=why) as error:
        sources(finished(**record), tmp_path, retrain=retrain)["unlearned shadow models"]()
    assert str(tmp_path) not in str(error.value), "reasons are published"


def test_a_damaged_population_is_a_reason(rng, tmp_path):
    kept(rng, tmp_path, "reseeded", "")
    (file,) = (tmp_path / "shadow").iterdir()
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match=rf"^needs a population of models \({file.name} is damaged or was changed\)"):
        sources(finished(), tmp_path)["retrained population"]()


def test_the_models_that_others_are_compared_with_need_no_shadow_models_that_unlearned(rng, tmp_path):
    kept(rng, tmp_path, "half", "")
    kept(rng, tmp_path, "reseeded", "original", 4)
    run = RunId("cifar100", "mini", "vit-tiny", "original", None, 42)
    record = replace(finished(), run=run, config={"learning_rate": 0.1})
    found = RunPopulations(record, run.at(5), {}, tmp_path / "results").sources
    shadows, unlearned = found["shadow models"](), found["unlearned shadow models"]()
    assert all((unlearned[f"unlearned_{name}"] == value).all() for name, value in shadows.items())
    assert len(found["unlearned population"]()["population_forget_margins"]) == 4
    retrained = replace(record, run=replace(run, method="retrain", del_ratio=5))
    found = sources(retrained, tmp_path)
    assert {*found["unlearned shadow models"]()} == {*unlearned}
    with pytest.raises(ValueError, match="--kind reseeded --method retrain"):
        found["unlearned population"]()


def test_a_result_says_which_populations_its_scores_are_from(rng, tmp_path):
    """More models may be added to a population, and its file then has another hash."""
    kept(rng, tmp_path, "half", "", 3)
    (file,) = (tmp_path / "shadow").iterdir()
    hashes = []
    for models in (3, 5):
        kept(rng, tmp_path, "half", "", models)
        populations = RunPopulations(finished(), finished().run, {}, tmp_path / "results")
        assert populations.noted({"device": "cpu"}) == {"device": "cpu"}
        populations.sources["shadow models"]()
        hashes.append(hashlib.sha256(file.read_bytes()).hexdigest()[:12])
    said = [f"{file.stem}, {models} models, SHA-256 {sha}" for models, sha in zip((3, 5), hashes, strict=True)]
    assert populations.noted({"device": "cpu"}) == {"device": "cpu", "shadow models": said[1]}
    assert populations.noted({"shadow models": said[1]}) == {"shadow models": said[1]}
    assert populations.noted({"shadow models": said[0]}) == {"shadow models": f"{said[0]}; later {said[1]}"}
