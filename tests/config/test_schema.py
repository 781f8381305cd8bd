"""The endpoint model: addresses, keys, headers, suites, frozen sections, and the JSON Schema."""

import json
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from evalkit.config import EndpointConfig, JudgeConfig, Limits, base, json_schema
from evalkit.config.base import Section
from evalkit.config.load import PAIR
from evalkit.config.suite import LmEvalSection
from evalkit.errors import ConfigError
from evalkit.resources import data_folder

FILES = {name: (data_folder("start") / name).read_text() for name in PAIR}

BASE = {"name": "ref", "base_url": "http://127.0.0.1:8000/v1", "model": "m"}


def endpoint(**changes):
    return EndpointConfig.model_validate({**BASE, **changes})


def sections(model=Section):
    """Every section model of configurations, the abstract ones included."""
    for child in model.__subclasses__():
        if child.__module__.startswith("evalkit.config."):
            yield child
        yield from sections(child)


def test_the_defaults_are_those_that_the_documentation_promises():
    config = endpoint()
    assert config.limits == Limits(
        concurrency=32,
        connect_seconds=10,
        stall_seconds=None,
        total_seconds=None,
        retries=8,
        max_body_mb=64,
        permanent_failures_to_stop=20,
    )
    assert (config.client, config.stream, config.logprobs, config.tls.verify) == ("aiohttp", False, False, True)
    assert config.thinking.closing_tags == ("</think>", "</thinking>", "</thought>")
    assert (config.sampling.temperature, config.sampling.top_p, config.sampling.seed) == (0, 1, 0)
    assert (config.runs, config.allow_code_execution, config.judge, config.launch) == (Path("runs"), False, None, None)


def test_every_field_of_every_section_says_what_it_is_for():
    assert [
        f"{model.__name__}.{key}" for model in sections() for key in model.model_fields if not model.purpose_of(key)
    ] == []


def test_nothing_is_said_of_a_key_that_is_not_there():
    said = yaml.safe_load((Path(base.__file__).parent / "keys.yaml").read_text(encoding="utf-8"))
    known = {
        kind.__name__: kind.model_fields for model in sections() for kind in model.__mro__ if issubclass(kind, Section)
    }
    assert [f"{name}.{key}" for name, keys in said.items() for key in keys if key not in known.get(name, {})] == []


def test_every_section_is_frozen_and_refuses_unknown_keys():
    config = endpoint()
    with pytest.raises(ValidationError, match="frozen"):
        config.model = "other"
    with pytest.raises(ValidationError, match="frozen"):
        config.limits.retries = 0
    for model in sections():
        lm_evals = issubclass(model, LmEvalSection)  # whose other keys are not evalkit's to check
        assert model.model_config["extra"] == ("ignore" if lm_evals else "forbid"), model
        assert model.model_config["frozen"], model


@pytest.mark.parametrize("name", ["a", "ref-1.2_b", "7b", "A" * 100])
def test_names_that_can_be_folders_are_taken(name):
    assert endpoint(name=name).name == name


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "-x", "a/b", "a b", "ä", "a\n", "A" * 101, "a\\b"])
def test_names_that_cannot_be_folders_are_refused(name):
    with pytest.raises(ValidationError):
        endpoint(name=name)


def test_a_number_as_name_is_taken_as_it_was_written():
    assert endpoint(name=2024).name == "2024"


# ---------------------------------------------------------------- addresses


def test_an_address_loses_its_last_slash():
    assert endpoint(base_url="http://host:1/v1/").urls == ("http://host:1/v1",)


@pytest.mark.parametrize(
    "url",
    [
        "host:8000/v1",
        "ftp://host/v1",
        "http://",
        "http:///v1",
        "http://host:99999/v1",
        "http://host:0/v1",
        "http://ho st/v1",
        "http://host/v1#x",
        "http://host/v1/chat/completions",
        "http://host/v1/models/",
        "http://[::1/v1",
        "",
    ],
)
def test_what_is_no_address_is_refused(url):
    with pytest.raises(ValidationError):
        endpoint(base_url=url)


def test_replicas_take_the_place_of_one_address():
    replicas = {"base_url": None, "base_urls": ["http://a/v1", "http://b/v1"]}
    assert endpoint(**replicas).urls == ("http://a/v1", "http://b/v1")


@pytest.mark.parametrize(
    "changes",
    [
        {"base_url": None},
        {"base_urls": ["http://a/v1"]},
        {"base_url": None, "base_urls": []},
        {"base_url": None, "base_urls": ["http://a/v1", "http://a/v1/"]},
    ],
)
def test_there_is_exactly_one_way_to_the_endpoint(changes):
    with pytest.raises(ValidationError):
        endpoint(**changes)


def test_a_launch_that_chooses_its_address_takes_none():
    assert endpoint(base_url=None, launch={"kind": "llama_cpp"}).urls == ()
    with pytest.raises(ValidationError, match="no effect"):
        endpoint(launch={"kind": "llama_cpp"})


def test_a_launched_command_says_where_it_will_listen():
    assert endpoint(launch={"kind": "command", "argv": ["serve"]}).urls == (BASE["base_url"],)
    assert endpoint(base_url=None, launch={"kind": "command", "argv": ["serve", "{port}"]}).urls == ()
    with pytest.raises(ValidationError, match="needs base_url"):
        endpoint(base_url=None, launch={"kind": "command", "argv": ["serve"]})


# ---------------------------------------------------------------- secrets


def test_the_key_is_read_from_the_environment_when_it_is_needed(monkeypatch):
    config = endpoint(api_key_env="SOME_KEY")
    monkeypatch.setenv("SOME_KEY", " sk-abcdefgh \n")
    assert config.api_key() == "sk-abcdefgh"
    assert "sk-abcdefgh" not in repr(config) + str(config) + config.model_dump_json()
    assert endpoint().api_key() is None


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_key_names_its_variable(monkeypatch, value):
    monkeypatch.delenv("SOME_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("SOME_KEY", value)
    with pytest.raises(ConfigError, match=r"SOME_KEY.*is not set.*export SOME_KEY"):
        endpoint(api_key_env="SOME_KEY").api_key()


def test_header_values_are_for_the_request_only():
    config = endpoint(headers={"Authorization": "Bearer abcdefgh", "X-Number": 7})
    assert config.request_headers() == {"Authorization": "Bearer abcdefgh", "X-Number": "7"}
    for shown in (repr(config), str(config), str(config.model_dump()), config.model_dump_json()):
        assert "abcdefgh" not in shown


@pytest.mark.parametrize("headers", [{"a b": "x"}, {"a": "x\r\nEvil: 1"}, {"": "x"}, {"a:": "x"}])
def test_headers_that_would_break_the_request_are_refused(headers):
    with pytest.raises(ValidationError) as caught:
        endpoint(headers=headers)
    assert "Evil" not in str(caught.value)


def test_credentials_in_an_address_are_used_but_not_shown():
    config = endpoint(base_url="https://bob:hunter22@host/v1?api-version=3&code=hush")
    assert config.urls == ("https://bob:hunter22@host/v1?api-version=3&code=hush",)
    for shown in (repr(config), str(config.model_dump()), config.model_dump_json()):
        assert "hunter22" not in shown
        assert "hush" not in shown
        assert "api-version=3" in shown


# ---------------------------------------------------------------- suites, judge, the rest


def test_a_suite_may_be_a_bare_name():
    config = endpoint(suites=["mmlu", {"name": "aime24", "repeats": 4, "margin_pt": 3, "limit": 2, "label": "AIME"}])
    assert [suite.name for suite in config.suites] == ["mmlu", "aime24"]
    assert config.suites[0].repeats is None
    aime = config.suites[1]
    assert (aime.repeats, aime.margin_pt, aime.limit, aime.label) == (4, 3.0, 2, "AIME")


def test_a_suite_twice_is_refused():
    with pytest.raises(ValidationError, match="twice"):
        endpoint(suites=["mmlu", {"name": "mmlu", "repeats": 2}])


def test_parameters_are_those_of_the_suite():
    config = endpoint(
        sampling={"profile": "qwen3_thinking"}, suites=["aime24", {"name": "mmlu", "sampling": {"profile": "greedy"}}]
    )
    assert config.sampling.parameters()["max_tokens"] == 32_768
    assert config.sampling_for("aime24").parameters()["max_tokens"] == 38_912
    assert config.sampling_for("mmlu").parameters()["temperature"] == 0.0
    assert config.sampling_for("named-by-a-pack").parameters() == config.sampling.parameters()


def test_a_key_with_nothing_under_it_keeps_the_default():
    empty = dict.fromkeys(["limits", "tls", "sampling", "thinking", "suites", "suite_folders", "headers"])
    assert endpoint(**empty) == endpoint()


def test_a_parameter_with_nothing_under_it_is_refused_rather_than_guessed():
    with pytest.raises(ValidationError):
        endpoint(sampling={"temperature": None})


def test_data_is_a_folder_or_a_mapping_of_folders():
    assert endpoint(data="here").data == Path("here")
    assert endpoint(data={"mmlu": "there"}).data == {"mmlu": Path("there")}


def test_a_certificate_file_without_a_check_is_a_contradiction():
    with pytest.raises(ValidationError, match="no effect"):
        endpoint(tls={"verify": False, "ca_file": "ca.pem"})


def test_the_judge_is_an_endpoint_of_its_own():
    judge = endpoint(judge={"base_url": "https://judge/v1", "model": "j", "repeats": 5}).judge
    assert isinstance(judge, JudgeConfig)
    assert (judge.urls, judge.repeats, judge.sampling.temperature, judge.client) == (
        ("https://judge/v1",),
        5,
        0,
        "aiohttp",
    )


# ---------------------------------------------------------------- JSON Schema


def test_the_json_schema_describes_every_key_and_refuses_others():
    schema = json_schema()
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert schema["title"]
    assert set(schema["properties"]) == {*EndpointConfig.model_fields, "extends"}
    assert schema["additionalProperties"] is False
    assert all("description" in entry for entry in schema["properties"].values())
    assert json.loads(json.dumps(schema, allow_nan=False)) == schema


def test_the_json_schema_asks_nothing_of_a_file_that_extends_another():
    schema = json_schema()
    assert "required" not in schema
    assert schema["if"] == {"not": {"required": ["extends"]}}
    assert schema["then"]["if"] == {"not": {"required": ["flagscale"]}}
    assert set(schema["then"]["then"]["required"]) == {"name", "model"}
    assert schema["then"]["else"]["required"] == ["name"]


def test_the_json_schema_knows_the_short_forms():
    schema = json_schema()
    assert {"type": "string"} in schema["properties"]["suites"]["items"]["anyOf"]
    kinds = schema["properties"]["launch"]["anyOf"][0]["discriminator"]["mapping"]
    assert set(kinds) == {"llama_cpp", "ocr", "command", "flagscale"}
    switch = schema["$defs"]["LlamaCppLaunch"]["properties"]["flash_attention"]["anyOf"]
    assert {"type": "boolean"} in switch


def schema_refusals(document):
    import jsonschema

    return [error.message for error in jsonschema.Draft202012Validator(json_schema()).iter_errors(document)]


@pytest.mark.parametrize(
    "document",
    [
        {"extends": "common.yaml"},
        {**BASE, "suites": ["mmlu", {"name": "aime24", "sampling": {"top_k": None}}], "data": {"mmlu": "rows"}},
        {
            **BASE,
            "launch": {"kind": "command", "argv": ["serve", 8000], "env": {"GPU": 1}},
            "limits": {"total_seconds": None},
        },
        {"name": 7, "model": "m", "launch": {"kind": "llama_cpp", "flash_attention": False}},
    ],
)
def test_the_json_schema_takes_what_the_loader_takes(document):
    assert schema_refusals(document) == []
    if "extends" not in document:
        assert EndpointConfig.model_validate(document)


@pytest.mark.parametrize(
    "document",
    [{"name": "a"}, {**BASE, "oops": 1}, {**BASE, "limits": {"retries": -1}}, {**BASE, "launch": {"kind": "command"}}],
)
def test_the_json_schema_refuses_what_the_loader_refuses(document):
    assert schema_refusals(document)
    with pytest.raises(ValidationError):
        EndpointConfig.model_validate(document)


def test_the_json_schema_is_a_json_schema_and_takes_the_template():
    import jsonschema
    import yaml

    jsonschema.Draft202012Validator.check_schema(json_schema())
    for name, text in FILES.items():
        document = yaml.safe_load(text)
        assert schema_refusals(document if name != "common.yaml" else {"extends": "x", **document}) == []
