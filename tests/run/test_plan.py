"""In which order questions are asked: the longest first, what shares a prompt's beginning together, nothing twice."""

from pathlib import Path
from types import SimpleNamespace

from evalkit.model import Item, Prompt
from evalkit.run import execute
from evalkit.run.journal import Place
from evalkit.run.plan import Plan, PlannedSuite, SideRun, order
from evalkit.run.records import Answerer


def suite(name, items, *, max_tokens=64, repeats=1, kept="longest_first"):
    made = tuple(Item(name, name, f"{name}{n}", Prompt(f"{name}{n}"), {}, "", "") for n in range(items))
    loaded = SimpleNamespace(suite=SimpleNamespace(name=name, order=kept), items=made)
    return PlannedSuite(loaded, repeats, {"max_tokens": max_tokens}, 1.0, name, 0)


def asked(plan, answered=(), expected=None):
    return [(item.id, repeat) for _suite, item, repeat in order(plan.keyed(), dict.fromkeys(answered), expected or {})]


def test_without_lengths_the_largest_token_limit_goes_first_and_else_the_order_of_the_files():
    plan = Plan((suite("short", 2, max_tokens=16), suite("long", 2, max_tokens=38_912, repeats=2)), {})
    assert asked(plan) == [("long0", 0), ("long0", 1), ("long1", 0), ("long1", 1), ("short0", 0), ("short1", 0)]


def test_known_lengths_go_before_limits():
    plan = Plan((suite("a", 3), suite("b", 2, max_tokens=32)), {})
    lengths = {("a", "a0"): 5.0, ("a", "a1"): 60.0, ("b", "b1"): 30.0}
    assert [item for item, _ in asked(plan, expected=lengths)] == ["a2", "a1", "b0", "b1", "a0"]


def test_questions_that_share_a_beginning_stay_together_whatever_is_known_of_them():
    plan = Plan((suite("mmlu", 4, kept="shared_prefix"), suite("a", 2, max_tokens=65)), {})
    lengths = {("mmlu", "mmlu1"): 900.0, ("mmlu", "mmlu2"): 1.0, ("a", "a1"): 2.0}
    assert [item for item, _ in asked(plan, expected=lengths)] == ["a0", "mmlu0", "mmlu1", "mmlu2", "mmlu3", "a1"]


def test_what_is_answered_is_not_asked_again():
    plan = Plan((suite("a", 3, repeats=2),), {})
    keys = [key for key, *_ in plan.keyed()]
    assert asked(plan, keys[1:5]) == [("a0", 0), ("a2", 1)]


def test_a_second_side_knows_the_lengths_of_the_first():
    ours, theirs = (Plan((suite("a", 3, repeats=2),), {"model": name}) for name in ("m", "n"))
    tokens = [10.0, 30.0, 500.0, 100.0, None, 7.0]  # two repeats an item, one of them without a count
    stored = {key: Place(Path(), 0, count, Answerer()) for (key, *_), count in zip(theirs.keyed(), tokens, strict=True)}
    first = SideRun(None, theirs, Path(), stored)
    second = SideRun(None, ours, Path(), {})
    lengths = execute._known_lengths(second, [first, second])
    assert lengths == {("a", "a0"): 20.0, ("a", "a1"): 300.0, ("a", "a2"): 7.0}
    assert [item for item, _ in asked(ours, expected=lengths)] == ["a1", "a1", "a0", "a0", "a2", "a2"]
