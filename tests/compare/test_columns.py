"""Rows become columns, whatever each row leaves out and however they are cut into blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.compare.columns import ItemsBuilder, LabelsBuilder, SamplesBuilder, turned

rows = st.lists(
    st.fixed_dictionaries(
        {"i": st.sampled_from(["a", "b", "c"]), "r": st.integers(0, 9), "st": st.sampled_from(["scored", "failed"])},
        optional={
            "v": st.none() | st.floats(0, 1),
            "a": st.none() | st.sampled_from(["A", "", "B"]),
            "h": st.sampled_from(["", "00000000000000ff"]),
            "c": st.none() | st.integers(0, 99),
            "cut": st.booleans(),
        },
    )
)


@given(rows)
def test_turned_rows_hold_what_the_rows_held(given_rows):
    back = [
        dict(zip(columns, values, strict=True))
        for columns in turned(given_rows)
        for values in zip(*columns.values(), strict=True)
    ]
    assert sorted(map(repr, back)) == sorted(map(repr, given_rows))


def content(samples):
    columns = (samples.value, samples.completion_tokens, samples.text, samples.truncated, samples.repeat)
    return sorted(
        (samples.items.name[item], samples.status[n], samples.answer[n], *(str(column[n]) for column in columns))
        for n, item in enumerate(samples.item)
    )


@settings(deadline=None)
@given(rows, st.integers(1, 5))
def test_blocks_make_no_difference(given_rows, size):
    def made(blocks):
        builder = SamplesBuilder()
        builder.items.extend([{"i": name} for name in "abc"])
        for block in blocks:
            builder.extend(block)
        return builder.samples()

    cut = [given_rows[start : start + size] for start in range(0, len(given_rows), size)]
    assert content(made([given_rows])) == content(made(cut))
    naive = sorted(
        (
            row["i"], row["st"], row.get("a") or "", str(np.float64(np.nan if row.get("v") is None else row["v"])),
            str(np.float64(np.nan if row.get("c") is None else row["c"])), "255" if row.get("h") else "0",
            str(np.bool_(row.get("cut", False))), str(row["r"]),
        )
        for row in given_rows
    )  # fmt: skip
    assert content(made([given_rows])) == naive


@pytest.mark.parametrize("blocks", [[["x", "y", "x"]], [["x"], ["y", "x"]]])
def test_an_item_that_is_listed_twice_is_named(blocks):
    items = ItemsBuilder()
    with pytest.raises(ValueError, match="item 'x' is listed twice"):
        for block in blocks:
            items.extend([{"i": name} for name in block])


def test_no_word_and_the_empty_word_are_one():
    builder = LabelsBuilder()
    builder.extend([None, "A"])
    builder.extend(["", "B", None])
    builder.repeat("A", 2)
    made = builder.labels()
    assert list(made) == ["", "A", "", "B", "", "A", "A"]
    assert made.names == ("", "A", "B")
