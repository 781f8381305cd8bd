"""The public dump holds no secret, and differences name the keys that differ."""

import json

import pytest

from evalkit.codec import stored_differences
from evalkit.config import EndpointConfig, load_config, public_dump
from evalkit.config.schema import differences
from evalkit.model import Difference

BASE = {"name": "ref", "base_url": "http://127.0.0.1:8000/v1", "model": "m"}


def endpoint(**changes):
    return EndpointConfig.model_validate({**BASE, **changes})


def between(left, right):
    return [(d.key, d.reference, d.candidate) for d in differences(endpoint(**left), endpoint(**right))]


def test_equal_configurations_do_not_differ():
    assert differences(endpoint(), endpoint()) == ()
    assert differences(endpoint(suites=["a", "b"]), endpoint(suites=["b", "a"])) == ()


def test_leaves_that_differ_are_named_with_both_values():
    assert between(
        {"sampling": {"temperature": 0.6, "stop": ["a"]}, "limits": {"retries": 1}},
        {"sampling": {"temperature": 0.7}, "limits": {"retries": 1}, "build": "x", "name": "cand"},
    ) == [
        ("build", "(not set)", "x"),
        ("name", "ref", "cand"),
        ("sampling.stop", '["a"]', "(not set)"),
        ("sampling.temperature", "0.6", "0.7"),
    ]
    assert isinstance(differences(endpoint(), endpoint(build="x"))[0], Difference)


def test_suites_are_matched_by_name():
    left = {"suites": ["mmlu", {"name": "aime24", "repeats": 2}]}
    right = {"suites": [{"name": "aime24", "repeats": 3}]}
    assert between(left, right) == [("suites.aime24.repeats", "2", "3"), ("suites.mmlu", "(runs)", "(not set)")]


def test_launches_of_different_kinds_differ_key_by_key():
    address = {"base_url": None}
    left = address | {"launch": {"kind": "llama_cpp"}}
    right = address | {"launch": {"kind": "llama_cpp", "rope_freq_base": 10_000}}
    assert between(left, right) == [("launch.rope_freq_base", "(not set)", "10000.0")]


def test_secrets_differ_without_being_shown():
    left, right = {"headers": {"A": "hunter22"}}, {"headers": {"A": "hunter33"}}
    assert between(left, right) == [("headers.A", "***", "*** (another)")]
    urls = between({"base_url": "http://bob:hunter22@h/v1"}, {"base_url": "http://bob:hunter33@h/v1"})
    assert urls == [("base_url", "http://***@h/v1", "http://***@h/v1 (another)")]


def test_long_values_are_cut_around_the_first_difference():
    left = {"base_url": None, "launch": {"kind": "llama_cpp", "chat_template": "a\n" * 500 + "LEFT" + "z" * 500}}
    right = {"base_url": None, "launch": {"kind": "llama_cpp", "chat_template": "a\n" * 500 + "RIGHT" + "z" * 500}}
    [(_, one, other)] = between(left, right)
    assert "LEFT" in one
    assert "RIGHT" in other
    assert max(len(one), len(other)) < 140
    assert "\n" not in one + other


def test_a_value_that_is_the_beginning_of_the_other_is_seen_to_be_shorter():
    [(_, one, other)] = between({"build": "x" * 300}, {"build": "x" * 301})
    assert one != other


@pytest.fixture
def everything_secret(folder, monkeypatch):
    """A configuration with a secret in every place that can hold one."""
    monkeypatch.setenv("MY_KEY", "sk-hunter22")
    monkeypatch.setenv("HF_TOKEN", "hf-hunter22")
    (folder / "ref.yaml").write_text(
        "name: ref\nbase_url: https://bob:hunter22@h/v1?code=hunter22\nmodel: m\napi_key_env: MY_KEY\n"
        "headers: {Authorization: 'Bearer hunter22-header', X: hunter22}\n"
        "build: image of ${HF_TOKEN} with sk-hunter22 and hunter22-header\n"
        "sampling: {extra_body: {password: hunter22}}\n"
        "judge: {base_url: 'http://hunter22@j/v1', model: j, headers: {A: hunter22}}\n"
        "launch:\n  kind: command\n  env: {A_TOKEN: hunter22, B: 'x ${HF_TOKEN}'}\n"
        "  argv: [serve, --api-key, hunter22, --hf-token=hunter22, 'sh -c \"K_TOKEN=hunter22 x\"', 'http://u:hunter22@h']\n"
    )
    return load_config("ref.yaml")


def test_the_public_dump_holds_no_secret(everything_secret):
    dump = json.dumps(public_dump(everything_secret))
    assert "hunter22" not in dump
    assert "MY_KEY" in dump  # the variable's name is no secret, and needed to run again
    assert "hunter22" not in repr(everything_secret) + str(everything_secret)


def test_differences_hold_no_secret(everything_secret):
    found = differences(everything_secret, endpoint())
    assert len(found) > 10
    assert "hunter22" not in str(found)


def test_the_public_dump_keeps_everything_else():
    config = endpoint(suites=["mmlu"], data={"mmlu": "rows"}, sampling={"profile": "qwen3_thinking"})
    dump = public_dump(config)
    assert set(dump) == set(EndpointConfig.model_fields)
    assert json.loads(json.dumps(dump)) == dump
    assert (dump["base_url"], dump["data"], dump["runs"]) == (BASE["base_url"], {"mmlu": "rows"}, "runs")
    assert dump["sampling"]["temperature"] == 0.6
    assert dump["suites"][0]["name"] == "mmlu"


def test_stored_dumps_differ_where_the_configurations_did():
    left, right = endpoint(limits={"retries": 1}), endpoint(limits={"retries": 2}, suites=["mmlu"])
    stored = [json.loads(json.dumps(public_dump(config))) for config in (left, right)]
    assert stored_differences(*stored) == differences(left, right)


def test_what_a_server_is_handed_out_of_the_environment_is_stored_nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("OWN", "q7w8e9r0t1y2")
    path = tmp_path / "a.yaml"
    path.write_text(
        "name: a\nmodel: m\nlaunch: {kind: command, argv: [serve, '{port}'], env: {OWN: '${OWN}', MODE: plain}}\n"
        "suites: [aime24]\n"
    )
    config = load_config(path)
    assert public_dump(config)["launch"]["env"] == {"OWN": "***", "MODE": "plain"}
    assert config.launch.env["OWN"] == "q7w8e9r0t1y2"
    assert "q7w8e9r0t1y2" in config.handed_secrets()
