"""The server's own JSON interface: numbers as they were written, failures as data, passing trouble met again."""

import math

import pytest
from loopback import drops, holds, says

from evalkit.endpoint.http import Answer
from evalkit.endpoint.identity import Native
from evalkit.endpoint.settings import ClientSettings
from evalkit.model import Failure, FailureKind


def native(server, **settings):
    values = {"base_urls": (server.url, "http://127.0.0.1:1/v1"), "model": "toy"} | settings
    return Native(ClientSettings(**values), pauses_seconds=(0.0, 0.0))


async def test_numbers_that_json_does_not_have_are_kept(serve):
    server = await serve(says(b'{"a": NaN, "b": -Infinity, "c": -1.5}'))
    async with native(server) as connection:
        found = await connection.post("/score", {"x": "a\ud800b"})
    assert math.isnan(found["a"])
    assert found["b"] == -math.inf
    assert found["c"] == -1.5
    assert server.received[0].json == {"x": "a?b"}


async def test_paths_below_the_base_and_below_the_root(serve):
    server = await serve(says(b"{}"))
    async with native(server, api_key="sk-secret") as connection:
        await connection.get("/props")
        await connection.post("/v1/completions", {})
        answer = await connection.answer("/v1/models")
    assert [r.path for r in server.received] == ["/props", "/v1/completions", "/v1/models"]
    assert all(r.headers["authorization"] == "Bearer sk-secret" for r in server.received)
    assert isinstance(answer, Answer)
    assert connection.requests == 3


async def test_passing_trouble_is_met_with_two_more_attempts(serve):
    server = await serve(drops(), says(b"busy", 503), says(b'{"ok": 1}'))
    async with native(server) as connection:
        assert await connection.post("/x", {}) == {"ok": 1}
        assert connection.requests == 3


@pytest.mark.parametrize(
    ("behaviour", "kind", "requests"),
    [
        (says(b'{"error": "no"}', 400), FailureKind.BAD_REQUEST, 1),
        (says(b'{"detail": "Not Found"}', 404), FailureKind.NOT_FOUND, 1),
        (says(b"<html>"), FailureKind.MALFORMED, 1),
        (says(b"[1]"), FailureKind.MALFORMED, 1),
        (says(b"[" * 100_000), FailureKind.MALFORMED, 1),
        (says(b'{"error": {"message": "key sk-secret is wrong"}}'), FailureKind.MALFORMED, 1),
        (says(b"busy", 503), FailureKind.SERVER_ERROR, 3),
        (holds(), FailureKind.STALL, 1),
    ],
)
async def test_failures_are_data_without_the_key(serve, behaviour, kind, requests):
    server = await serve(behaviour)
    async with native(server, api_key="sk-secret", stall_seconds=0.05) as connection:
        failure = await connection.post("/x", {})
    assert isinstance(failure, Failure)
    assert failure.kind is kind
    assert "sk-secret" not in failure.detail
    assert connection.requests == requests
