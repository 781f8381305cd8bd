"""Warnings: contradictions that are run as written but said aloud, with both places."""

from evalkit.config import warnings_for


def test_repeats_at_temperature_zero_name_both_places(load, smallest):
    config = load(smallest + "sampling:\n  temperature: 0\nsuites:\n  - name: mmlu\n    repeats: 4\n")
    [sentence] = warnings_for(config)
    assert "ref.yaml:8 (suites.0.repeats) asks for 4 repeats" in sentence
    assert "ref.yaml:5 (sampling.temperature) gives temperature 0" in sentence
    assert config.suites[0].repeats == 4  # said, not changed


def test_repeats_of_a_pack_count_too_and_the_deciding_key_is_named(load, smallest):
    config = load(smallest + "sampling:\n  profile: greedy\n")
    assert warnings_for(config) == ()
    [sentence] = warnings_for(config, {"aime24": 16, "mmlu": 1})
    assert "suite aime24 asks for 16 repeats" in sentence
    assert "ref.yaml:5 (sampling.profile)" in sentence
    [sentence] = warnings_for(load(smallest), {"aime24": 16})
    assert "the default of sampling.temperature" in sentence


def test_a_suites_own_temperature_decides(load, smallest):
    warm = "suites:\n  - name: mmlu\n    repeats: 4\n    sampling: {temperature: 0.6}\n"
    assert warnings_for(load(smallest + warm)) == ()
    cold = "sampling: {temperature: 0.6}\n" + warm.replace("temperature: 0.6", "temperature: 0")
    [sentence] = warnings_for(load(smallest + cold))
    assert "(suites.0.sampling.temperature)" in sentence


def test_greedy_thinking_is_said_once(load, smallest):
    text = "sampling: {profile: qwen3_thinking, temperature: 0}\nsuites: [mmlu, aime24]\n"
    [sentence] = warnings_for(load(smallest + text))
    assert sentence.startswith("ref.yaml:4 (sampling.temperature) gives temperature 0 to a thinking model")
    assert warnings_for(load(smallest + "sampling: {profile: qwen3_thinking}\n")) == ()


def test_an_unchecked_certificate_is_said(load, smallest):
    [sentence] = warnings_for(load(smallest + "tls:\n  verify: false\n"))
    assert sentence.startswith("ref.yaml:5: the server's certificate is not checked")
