"""JSON that orjson refuses and servers send."""

import math

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.endpoint import failures

DOCUMENTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(DOCUMENTS)
def test_ordinary_json_goes_through_unchanged(document):
    assert failures.loads(failures.dumps(document)) == document


@pytest.mark.parametrize(
    ("data", "document"),
    [
        (b'{"logprob": NaN, "low": -Infinity, "high": Infinity}', {"logprob": None, "low": None, "high": None}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (rb'"half \ud83d"', "half \ud83d"),
    ],
)
def test_reads_what_orjson_refuses(data, document):
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(data)
    assert failures.loads(data) == document


@pytest.mark.parametrize(
    "data", [b"", b"{", b'{"a": "\xff"}', b'{"a": "\xe6\x9d"}', b"[1,]", b'"a\nb"', b"[" * 100_000]
)
def test_what_is_no_json_is_refused(data):
    with pytest.raises(ValueError):
        failures.loads(data)


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ("\ud83d", '"\ufffd"'),
        ("\ud83d\ude00", '"😀"'),
        ({"a\udc00": ["\ud83d", 2**70]}, '{"a\ufffd":["\ufffd",1180591620717411303424]}'),
    ],
)
def test_halves_of_surrogate_pairs_are_joined_or_replaced(document, text):
    assert failures.dumps(document).decode() == text


def test_numbers_that_are_none_become_null_when_written():
    assert failures.dumps([math.inf, 1]) == b"[null,1]"
    with pytest.raises(ValueError):
        failures.dumps(["\ud83d", math.inf])


def test_deep_nesting_is_refused_or_written_but_never_a_crash():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError):
        failures.dumps(deep)
    deep = []
    for _ in range(500):
        deep = [deep]
    assert failures.dumps(deep) == b"[" * 501 + b"]" * 501
