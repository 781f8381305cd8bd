"""The search finds what is guilty, within the number of tests that it states, and claims nothing that it did not see."""

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.examine.bisect import Found, ahead, most_tests, search

NAMES = [f"op{number:03}" for number in range(400)]


def run(names, fails, **options):
    """What the search finds where `fails` tells of a set, and the sets that it asked about."""
    asked = []

    def told(on):
        asked.append(on)
        return fails(on)

    return search(names, told, **options), asked


def any_of(*guilty):
    return lambda on: bool(on & set(guilty))


def alone(found):
    return {name for culprit in found.culprits for name in culprit}


@pytest.mark.parametrize(("culprits", "bound"), [(1, 13), (2, 24), (3, 35)])
def test_the_bound_is_the_number_that_the_documentation_names(culprits, bound):
    assert most_tests(400, culprits) == bound


@settings(max_examples=100, deadline=None)
@given(st.sets(st.sampled_from(NAMES), min_size=1, max_size=6))
def test_culprits_among_400_are_found_within_the_bound(guilty):
    found, asked = run(NAMES, any_of(*guilty))
    assert alone(found) == guilty
    assert found.complete
    assert all(len(culprit) == 1 for culprit in found.culprits)
    assert len(asked) <= most_tests(400, len(guilty))
    assert len(asked) == len(set(asked))


@given(st.integers(1, 40), st.data())
def test_small_lists_too(count, data):
    names = NAMES[:count]
    guilty = data.draw(st.sets(st.sampled_from(names), min_size=1))
    found, asked = run(names, any_of(*guilty), most_culprits=40)
    assert (alone(found), found.complete) == (guilty, True)
    assert len(asked) <= most_tests(count, len(guilty))


@settings(deadline=None)
@given(st.sets(st.sampled_from(NAMES), min_size=2, max_size=4), st.sets(st.sampled_from(NAMES), max_size=2))
def test_operators_that_fail_only_together_are_named_together(together, single):
    single = single - together
    found, _asked = run(NAMES, lambda on: together <= on or bool(single & on))
    assert set(found.culprits) == {frozenset(together), *(frozenset({one}) for one in single)}
    assert found.complete


@given(st.integers(0, 2**32), st.integers(1, 8))
def test_whatever_the_candidate_does_only_what_was_seen_is_said(seed, count):
    """Failures by chance, with no order in them: each culprit failed as it is named, and the rest passed where said."""
    names = NAMES[:count]

    def fails(on):
        return bool(on) and zlib.crc32(repr((seed, sorted(on))).encode()) % 2 == 0

    found, asked = run(names, fails, most_culprits=3)
    assert all(fails(culprit) and culprit in asked for culprit in found.culprits)
    rest = frozenset(names) - alone(found)
    assert found.complete == (not fails(rest))


def rounds(names, fails, at_once):
    """How many rounds of so many sets at a time decide the search, and the largest round."""
    seen, sizes = {}, []
    while wanted := ahead(names, 16, seen, at_once):
        sizes.append(len(wanted))
        assert not set(wanted) & set(seen)
        seen |= {on: fails(on) for on in wanted}
    return len(sizes), max(sizes), seen


@settings(max_examples=30, deadline=None)
@given(st.sets(st.sampled_from(NAMES), min_size=1, max_size=3), st.sampled_from([1, 2, 3, 7]))
def test_looking_ahead_asks_what_the_search_asks_and_no_more_at_a_time(guilty, at_once):
    number, most, seen = rounds(NAMES, any_of(*guilty), at_once)
    _found, asked = run(NAMES, any_of(*guilty))
    assert set(asked) <= set(seen)
    assert most <= at_once
    assert number <= len(asked)


@pytest.mark.parametrize(("at_once", "most"), [(1, 13), (3, 7), (7, 5), (15, 4)])
def test_servers_at_the_same_time_divide_the_rounds(at_once, most):
    """One guilty operator of 400 takes 13 tests: two, three and four of them at once are decided together."""
    assert max(rounds(NAMES, any_of(name), at_once)[0] for name in NAMES[::37]) <= most


def test_the_set_that_the_search_needs_comes_first():
    assert ahead(NAMES, 16, {}, 3)[0] == frozenset()
    assert ahead(NAMES, 16, {frozenset(): False}, 1) == [frozenset(NAMES)]
    assert ahead(NAMES, 16, {frozenset(): True}, 3) == []


def test_a_candidate_that_fails_with_everything_off_has_no_guilty_operator():
    assert run(NAMES, lambda _on: True)[0] == Found(complete=False, fails_none=True)


def test_a_candidate_that_passes_with_everything_on_has_none_either():
    found, asked = run(NAMES, lambda _on: False)
    assert found == Found(passes_all=True)
    assert len(asked) == 2


def test_the_search_stops_after_so_many_culprits_and_says_so():
    found, _asked = run(NAMES, any_of(*NAMES[:5]), most_culprits=2)
    assert (len(found.culprits), found.complete) == (2, False)


def test_names_must_be_there_once():
    with pytest.raises(ValueError, match="twice"):
        search(["mul", "mul"], any_of("mul"))
    with pytest.raises(ValueError, match="at least one"):
        search([], any_of())
