"""Files of columns: what goes in comes out, and nothing else ever does, whatever became of the file."""

import io
import pickle

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from evalkit.compare.columns import Labels
from evalkit.run import columnar as column_file
from evalkit.run.columnar import ColumnReader, ColumnWriter, content_of

KINDS = ("|u1", "|b1", "<i2", "<i4", "<i8", "<u8", "<f8")
REFUSED = (OSError, ValueError, KeyError, TypeError)


def file_of(*columns):
    """A file of (name, what to call, value, further arguments)."""
    out = io.BytesIO()
    writer = ColumnWriter(out)
    for name, method, *values in columns:
        getattr(writer, method)(name, *values)
    writer.finish()
    return out.getvalue()


def read(content):
    return ColumnReader(io.BytesIO(content))


@settings(deadline=None)
@given(st.data(), st.sampled_from(KINDS))
def test_numbers_come_back_bit_by_bit(data, kind):
    column = data.draw(arrays.arrays(kind, st.integers(0, 9)))
    back = read(file_of(("first", "json", "x"), ("n", "array", column, kind))).array("n", kind, column.size)
    assert (back.dtype.str, back.tobytes()) == (kind, column.tobytes())


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


@settings(deadline=None)
@given(st.lists(texts))
def test_words_come_back(words):
    labels = Labels.of(words)
    reader = read(file_of(("a", "labels", labels), ("b", "repeated", words), ("c", "json", words)))
    back = reader.labels("a", len(words))
    assert (list(back), back.names) == (words, labels.names)
    assert reader.repeated("b", len(words)) == tuple(words)
    assert reader.repeated("b", len(words), len) == tuple(map(len, words))
    assert reader.json("c") == words


WHOLE = file_of(("n", "array", np.arange(40), "<i8"), ("w", "labels", Labels.of("abca")), ("j", "json", [None, 1.5]))


def everything(content):
    reader = read(content)
    return reader.array("n", "<i8", 40).tolist(), list(reader.labels("w", 4)), reader.json("j")


def refused(content):
    try:
        everything(content)
    except REFUSED:
        return True
    return False


def test_no_byte_can_change_unseen():
    for place in range(len(WHOLE)):
        for flipped in (1, 128):
            damaged = bytearray(WHOLE)
            damaged[place] ^= flipped
            assert refused(bytes(damaged)), place


def test_a_file_that_was_cut_is_none():
    assert not refused(WHOLE)
    assert all(refused(WHOLE[:length]) for length in range(len(WHOLE)))


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_other_files_are_none(content):
    with pytest.raises(REFUSED):
        read(content)
    with pytest.raises(REFUSED):
        read(WHOLE + content + b"x")


def test_a_pickle_is_not_opened():
    class Bomb:
        def __reduce__(self):
            return pytest.fail, ("it was opened",)

    with pytest.raises(REFUSED):
        read(pickle.dumps(Bomb()))
    objects = io.BytesIO()
    np.save(objects, np.array([Bomb()], dtype=object), allow_pickle=True)
    with pytest.raises(REFUSED):
        read(objects.getvalue())


def forged(content, **places):
    """The file with other places in its index, whose digest fits."""
    start = int(content[-86:-66])
    index = {**orjson.loads(content[start:-86]), **places}
    body, index = content[:start], orjson.dumps(index)
    return body + index + f"{start:020d} {column_file._sha256(index)}\n".encode()


@pytest.mark.parametrize(
    "place",
    [
        ["<i8", 2**62, 0, "0" * 64],
        ["<i8", 41, 0, "0" * 64],
        ["<i8", -1, 0, "0" * 64],
        ["<i8", 40, -8, "0" * 64],
        ["<i8", 40, 2**62, "0" * 64],
        ["|O", 40, 0, "0" * 64],
        ["<i8", "40", 0, "0" * 64],
        ["<i8", 40],
        None,
    ],
)
def test_an_index_that_lies_is_not_followed(place):
    assert everything(forged(WHOLE)) == everything(WHOLE)
    with pytest.raises(REFUSED):
        everything(forged(WHOLE, n=place))


def test_an_index_that_is_no_index_is_none():
    index = b"[1, 2]"
    with pytest.raises(REFUSED):
        read(index + f"{0:020d} {column_file._sha256(index)}\n".encode())


@pytest.mark.parametrize("codes", [[0, 3], [-1, 0]])
def test_words_that_are_not_there_are_not_looked_up(codes):
    labels = Labels(np.array(codes, dtype=np.int32), ("a", "b", "c"))
    with pytest.raises(ValueError, match="points nowhere"):
        read(file_of(("w", "labels", labels))).labels("w", 2)


def test_another_kind_or_size_is_another_column():
    for asked in (("n", "<f8", 40), ("n", "<i8", 39), ("w", "<i8", 4)):
        with pytest.raises(ValueError, match="another column"):
            read(WHOLE).array(*asked)
    with pytest.raises(KeyError):
        read(WHOLE).json("absent")


def test_a_file_never_becomes_too_large(monkeypatch):
    monkeypatch.setattr(column_file, "MOST_BYTES", 100)
    with pytest.raises(ValueError, match="too large"):
        file_of(("a", "array", np.arange(9), "<i8"), ("b", "array", np.arange(9), "<i8"))


def test_content_is_the_same_wherever_it_lies():
    one = read(file_of(("x n", "json", 1), ("x m", "json", 2))).index
    two = read(file_of(("other", "json", 0), ("yy m", "json", 2), ("yy n", "json", 1))).index
    three = read(file_of(("x n", "json", 1), ("x m", "json", 3))).index
    assert content_of(one, "x ") == content_of(two, "yy ") != content_of(three, "x ")
