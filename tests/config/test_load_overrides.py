"""`--set`: keys, list entries by number and by name, values as YAML, and refusals that never show the value."""

import pytest

from evalkit.errors import ConfigError


def test_keys_lists_and_values(load, smallest):
    config = load(
        smallest + "suites: [mmlu, {name: aime24}]\n",
        "sampling.temperature=0.6",
        "suites.0.repeats=2",
        "suites.aime24.limit=5",
        "sampling.stop=['a=b', c]",
        "sampling.extra_body.ratio=1e-3",
        "limits.total_seconds=",
        "build=a=b",
        "judge={base_url: http://j/v1, model: x}",
        "judge.repeats=3",
    )
    assert config.sampling.temperature == 0.6
    assert [(s.name, s.repeats, s.limit) for s in config.suites] == [("mmlu", 2, None), ("aime24", None, 5)]
    assert config.sampling.stop == ("a=b", "c")
    assert config.sampling.extra_body == {"ratio": 0.001}
    assert (config.build, config.judge.repeats) == ("a=b", 3)


def test_a_later_override_wins(load, smallest):
    assert load(smallest, "limits.retries=1", "limits.retries=2").limits.retries == 2


def test_an_override_can_take_a_key_away(load, smallest):
    config = load(smallest, "base_url=", "base_urls=[http://a/v1, http://b/v1]")
    assert config.urls == ("http://a/v1", "http://b/v1")


def test_an_override_may_supply_what_the_file_lacks(load):
    assert load("name: x\n", "model=m", "base_url=http://a/v1").model == "m"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "sampling.temprature=1",
            "--set sampling.temprature: unknown key 'temprature' in sampling: did you mean 'temperature'?",
        ),
        ("limits.retries=many", "--set limits.retries: limits.retries: must be an integer, not 'many'"),
        ("limits.retries=", "--set limits.retries: limits.retries: must be an integer, not empty"),
        ("temperature", "--set temperature: write it as key=value, for example --set sampling.temperature=0.6"),
        ("a..b=1", "--set a..b: write it as key=value, for example --set sampling.temperature=0.6"),
        ("=1", "--set : write it as key=value, for example --set sampling.temperature=0.6"),
        ("name.x=1", "--set name.x: 'x' cannot be set: ref.yaml:1 holds a single value there, not a mapping"),
        ("suites.mmul.limit=1", "--set suites.mmul.limit: the list has no entry 'mmul': did you mean 'mmlu'?"),
        ("suites.7.limit=1", "--set suites.7.limit: the list has no entry '7': there are 1, counted from 0"),
        ("build=a: b: c", "--set build: not YAML: mapping values are not allowed here"),
        ("extends=x.yaml", "--set extends: only a file can extend another"),
        (
            "build=${NOPE}",
            "--set build: build: the environment variable NOPE is not set: export it, or give a default with ${NOPE:-...}",
        ),
    ],
)
def test_mistakes(problem, smallest, override, message, monkeypatch):
    monkeypatch.delenv("NOPE", raising=False)
    assert problem(smallest + "suites: [mmlu]\n", override) == message


def test_a_refused_override_does_not_show_a_secret(problem, smallest):
    for override in ("headers.Authorization=[abcdefgh]", "api_key=abcdefgh", "api_key_env=sk-abcdefgh"):
        assert "abcdefgh" not in problem(smallest, override)


def test_a_path_in_an_override_counts_from_where_the_command_is_run(folder, smallest):
    from evalkit.config import load_config
    from evalkit.config.schema import json_schema

    (folder / "sub").mkdir()
    (folder / "sub" / "ref.yaml").write_text(smallest + "runs: out\n")
    assert str(load_config("sub/ref.yaml").runs) == "sub/out"
    assert str(load_config("sub/ref.yaml", ["runs=out"]).runs) == "out"
    (folder / "sub" / "ref.yaml").write_text(smallest)
    assert str(load_config("sub/ref.yaml").runs) == "runs", "not given: where evalkit is called"
    told = json_schema()["properties"]["runs"]["description"]
    assert "counts from this file" in told
    assert "in the folder in which evalkit is called" in told


def test_a_huge_override_is_refused(load, smallest):
    with pytest.raises(ConfigError, match="longer than"):
        load(smallest, "build=" + "x" * 200_000)
