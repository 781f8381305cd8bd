"""Rows become columns, whatever each row leaves out and however many there are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.compare.columns import Sample
from evalkit.foreign import columns
from evalkit.foreign.columns import ItemFacts, SamplesBuilder

rows = st.lists(
    st.builds(
        Sample,
        item=st.sampled_from(["a", "b", "c"]),
        repeat=st.integers(0, 9),
        value=st.none() | st.floats(0, 1),
        status=st.sampled_from(["scored", "failed", "truncated"]),
        answer=st.none() | st.sampled_from(["A", "", "B"]),
        text=st.integers(0, 2**64 - 1),
        completion_tokens=st.none() | st.integers(0, 99),
        truncated=st.booleans(),
    )
)


def built(samples):
    builder = SamplesBuilder()
    for name in "abc":
        builder.add_item(ItemFacts(name))
    for sample in samples:
        builder.add(sample)
    return builder.samples()


def number(value):
    return str(np.float64(np.nan if value is None else value))


@settings(deadline=None)
@given(rows, st.integers(1, 5))
def test_columns_hold_what_the_rows_held_in_blocks_of_any_size(samples, size):
    whole = columns._BLOCK
    columns._BLOCK = size
    try:
        made = built(samples)
    finally:
        columns._BLOCK = whole
    assert [
        (made.items.name[item], made.status[n], made.answer[n], str(made.value[n]), str(made.completion_tokens[n]))
        for n, item in enumerate(made.item)
    ] == [(s.item, s.status, s.answer or "", number(s.value), number(s.completion_tokens)) for s in samples]
    assert made.repeat.tolist() == [sample.repeat for sample in samples]
    assert made.text.tolist() == [sample.text for sample in samples]
    assert made.truncated.tolist() == [sample.truncated or sample.status == "truncated" for sample in samples]


def test_items_are_columns_too():
    builder = SamplesBuilder()
    builder.add_item(ItemFacts("x", ("math", "amps"), "story", 2.0, 7, 2**64 - 1, (("skill", "ocr"),)))
    builder.add_item(ItemFacts("y"))
    table = builder.samples().items
    assert (table.name, table.stratum, table.cluster) == (("x", "y"), (("math", "amps"), ()), ("story", ""))
    assert (table.weight.tolist(), table.document.tolist()) == ([2.0, 1.0], [7, 0])
    assert (table.prompt.tolist(), table.tags) == ([2**64 - 1, 0], ((("skill", "ocr"),), ()))


def test_an_item_that_is_listed_twice_is_named():
    builder = SamplesBuilder()
    builder.add_item(ItemFacts("x"))
    with pytest.raises(ValueError, match="item 'x' is listed twice"):
        builder.add_item(ItemFacts("x"))


def test_a_sample_of_an_item_that_is_not_listed_is_none():
    builder = SamplesBuilder()
    builder.add(Sample("nobody", 0, 1.0, "scored"))
    with pytest.raises(KeyError, match="nobody"):
        builder.samples()


def test_no_word_and_the_empty_word_are_one():
    made = built([Sample("a", n, 1.0, "scored", answer=word) for n, word in enumerate([None, "A", "", "B", None, "A"])])
    assert list(made.answer) == ["", "A", "", "B", "", "A"]
    assert made.answer.names == ("", "A", "B")
