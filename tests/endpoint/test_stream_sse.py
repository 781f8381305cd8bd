"""Whatever the pieces, the same events."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.endpoint.stream import SseParser


def read(*chunks: bytes):
    parser = SseParser()
    return [event for chunk in chunks for event in parser.feed(chunk)] + parser.finish()


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [("", b"a"), ("", b"b")]),
        (b"data:a\n\n", [("", b"a")]),
        (b"data:  a\n\n", [("", b" a")]),
        (b"data: a\ndata: b\n\n", [("", b"a\nb")]),
        (b"data\ndata\n\n", [("", b"\n")]),
        (b"data\n\ndata:\n\ndata: \n\n", []),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [("", b"a"), ("", b"b")]),
        (b"data: a\r\ndata: b\r\n\r\n", [("", b"a\nb")]),
        (b"data: a\rdata: b\r\r", [("", b"a\nb")]),
        (b"data: a\r\rdata: b\r\r", [("", b"a"), ("", b"b")]),
        (b"data: a\n\r\ndata: b\r\n\n", [("", b"a"), ("", b"b")]),
        (b"\n\n\n\ndata: a\n\n\n\n\ndata: b\n\n", [("", b"a"), ("", b"b")]),
        (b": ping\n\n:\n\ndata: a\n: inside\n\n", [("", b"a")]),
        (b"event: error\ndata: {}\n\ndata: a\n\n", [("error", b"{}"), ("", b"a")]),
        (b"event: ping\n\ndata: a\n\n", [("", b"a")]),
        (b"id: 7\nretry: 10\ndata: a\n\n", [("", b"a")]),
        (b"database: x\ndata: a\n\n", [("", b"a")]),
        (b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n", [("", b"a")]),
        (b"\xef\xbb\xbf\n\ndata: a\n\n", [("", b"a")]),
        ("data: naïve 東京 🙂\n\n".encode(), [("", "naïve 東京 🙂".encode())]),
        (b"data: a\n\ndata: [DONE]", [("", b"a"), ("", b"[DONE]")]),
        (b"data: a\n\ndata: [DONE]\n", [("", b"a"), ("", b"[DONE]")]),
        (b"data: a\r\n\r\ndata: [DONE]\r", [("", b"a"), ("", b"[DONE]")]),
        (b"", []),
        (b"\n", []),
        (b": only a comment", []),
    ],
)
def test_reads_what_the_standard_says(stream, events):
    assert read(stream) == events
    assert read(*(bytes([byte]) for byte in stream)) == events


PIECES = st.sampled_from(
    [
        b"data",
        b"event",
        b": ",
        b":",
        b" ",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\r\n\r\n",
        b"\xef\xbb\xbf",
        b"x",
        "é🙂".encode(),
    ]
)
LINES = st.tuples(
    st.sampled_from([b"data: x", b"data:", b": note", b"event: e", b"", b""]), st.sampled_from([b"\n", b"\r", b"\r\n"])
).map(b"".join)
STREAMS = st.lists(LINES | PIECES | st.binary(max_size=4), max_size=40).map(b"".join)


@given(stream=STREAMS, data=st.data())
def test_any_split_gives_the_same_events(stream, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    bounds = [0, *cuts, len(stream)]
    chunks = [stream[start:end] for start, end in pairwise(bounds)]
    assert read(*chunks) == read(stream)


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1), max_size=20),
    st.sampled_from(["\n", "\r", "\r\n"]),
)
def test_what_a_server_writes_is_what_is_read(lines, end):
    stream = "".join(f"data: {line}{end}{end}" for line in lines).encode()
    assert read(stream) == [("", line.encode()) for line in lines]


def test_an_event_of_many_chunks_is_joined_once():
    parser = SseParser()
    assert not any(parser.feed(b"data: " if n == 0 else b"x" * 100) for n in range(1000))
    assert parser.feed(b"\n") == []
    assert parser.feed(b"\n") == [("", b"x" * 99_900)]
