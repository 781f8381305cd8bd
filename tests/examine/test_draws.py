"""Drawn tokens against what log-probabilities imply: what is drawn as asked is never held against a server."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.examine.draws import LIMIT, Place, Rule, held_against, places_of, under, unseeded

ASKED = {
    "plain": Rule(),
    "temperature": Rule(temperature=0.3),
    "top_p": Rule(top_p=0.4),
    "top_k": Rule(top_k=3),
    "min_p": Rule(min_p=0.3),
    "frequency": Rule(frequency_penalty=2.0),
    "presence": Rule(presence_penalty=2.0),
}


def vocabulary(rng, loop=None):
    logits = {f"t{number}": rng.gauss(0, 2.5) for number in range(150)}
    if loop is not None:
        logits[loop] = max(logits.values()) + 1.5
    whole = math.log(sum(map(math.exp, logits.values())))
    return {token: logit - whole for token, logit in logits.items()}


def drawn(used, seed, texts=8, tokens=12):
    """Places of so many texts that a server drew by the rule `used`, with the 20 likeliest tokens of each."""
    rng, places = random.Random(seed), []
    for _ in range(texts):
        before = []
        for _ in range(tokens):
            nats = vocabulary(rng, before[-1] if before and rng.random() < 0.8 else None)
            chances = used.chances(Place("", nats, tuple(before)))
            token = rng.choices(list(chances), list(chances.values()))[0]
            top = dict(sorted(nats.items(), key=lambda one: -one[1])[:20])
            places.append(Place(token, top, tuple(before)))
            before.append(token)
    return places


@pytest.mark.parametrize("name", ASKED)
def test_what_is_drawn_as_asked_is_not_held_against_a_server(name):
    worst = max(held_against(ASKED[name], drawn(ASKED[name], seed)).e_value for seed in range(12))
    assert worst < LIMIT / 10


@pytest.mark.parametrize("name", [name for name in ASKED if name != "plain"])
def test_a_parameter_that_is_ignored_is_found(name):
    seen = [held_against(ASKED[name], drawn(Rule(), seed)) for seed in range(8)]
    assert sum(one.broken for one in seen) >= 7, [one.e_value for one in seen]


@pytest.mark.parametrize(
    ("used", "said"), [(Rule(temperature=0.3), "temperature 0.3"), (Rule(temperature=0.01), "top_k 1")]
)
def test_what_is_used_in_its_place_is_named(used, said):
    found = held_against(Rule(), drawn(used, 1))
    assert found.broken
    assert found.favours in {said, "temperature 0"}


@given(
    st.lists(st.floats(-20, 0), min_size=2, max_size=20),
    st.floats(0.1, 1.0),
    st.floats(0.05, 1.0),
    st.integers(0, 5),
    st.floats(0, 0.5),
)
@settings(max_examples=200, deadline=None)
def test_chances_sum_to_one_and_cuts_keep_the_likeliest(logits, temperature, top_p, top_k, min_p):
    whole = math.log(sum(map(math.exp, logits))) + 0.1  # a tenth is left for tokens that are not listed
    place = Place("", {f"t{number}": value - whole for number, value in enumerate(logits)})
    chances = Rule(temperature=temperature, top_p=top_p, top_k=top_k, min_p=min_p).chances(place)
    assert sum(chances.values()) == pytest.approx(1)
    assert max(place.nats, key=lambda token: place.nats[token]) in chances
    kept = [place.nats[token] for token in chances if token]
    left = [value for token, value in place.nats.items() if token not in chances]
    assert not left or min(kept) >= max(left) - 1e-9


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["choices", "logprobs", "content", "token", "logprob", "top_logprobs"]), inner
            )
        ),
    )
)
@settings(max_examples=200, deadline=None)
def test_any_document_is_read(document):
    for place in places_of("", document):
        assert all(value <= 1e-6 for value in place.nats.values())


def reply(*entries):
    content = [
        {"token": token, "logprob": nats[token], "top_logprobs": [{"token": t, "logprob": v} for t, v in nats.items()]}
        for token, nats in entries
    ]
    return {"choices": [{"logprobs": {"content": content}}]}


def test_only_the_first_token_counts_where_a_server_reports_what_the_parameters_left():
    raw, cut = {"a": math.log(0.6), "b": math.log(0.4)}, {"a": 0.0}
    first = {place.prompt: place for place in places_of("p", reply(("a", raw), ("b", raw))) if not place.before}
    assert [place.before for place in under(first, "p", reply(("a", raw), ("b", raw)))] == [(), ("a",)]
    (place,) = under(first, "p", reply(("b", cut | {"b": -30.0}), ("a", cut)))
    assert (place.drawn, place.nats) == ("b", raw)
    assert under(first, "another prompt", reply(("a", raw))) == []


def test_a_seed_that_is_ignored_is_told_from_kernels_that_part_texts():
    rng = random.Random(3)

    def places(tokens):
        nats = {"a": math.log(0.3), "b": math.log(0.3), "c": math.log(0.4)}
        return [Place(token, nats) for token in tokens]

    texts = [rng.choices("abc", k=12) for _ in range(8)]
    anew = [rng.choices("abc", k=12) for _ in range(8)]
    parted = [[*text[:9], *"abc"] for text in texts]

    def against(others):
        pairs = zip(texts, others, strict=True)
        return math.prod(0.5 + 0.5 * math.exp(unseeded(places(one), places(two))) for one, two in pairs)

    assert against(anew) >= LIMIT
    assert against(texts) < 1 and against(parted) < 1


@pytest.mark.parametrize("name", ["frequency", "presence"])
def test_penalties_that_count_the_prompt_are_told_from_those_that_do_not(name):
    asked = ASKED[name]
    too = replace(asked, of_prompt=True)

    def drawn_by(rule, seed):
        rng, found = random.Random(seed), []
        for _ in range(16):
            nats = vocabulary(rng, "t7")
            chances = rule.chances(Place("", nats, (), ("t7",) * 6))
            token = rng.choices(list(chances), list(chances.values()))[0]
            found.append(Place(token, dict(sorted(nats.items(), key=lambda one: -one[1])[:20]), (), ("t7",) * 6))
        return found

    for used, other in ((asked, too), (too, asked)):
        places = [place for seed in range(12) for place in drawn_by(used, seed)]
        assert held_against(other, places, {"": used}).broken
        assert not held_against(used, places, {"": other}).broken


def test_parts_of_a_character_that_look_alike_count_together():
    entry = {"token": "\ufffd", "logprob": -1.0, "top_logprobs": [{"token": "\ufffd", "logprob": math.log(0.25)}] * 2}
    (place,) = places_of("", {"choices": [{"logprobs": {"content": [entry]}}]})
    assert place.nats["\ufffd"] == pytest.approx(math.log(0.5))
