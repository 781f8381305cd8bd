"""Rows that name their split, and the demo's own items: sound, distinct, and really asked as chat turns."""

import collections

import orjson
import pytest

from evalkit.model import FinalText
from evalkit.resources import data_folder
from evalkit.scoring.answers.reply import final_text_of
from evalkit.scoring.rows import by_row, by_split, choices_of, letter_of, listed, text_of
from evalkit.tasks.items import LoadOptions, load_suite
from evalkit.tasks.suites import find_suite

ROWS = [
    {"id": "a", "split": "dev", "prompt": "p", "_part": "x"},
    {"id": "b", "split": "test", "prompt": "q", "_part": "x"},
]


@pytest.mark.parametrize(("split", "ids"), [("dev", ["a"]), ("test", ["b"]), ("train", [])])
def test_only_rows_of_the_split_are_taken(split, ids):
    documents = by_split(ROWS, {"_split": split})
    assert [document["id"] for document in documents] == ids
    assert all(set(document) == {"id", "prompt"} for document in documents)


@pytest.mark.parametrize("field", ["id", "split"])
def test_a_row_without_a_name_or_a_split_is_refused(field):
    damaged = [ROWS[0], {key: value for key, value in ROWS[1].items() if key != field}]
    with pytest.raises(ValueError, match=f"row 1 has no {field}"):
        by_split(damaged, {"_split": "test"})


@pytest.mark.parametrize(("answer", "letter"), [("B", "B"), (" b ", "B"), (1, "B"), ("1", "B"), ("0", "A")])
def test_the_right_option_is_given_by_letter_or_place(answer, letter):
    assert letter_of(answer, ["x", "y"], or_place=True) == letter


@pytest.mark.parametrize("answer", ["C", "AB", "", None, 2, "2", -1, "(B)", "²"])
def test_what_is_no_option_is_refused(answer):
    with pytest.raises(ValueError, match="none of its 2 options"):
        letter_of(answer, ["x", "y"], or_place=True)


def test_a_place_counts_only_where_it_may():
    with pytest.raises(ValueError, match="has the answer '1'"):
        letter_of("1", ["x", "y"])


@pytest.mark.parametrize("options", [["a", "b"], ("a", "b"), "['a', 'b']", [["a", "b"]], "[['a'], ['b', None]]"])
def test_options_are_a_list_or_its_literal_however_nested(options):
    assert listed(options) == ["a", "b"]
    assert choices_of({"options": options}, "options") == ["a", "b"]


@pytest.mark.parametrize("options", ["a, b", "__import__('os')", "[" * 500, "[" + "1," * 100_000 + "]"])
def test_a_text_that_is_no_list_is_refused(options):
    with pytest.raises(ValueError, match=r"no list|too long"):
        listed(options)


@pytest.mark.parametrize("row", [{}, {"a": None}, {"a": " \n"}])
def test_a_text_that_is_not_there_is_named(row):
    with pytest.raises(ValueError, match="has no 'a'"):
        text_of(row, "a")


def test_a_row_s_trouble_has_its_number_and_ids_that_recur_are_told_apart():
    prepare = by_row(lambda row, _: {"id": text_of(row, "id")})
    assert [document["id"] for document in prepare([{"id": "a"}, {"id": "b"}, {"id": "a"}], {})] == ["a", "b", "a-2"]
    with pytest.raises(ValueError, match="row 1 has no 'id'"):
        prepare([{"id": "a"}, {}], {})


@pytest.fixture(scope="module")
def demo():
    return load_suite(find_suite("demo"), LoadOptions())


def test_the_demo_has_25_items_of_each_of_eight_kinds(demo):
    kinds = collections.Counter(item.stratum for item in demo.items)
    names = ["add", "capital", "copy", "country", "group", "last", "opposite", "past"]
    assert kinds == {(name,): 25 for name in names}
    assert len({item.prompt.digest for item in demo.items}) == 200


def test_two_worked_examples_of_the_same_kind_come_first_as_turns(demo):
    for item in demo.items:
        roles = [message["role"] for message in item.prompt.messages]
        assert roles == ["user", "assistant"] * 2 + ["user"]
        assert item.prompt.messages[-1]["content"] == item.doc["prompt"]
    shots = collections.defaultdict(set)
    for item in demo.items:
        shots[item.stratum].add(tuple(message["content"] for message in item.prompt.messages[:-1]))
    assert all(len(found) == 1 for found in shots.values())
    assert len(shots) == 8


def test_no_worked_example_is_asked(demo):
    rows = [orjson.loads(line) for line in (data_folder("suites") / "demo" / "demo.jsonl").read_bytes().splitlines()]
    shown = {row["prompt"] for row in rows if row["split"] == "dev"}
    assert len(shown) == 16
    assert not shown & {item.doc["prompt"] for item in demo.items}


def test_every_accepted_answer_is_right_and_another_items_is_not(demo):
    for item in demo.items:
        for answer in (item.target, *item.doc["accepted"]):
            assert demo.score(item.doc, final_text_of(answer)).value == 1
        assert demo.score(item.doc, FinalText("no such answer")).value == 0
    by_kind = collections.defaultdict(list)
    for item in demo.items:
        by_kind[item.stratum].append(item)
    for items in by_kind.values():
        right = [demo.score(items[0].doc, FinalText(other.target)).value for other in items]
        assert sum(right) < len(items)
        assert right[0] == 1


def test_the_sums_are_right(demo):
    for item in demo.items:
        if item.stratum == ("add",):
            left, right = (int(number) for number in item.doc["prompt"].split(" + "))
            assert item.target == str(left + right)
