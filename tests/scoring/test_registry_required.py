"""A document must have a truth."""

import pytest

from evalkit.errors import DataError
from evalkit.scoring.registry import name_of, required


@pytest.mark.parametrize("value", [None, "", " \n", [], {}, ()])
def test_an_empty_truth_raises(value):
    with pytest.raises(DataError, match="item '7' has no 'answer': check the data set"):
        required({"id": 7, "answer": value}, "answer")


@pytest.mark.parametrize("value", [0, False, "0", 0.0, [None]])
def test_a_truth_that_is_merely_falsy_is_one(value):
    assert required({"answer": value}, "answer") == value


def test_an_item_is_named_by_what_it_has():
    assert name_of({"Record ID": "rec1", "question": "q"}) == "item 'rec1'"
    assert name_of({"question": "What is it?"}) == "the item that begins 'What is it?'"
    assert name_of({}) == "an item without an id"
