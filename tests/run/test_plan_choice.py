"""A side's suites: what a pack says of sampling holds wherever it counts, and a data folder is for a suite that there is."""

import json

import pytest

from evalkit.config import load_config, warnings_for
from evalkit.errors import ConfigError
from evalkit.run.execute import second_config
from evalkit.run.plan import PlannedSuite, chosen_suites, make_plan, samplings

PACK = """
about: a pack that says how answers are drawn
suites:
  - name: aime24
    repeats: 2
    sampling: {temperature: 0.6, max_tokens: 512, seed: 7}
"""


@pytest.fixture
def endpoint(tmp_path):
    """Makes a configuration with the pack; further keys as given."""
    data = tmp_path / "data" / "aime2024"
    data.mkdir(parents=True)
    rows = [{"id": f"2099-I-{n}", "problem": f"What is {n}+{n}?", "answer": f"{2 * n:03d}"} for n in range(30)]
    (data / "aime2024.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = tmp_path / "suites" / "packs"
    folder.mkdir(parents=True)
    (folder / "drawn.yaml").write_text(PACK)

    def make(**more):
        path = tmp_path / "ref.yaml"
        lines = {"name": "ref", "base_url": "http://localhost:1/v1", "model": "acme", "data": str(data.parent)}
        folders = {"suite_folders": [str(tmp_path / "suites")], "pack": "drawn"}
        path.write_text(json.dumps({**lines, **folders, **more}))
        return load_config(path)

    return make


PARTIAL = {"name": "aime24", "partial_data": True}


def planned(config) -> PlannedSuite:
    return make_plan(config).suites[0]


def test_a_packs_sampling_is_what_is_sent_and_decides_the_keys(endpoint):
    from_pack = planned(endpoint(suites=[PARTIAL]))
    assert (from_pack.parameters["temperature"], from_pack.parameters["max_tokens"]) == (0.6, 512)
    assert (from_pack.base_seed, from_pack.repeats) == (7, 2)
    said = {"temperature": 0.6, "max_tokens": 512, "seed": 7}
    by_hand = endpoint(pack=None, suites=[{**PARTIAL, "repeats": 2, "sampling": said}])
    plain = endpoint(pack=None, suites=[{**PARTIAL, "repeats": 2}])
    keys = [[key for key, *_ in make_plan(config).keyed()] for config in (endpoint(suites=[PARTIAL]), by_hand, plain)]
    assert keys[0] == keys[1]
    assert not set(keys[0]) & set(keys[2])
    digests = [make_plan(config).digest for config in (endpoint(suites=[PARTIAL]), by_hand, plain)]
    assert digests[0] == digests[1] != digests[2]


def test_a_file_changes_single_keys_of_a_packs_sampling(endpoint):
    changed = planned(endpoint(suites=[{**PARTIAL, "sampling": {"temperature": 0.9}}]))
    assert (changed.parameters["temperature"], changed.parameters["max_tokens"], changed.base_seed) == (0.9, 512, 7)


def test_a_profile_in_the_file_stands_in_for_the_packs_sampling(endpoint):
    changed = planned(endpoint(suites=[{**PARTIAL, "sampling": {"profile": "greedy"}}]))
    assert changed.parameters["temperature"] == 0.0
    assert changed.parameters["max_tokens"] != 512


def test_a_suites_own_file_says_nothing_of_what_the_pack_says(endpoint):
    (chosen,) = chosen_suites(endpoint(suites=[PARTIAL]))
    assert chosen.choice.partial_data
    assert chosen.choice.sampling.temperature == 0.6


def test_a_second_run_draws_as_the_pack_says_with_other_seeds(endpoint):
    first = endpoint(suites=[PARTIAL])
    second = planned(second_config(first, ["aime24"], 1000))
    assert dict(second.parameters) == dict(planned(first).parameters)
    assert second.base_seed == 1007


def test_repeats_that_a_pack_draws_warm_are_no_cause_for_a_warning(endpoint):
    config = endpoint(suites=[PARTIAL])
    assert warnings_for(config, {"aime24": 2}, samplings(config)) == ()
    cold = endpoint(suites=[{**PARTIAL, "sampling": {"temperature": 0.0}}])
    [sentence] = warnings_for(cold, {"aime24": 2}, samplings(cold))
    assert "gives temperature 0" in sentence


def test_greedy_answers_are_asked_once_whatever_a_pack_says_but_the_file_may_ask_more(endpoint):
    greedy = {**PARTIAL, "sampling": {"temperature": 0}}
    assert planned(endpoint(suites=[PARTIAL])).repeats == 2
    assert planned(endpoint(suites=[greedy])).repeats == 1
    assert planned(endpoint(suites=[{**greedy, "repeats": 3}])).repeats == 3


def test_a_data_folder_of_no_suite_is_a_mistake_with_its_place(endpoint, tmp_path):
    folder = str(tmp_path / "data")
    with pytest.raises(
        ConfigError, match=r"ref\.yaml:1: data: no suite or data set is called 'aime_24': did you mean 'aime24'"
    ):
        make_plan(endpoint(suites=[PARTIAL], data={"aime_24": folder}))


@pytest.mark.parametrize("other", ["gpqa_diamond", "gpqa"])
def test_data_folders_may_be_of_suites_that_are_not_run(endpoint, tmp_path, other):
    folder = str(tmp_path / "data")
    assert planned(endpoint(suites=[PARTIAL], data={"aime24": folder, other: "/nowhere"})).loaded.items
