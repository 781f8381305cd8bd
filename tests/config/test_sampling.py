"""Sampling: which fields are sent, what profiles fill in, and which layer wins for a suite."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from evalkit.config.sampling import PROFILES, Sampling, SamplingOverrides


def test_the_parameters_of_openai_are_always_sent_and_extensions_only_when_set():
    assert Sampling().parameters() == {
        "temperature": 0.0,
        "top_p": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
    }
    full = Sampling(
        max_tokens=64,
        top_k=20,
        min_p=0.0,
        repetition_penalty=1.0,
        stop=("\n\n",),
        chat_template_kwargs={"enable_thinking": False},
        extra_body={"ignore_eos": True},
    )
    assert full.parameters() == {
        "temperature": 0.0,
        "top_p": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "max_tokens": 64,
        "top_k": 20,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "stop": ["\n\n"],
        "chat_template_kwargs": {"enable_thinking": False},
        "ignore_eos": True,
    }


def test_seed_is_not_among_the_parameters_because_every_request_has_its_own():
    assert "seed" not in Sampling(seed=5).parameters()


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ("qwen3_thinking", (0.6, 0.95, 20, 0.0, 0.0, 32_768, True)),
        ("qwen3_nothink", (0.7, 0.8, 20, 0.0, 1.5, 32_768, False)),
        ("greedy", (0.0, 1.0, None, None, 0.0, None, None)),
    ],
)
def test_profiles_hold_the_values_of_the_model_card(profile, expected):
    sampling = Sampling.model_validate({"profile": profile})
    assert (
        sampling.temperature,
        sampling.top_p,
        sampling.top_k,
        sampling.min_p,
        sampling.presence_penalty,
        sampling.max_tokens,
        sampling.chat_template_kwargs.get("enable_thinking"),
    ) == expected


def test_what_is_written_wins_over_the_profile():
    sampling = Sampling.model_validate({"profile": "qwen3_thinking", "temperature": 0.7, "top_k": None})
    assert (sampling.temperature, sampling.top_k, sampling.top_p) == (0.7, None, 0.95)


def test_aime_gets_its_longer_limit_from_the_thinking_profile_only():
    def tokens(profile, suite, **said):
        return Sampling.model_validate({"profile": profile, **said}).for_suite(suite).max_tokens

    assert tokens("qwen3_thinking", "aime24") == 38_912
    assert tokens("qwen3_thinking", "mmlu") == 32_768
    assert tokens("qwen3_nothink", "aime24") == 32_768
    assert tokens("qwen3_thinking", "aime24", max_tokens=1000) == 1000
    assert tokens("qwen3_thinking", "aime24", max_tokens=32_768) == 32_768  # written, though it equals the profile's


def test_a_suites_values_win_and_the_rest_stays():
    base = Sampling.model_validate({"profile": "qwen3_thinking", "seed": 7})
    changed = base.for_suite("mmlu", SamplingOverrides(temperature=0.1, top_k=None, max_tokens=None))
    assert (changed.temperature, changed.top_k, changed.max_tokens) == (0.1, None, None)
    assert (changed.seed, changed.top_p, changed.min_p) == (7, 0.95, 0.0)


def test_a_null_that_cannot_mean_not_sent_keeps_the_endpoints_value():
    overrides = SamplingOverrides(temperature=None, stop=None)
    changed = Sampling(temperature=0.3, stop=("x",)).for_suite("mmlu", overrides)
    assert (changed.temperature, changed.stop) == (0.3, ("x",))


def test_a_suites_profile_stands_in_for_the_endpoints_with_all_that_this_one_filled_in():
    base = Sampling.model_validate({"profile": "qwen3_thinking", "seed": 7, "top_p": 0.5})
    changed = base.for_suite("mmlu", SamplingOverrides(profile="greedy"))
    assert changed.parameters() == Sampling.model_validate({"profile": "greedy"}).parameters()
    assert changed.seed == 7


def test_without_overrides_a_suites_sampling_is_the_endpoints():
    for profile in PROFILES:
        base = Sampling.model_validate({"profile": profile, "frequency_penalty": 0.25})
        assert base.for_suite("mmlu") == base


@pytest.mark.parametrize("key", ["temperature", "max_tokens", "model", "messages", "seed", "n", "stream", "logprobs"])
def test_extra_body_must_not_contradict_a_key_of_evalkits_own(key):
    with pytest.raises(ValidationError, match="must not hold"):
        Sampling(extra_body={key: 1})


@pytest.mark.parametrize(
    "bad",
    [
        {"temperature": -0.1},
        {"temperature": 2.1},
        {"temperature": True},
        {"temperature": float("nan")},
        {"top_p": 0},
        {"top_p": 1.01},
        {"top_k": -2},
        {"min_p": 1.5},
        {"presence_penalty": 2.5},
        {"repetition_penalty": 0},
        {"max_tokens": 0},
        {"max_tokens": 1.5},
        {"seed": -1},
        {"seed": 2**31},
        {"stop": [""]},
        {"profile": "qwen4"},
        {"chat_template_kwargs": {"x": float("inf")}},
    ],
)
def test_values_out_of_range_are_refused(bad):
    with pytest.raises(ValidationError):
        Sampling.model_validate(bad)


_SAID = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0.01, 1),
        "top_k": st.none() | st.integers(-1, 100),
        "min_p": st.none() | st.floats(0, 1),
        "presence_penalty": st.floats(-2, 2),
        "max_tokens": st.none() | st.integers(1, 10**6),
        "seed": st.integers(0, 2**31 - 1),
    },
)


@given(base=_SAID, suite=_SAID, profile=st.none() | st.sampled_from(sorted(PROFILES)))
def test_every_parameter_comes_from_the_last_layer_that_says_it(base, suite, profile):
    written = base | ({"profile": profile} if profile else {})
    result = Sampling.model_validate(written).for_suite("mmlu", SamplingOverrides.model_validate(suite))
    layers = [suite, base, PROFILES[profile] if profile else {}]
    for key in set(itertools.chain(*layers)):
        if key in Sampling.model_fields:
            assert getattr(result, key) == next(layer[key] for layer in layers if key in layer)
