"""Repeats by item from a stored bank: what the plan asks, that asking on asks no more, and what is refused."""

import json
import shutil

import numpy as np
import pytest
from compare_factory import beta_chances, binary, suite
from stored_run import add_session, suite_record, write_reply, write_tables

from evalkit.config import load_config
from evalkit.errors import ConfigError
from evalkit.run import plan as planning
from evalkit.run.allot import allotted, bank_digest, bank_of
from evalkit.run.plan import make_plan
from evalkit.run.tables import Graded


def lengthy(scores, tokens, **facts):
    return suite(scores, row=lambda _item, _repeat, row: {**row, "completion_tokens": tokens}, **facts)


@pytest.fixture
def bank():
    rng = np.random.default_rng(1)
    return {
        name: lengthy(binary(rng, beta_chances(rng, 200), 16), t) for name, t in (("long", 900.0), ("short", 100.0))
    }


def test_varying_items_are_asked_more_and_the_mean_is_as_precise(bank):
    found = allotted({"long": bank["long"]}, {"long": 8})["long"]
    means = bank["long"].samples.value.reshape(200, 16).mean(axis=1)
    asked = np.array(list(found.values()))
    assert asked.min() >= 1
    assert asked.sum() < 0.85 * 8 * 200
    assert asked[(means > 0.3) & (means < 0.7)].mean() > 2 * asked[(means == 0) | (means == 1)].mean()


def test_long_answers_are_spared_for_short_ones(bank):
    found = allotted(bank, {"long": 4, "short": 4})
    long, short = (np.mean(list(found[name].values())) for name in bank)
    assert short > 1.5 * long
    assert 900 * long + 100 * short < 1000 * 4


def test_a_bank_without_repeats_or_lengths_says_less(bank):
    once = lengthy(np.ones((20, 1)), 10.0)
    assert list(allotted({"long": bank["long"], "once": once}, {"long": 4, "once": 4})) == ["long"]
    assert allotted({"once": once}, {"once": 4}) == {}
    dumb = suite(bank["long"].samples.value.reshape(200, 16))
    alike = allotted({"long": bank["long"], "dumb": dumb}, {"long": 4, "dumb": 4})
    means = [np.mean(list(found.values())) for found in alike.values()]
    assert means[0] == pytest.approx(means[1], rel=0.1)


def test_a_suite_that_draws_nothing_keeps_its_repeats(tmp_path, monkeypatch):
    """Temperature 0: a further repeat is the same answer again."""
    data = tmp_path / "data" / "aime2024"
    data.mkdir(parents=True)
    rows = [{"id": f"2099-I-{n}", "problem": f"What is {n}+{n}?", "answer": f"{2 * n:03d}"} for n in range(30)]
    (data / "aime2024.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rng = np.random.default_rng(2)

    def plan(temperature):
        path = tmp_path / "cand.yaml"
        keys = {"name": "cand", "base_url": "http://localhost:1/v1", "model": "acme", "data": str(data.parent)}
        keys |= {"sampling": {"temperature": temperature}, "suites": [{"name": "aime24", "repeats": 6}]}
        path.write_text(json.dumps(keys))
        return make_plan(load_config(path))

    uniform = plan(0.6)
    names = [{"name": item.id} for item in uniform.suites[0].loaded.items]
    bank = {"aime24": suite(binary(rng, beta_chances(rng, 30), 16), items=names)}
    monkeypatch.setattr(planning, "bank_of", lambda _config: bank)
    drawn, greedy = plan(0.6), plan(0)
    (by_item,) = drawn.suites
    assert len(list(drawn.samples())) == by_item.planned == sum(by_item.by_item.values()) < 6 * 30
    assert drawn.digest != uniform.digest
    assert drawn.notes == (f"AIME 2024: {by_item.planned} answers by the spread of the bank's, not 180",)
    # What was answered for equal repeats is not asked again.
    assert {key for key, *_, repeat in drawn.keyed() if repeat < 6} <= {key for key, *_sample in uniform.keyed()}
    assert (greedy.suites[0].by_item, greedy.suites[0].planned) == ({}, 180)


@pytest.mark.parametrize(
    ("bank", "told"),
    [("runs/nowhere", "is no run folder: ask the reference first"), ("runs/cand", "is this side's own run")],
)
def test_what_is_no_bank_is_refused_with_its_line(tmp_path, bank, told):
    path = tmp_path / "cand.yaml"
    path.write_text(
        f"name: cand\nbase_url: http://localhost:1/v1\nmodel: acme\nbank: {bank}\nsuites: [aime24]\nruns: runs\n"
    )
    with pytest.raises(ConfigError, match=rf"cand.yaml:4: bank: .*{told}"):
        bank_of(load_config(path))


@pytest.fixture
def stored_bank(tmp_path):
    """A bank of two repeats, and the configuration of a side that names it."""
    folder = tmp_path / "runs" / "bank"
    write_reply(folder / "journal.records", "x")
    write_tables(folder, [Graded("a", repeat, 1.0, "scored", suite="aime24", at=1.0 + repeat) for repeat in (0, 1)])
    add_session(folder, suites=[suite_record("aime24", items=1, repeats=2)], name="bank", nonce="7")
    path = tmp_path / "cand.yaml"
    path.write_text("name: cand\nbase_url: http://localhost:1/v1\nmodel: acme\nbank: runs/bank\nsuites: [aime24]\n")
    return folder, load_config(path, [f"runs={tmp_path / 'runs'}"])


def test_a_copy_of_a_sides_own_run_is_no_bank_of_it(stored_bank, tmp_path):
    folder, config = stored_bank
    assert set(bank_of(config)) == {"aime24"}
    shutil.copytree(folder, tmp_path / "runs" / "cand")
    with pytest.raises(ConfigError, match=r"cand.yaml:4: bank: .*is this side's own run, or a copy of it"):
        bank_of(config)


def test_a_bank_that_has_grown_allots_no_answers_anew_that_may_have_been_looked_at(stored_bank, tmp_path):
    folder, config = stored_bank
    served = {"model": "acme"}
    before = bank_digest(config, served)
    add_session(tmp_path / "runs" / "cand", name="cand", served=served, bank=before)
    assert bank_digest(config, served) == before
    write_reply(folder / "journal.records", "one more", key="2" * 32)
    with pytest.raises(ConfigError, match=r"cand.yaml:4: bank: .*has other answers than when it allotted"):
        bank_digest(config, served)
    assert bank_digest(config, {"model": "acme", "build": "new"}), "of another build nothing was looked at"
