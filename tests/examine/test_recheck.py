"""A dozen stored answers asked for again: what decides that another server gave them, and how seldom it errs."""

from types import SimpleNamespace

import numpy as np
import pytest

from evalkit.examine import recheck
from evalkit.examine.recheck import MOST, Pair, Triple, decided, is_open, pair_of

ASKED = 12
DOZENS = MOST // ASKED


def pairs(departures, lengths):
    """Three replies, the stored one first, leave the common text at these tokens (infinite: never)."""
    found = []
    for one, two in ((0, 1), (0, 2), (1, 2)):
        split = np.minimum(departures[one], departures[two])
        found.append([Pair(float(min(at, end)), bool(at < end)) for at, end in zip(split, lengths, strict=True)])
    return found


def triples_of(rng, rate, *, repeats_itself=False, other=None):
    """Replies of a server that leaves the common text once in 1/rate tokens; `other` is the rate of the stored ones."""
    lengths = rng.choice([1, 2, 8, 30, 60, 120], ASKED) if rng.random() < 0.5 else np.full(ASKED, rng.integers(1, 100))
    rates = np.array([rate if other is None else other, rate, rate])
    departures = rng.exponential(1.0, (3, ASKED)) / np.maximum(rates[:, None], 1e-12)
    if repeats_itself:
        departures[2] = departures[1] = np.inf
    chances = rng.beta(2, 1, ASKED)
    graded = [tuple(bool(x) for x in rng.random(3) < chance) for chance in chances]
    rows = zip(*pairs(departures, lengths), graded, strict=True)
    return [Triple(a, b, c, right if a.differs or b.differs else None) for a, b, c, right in rows]


def left_open(dozen):
    counts = (sum(pair.differs for pair in pairs) for pairs in ([t.first for t in dozen], [t.own for t in dozen]))
    return is_open(decided(dozen), *counts)


def word_of(triples):
    """As `recheck` decides: by a dozen, and where these leave it open by four."""
    dozen = triples[:ASKED]
    return decided(triples if left_open(dozen) else dozen)


def said_of(rng, rate, **more):
    """As `word_of`; the further dozens are drawn only where they are asked for."""
    dozen = triples_of(rng, rate, **more)
    if not left_open(dozen):
        return decided(dozen)
    return decided([*dozen, *(one for _ in range(1, DOZENS) for one in triples_of(rng, rate, **more))])


def test_a_server_that_lost_a_quarter_of_its_answers_is_found_though_a_dozen_do_not_show_it():
    lost, kept = letters(True, False, (True, False, False)), letters(False, False)
    assert decided([lost] * 3 + [kept] * 9) == "same"
    assert word_of(([lost] * 3 + [kept] * 9) * DOZENS) == "other"


@pytest.mark.slow
def test_a_faithful_server_is_hardly_ever_called_another():
    """Rates from none to a token in three; the last one is a server that batches otherwise now than when it was run.

    Of 5,000 at most 2: were one in a thousand called another, three or more would be in 87 of 100 such tests.
    """
    rng = np.random.default_rng(1)
    cases = [(0.0, False), (1 / 500, False), (1 / 129, False), (1 / 30, False), (1 / 3, False), (1 / 129, True)]
    for rate, repeats_itself in cases:
        false = sum(said_of(rng, rate, repeats_itself=repeats_itself) == "other" for _ in range(5_000))
        assert false <= 2, (rate, repeats_itself, false)


@pytest.mark.parametrize(("rate", "other", "least"), [(0.0, 1 / 3, 200), (1 / 500, 1 / 3, 195), (1 / 129, 1 / 3, 170)])
def test_another_model_is_found_by_its_texts(rate, other, least):
    rng = np.random.default_rng(2)
    lengths = np.full(ASKED, 40)
    found = 0
    for _ in range(200):
        departures = rng.exponential(1.0, (3, ASKED)) / np.array([other, max(rate, 1e-9), max(rate, 1e-9)])[:, None]
        found += decided([Triple(*three) for three in zip(*pairs(departures, lengths), strict=True)]) == "other"
    assert found >= least


def letters(stored_differs, own_differs, right=None):
    stored = Pair(0.0 if stored_differs else 0.5, stored_differs)
    return Triple(stored, stored, Pair(0.0 if own_differs else 0.5, own_differs), right)


def test_letters_that_are_mostly_others_are_found_and_a_few_are_not():
    assert decided([letters(True, False)] * 10 + [letters(False, False)] * 2) == "other"
    assert decided([letters(True, False)] * 4 + [letters(False, False)] * 8) == "same"


def test_a_server_that_never_repeats_itself_is_told_by_right_and_wrong():
    worse = [letters(True, True, (True, False, False))] * 10 + [letters(True, True, (True, True, False))] * 2
    assert decided(worse) == "other"
    assert decided([letters(True, True, (True, True, False))] * 12) == "open"
    assert decided([letters(True, True, (False, True, True))] * 12) == "open", "better is not worse"
    assert decided([letters(True, True)] * 12) == "open"


def test_a_pair_ends_where_a_token_limit_cut_it():
    assert pair_of("abcdefgh", "abcdefgh", cut=(False, False)) == Pair(2.0, False)
    assert pair_of("abcdefgh", "abcdXfgh", cut=(False, False)) == Pair(1.0, True)
    assert pair_of("abcdefgh", "abcd", cut=(False, True)) == Pair(1.0, False)
    assert pair_of("abcdefgh", "abcd", cut=(False, False)) == Pair(1.0, True)
    assert pair_of("abcd", "abcdefgh", cut=(True, False)) == Pair(1.0, False)


def test_log_probabilities_beside_texts_are_asked_for_further_and_then_decide(monkeypatch):
    def asked(name, needs, found):
        suite = SimpleNamespace(name=name, loaded=SimpleNamespace(suite=SimpleNamespace(needs=needs)))
        return SimpleNamespace(suite=suite, found=found), ()

    monkeypatch.setattr(recheck, "_triple", lambda _side, one, _pair: one.found)
    monkeypatch.setattr(recheck, "_gap", lambda one, _pair: one.found)
    texts = [asked("texts", (), letters(False, False))] * 8

    def numbers(*found):
        return [asked("numbers", ("prompt_logprobs",), one) for one in found]

    first, differing = recheck._judged(None, [*texts, *numbers((0.9, 0.0), (0.1, 0.0), (0.8, 0.0), (0.0, 0.0))])
    assert (first.word, first.differing, first.own_differing, differing) == ("same", 2, 0, {"numbers"})
    assert is_open(first.word, first.differing, first.own_differing)
    second, _ = recheck._judged(None, [*texts, *numbers(*[(0.6, 0.0)] * 40)])
    assert (second.word, second.asked, second.nats) == ("other", 40, pytest.approx(0.6))
    assert recheck._judged(None, [*texts, *numbers(*[(0.6, 0.5)] * 40)])[0].word == "same", "it differs from itself"
    assert recheck._judged(None, numbers(*[(0.6, 0.0)] * 4))[0].word == "other", "no texts stand beside them"
