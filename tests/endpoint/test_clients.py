"""Both clients over a real socket: what is sent, what comes back, what every kind of trouble is called."""

import asyncio
import gzip
import re
import zlib
from contextlib import suppress

import orjson
import pytest
from aiohttp import web
from loopback import DONE, OK_BODY, chat, delta, drops, drops_after, event, holds, never_ends, plain, says, streams

from evalkit.errors import DataError
from evalkit.model import Failure, FailureKind, ImageRef, Prompt, Reply, Request, Usage


def kinds(outcome):
    assert isinstance(outcome, Failure), outcome
    return outcome.kind


async def test_asks_and_reads(serve, connect):
    server = await serve(says())
    reply = await connect(server.url).ask(chat(temperature=0.6, max_tokens=64, top_k=20))
    assert (reply.content, reply.finish_reason, reply.usage, reply.model) == ("Paris", "stop", Usage(7, 2), "tiny-1")
    assert reply.raw == OK_BODY
    assert reply.attempts == 1
    assert reply.seconds > 0
    (received,) = server.received
    assert (received.method, received.path) == ("POST", "/v1/chat/completions")
    assert received.json == {
        "model": "tiny",
        "temperature": 0.6,
        "max_tokens": 64,
        "top_k": 20,
        "messages": [{"role": "user", "content": "Which city is the capital of France?"}],
        "seed": 11,
        "stream": False,
    }


async def test_asks_for_plain_text(serve, connect):
    body = orjson.dumps({"choices": [{"text": " Paris", "finish_reason": "stop", "logprobs": {"tokens": [" Paris"]}}]})
    server = await serve(says(body))
    reply = await connect(server.url).ask(plain(logprobs=1, echo=False))
    assert (reply.content, reply.raw) == (" Paris", body)
    assert server.received[0].path == "/v1/completions"
    assert server.received[0].json == {
        "model": "tiny",
        "logprobs": 1,
        "echo": False,
        "prompt": "The capital of France is",
        "stream": False,
    }


async def test_key_and_headers_are_sent_and_nothing_of_the_environment(serve, connect, monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, "leak-me-not")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Custom: leak-me-not")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    server = await serve(says())
    assert isinstance(await connect(server.url, api_key="sk-1", headers={"X-Team": "a b"}).ask(chat()), Reply)
    assert isinstance(await connect(server.url).ask(chat()), Reply)
    with_key, without = (received.headers for received in server.received)
    assert with_key["authorization"] == "Bearer sk-1"
    assert with_key["x-team"] == "a b"
    assert with_key["content-type"] == "application/json"
    assert with_key["accept-encoding"] == "gzip, deflate"
    assert "authorization" not in without
    assert "leak-me-not" not in str(with_key) + str(without)


@pytest.mark.parametrize("name", ["Authorization", "authorization"])
async def test_a_configured_header_replaces_ours(serve, connect, name):
    server = await serve(says())
    await connect(server.url, api_key="sk-1", headers={name: "Custom xyz"}).ask(chat())
    assert server.received[0].headers["authorization"] == "Custom xyz"


async def test_a_query_of_the_address_stays(serve, connect):
    server = await serve(says())
    assert isinstance(await connect(server.url + "/?api-version=2").ask(chat()), Reply)
    assert (server.received[0].path, server.received[0].query) == ("/v1/chat/completions", "api-version=2")


async def test_long_headers_of_a_gateway_are_taken(serve, connect):
    server = await serve(says(Content_Security_Policy="x" * 20_000))
    assert isinstance(await connect(server.url).ask(chat()), Reply)


async def test_connections_are_used_again_and_cookies_are_not(serve, connect):
    server = await serve(says(Set_Cookie="session=1; Path=/"))
    client = connect(server.url.replace("127.0.0.1", "localhost"))
    for _ in range(3):
        assert isinstance(await client.ask(chat()), Reply)
    assert len(server.connections) == 1
    assert not any("cookie" in received.headers for received in server.received)


async def test_pictures_are_filled_in(serve, connect, recwarn):
    prompt = Prompt(
        "d", ({"role": "user", "content": [{"type": "image_ref", "index": 0}]},), images=(ImageRef("a", bytes),)
    )
    asked = Request("k", "s", "i", 0, prompt, {})

    async def materialise(given):
        assert given is prompt
        return (
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 2_000_000}}],
            },
        )

    async def refuse(_given):
        raise DataError("picture a is damaged")

    server = await serve(says())
    assert isinstance(await connect(server.url, materialise=materialise).ask(asked), Reply)
    assert len(server.received[0].json["messages"][0]["content"][0]["image_url"]["url"]) > 2_000_000
    failure = await connect(server.url, materialise=refuse).ask(asked)
    assert (failure.kind, failure.detail) == (FailureKind.IMAGE, "picture a is damaged")
    assert kinds(await connect(server.url).ask(asked)) is FailureKind.IMAGE
    assert len(server.received) == 1
    assert not [warning for warning in recwarn if "large body" in str(warning.message)]


async def test_without_pictures_nothing_is_materialised(serve, connect):
    async def materialise(_prompt):
        raise AssertionError

    server = await serve(says())
    assert isinstance(await connect(server.url, materialise=materialise).ask(chat()), Reply)


async def test_a_prompt_that_has_no_json_form_is_a_failure(serve, connect):
    server = await serve(says())
    assert kinds(await connect(server.url).ask(chat("half an emoji \ud83d"))) is FailureKind.BAD_REQUEST
    assert not server.received


# ---------------------------------------------------------------- answers that are none


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b'{"error": {"message": "maximum context length is 8"}}', FailureKind.CONTEXT_OVERFLOW),
        (400, b'{"error": {"message": "no"}}', FailureKind.BAD_REQUEST),
        (401, b"", FailureKind.AUTH),
        (404, b'{"detail": "Not Found"}', FailureKind.NOT_FOUND),
        (408, b"", FailureKind.TIMEOUT),
        (409, b"", FailureKind.BAD_REQUEST),
        (422, b'{"detail": [{"msg": "seed"}]}', FailureKind.BAD_REQUEST),
        (429, b"", FailureKind.RATE_LIMITED),
        (500, b"<html><title>500</title>", FailureKind.SERVER_ERROR),
        (503, b"", FailureKind.SERVER_ERROR),
    ],
)
async def test_statuses(serve, connect, status, body, kind):
    server = await serve(says(body, status, Retry_After="3"))
    failure = await connect(server.url).ask(chat())
    assert (failure.kind, failure.status, failure.retry_after) == (kind, status, 3.0)
    assert failure.seconds > 0
    assert len(server.received) == 1


async def test_the_key_is_never_in_a_detail(serve, connect):
    key = "sk-very-secret-1234567890"
    server = await serve(says(orjson.dumps({"error": {"message": f"Incorrect API key provided: {key}\x07"}}), 401))
    failure = await connect(server.url, api_key=key).ask(chat())
    assert "Incorrect API key provided: [redacted]" in failure.detail
    assert key not in repr(failure)


async def test_a_long_error_is_cut(serve, connect):
    server = await serve(says(b"x" * 1_000_000, 500))
    failure = await connect(server.url).ask(chat())
    assert len(failure.detail) == 500


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"<!doctype html><title>Log in</title>", "text/html"),
        (OK_BODY[:-9], "application/json"),
        (OK_BODY.replace(b"Paris", b"\xff"), "application/json"),
        (b"", "application/json"),
        (b'{"choices": []}', "application/json"),
        (b'{"error": {"message": "CUDA error"}}', "application/json"),
    ],
)
async def test_malformed_bodies(serve, connect, body, content_type):
    server = await serve(says(body, Content_Type=content_type))
    failure = await connect(server.url).ask(chat())
    assert (failure.kind, failure.status) == (FailureKind.MALFORMED, 200)


async def test_a_whole_answer_counts_whatever_its_content_type(serve, connect):
    server = await serve(says(Content_Type="text/plain"))
    assert (await connect(server.url).ask(chat())).content == "Paris"


async def test_line_breaks_do_not_get_into_raw(serve, connect):
    pretty = orjson.dumps(orjson.loads(OK_BODY), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    server = await serve(says(pretty))
    assert (await connect(server.url).ask(chat())).raw == OK_BODY


# ---------------------------------------------------------------- size


@pytest.mark.parametrize("stream", [False, True])
async def test_a_body_that_never_ends_is_too_large(serve, connect, stream):
    server = await serve(never_ends(delta("x"), "text/event-stream") if stream else never_ends())
    failure = await connect(server.url, max_body_bytes=100_000, stream=stream).ask(chat())
    assert (failure.kind, failure.status) == (FailureKind.TOO_LARGE, 200)
    await asyncio.wait_for(server.gone.wait(), 10)


async def test_a_body_that_says_it_is_too_large_is_not_read(serve, connect):
    server = await serve(drops_after(b"{", promised=10**9))
    assert kinds(await connect(server.url, max_body_bytes=1000).ask(chat())) is FailureKind.TOO_LARGE


async def test_a_body_in_one_piece_without_a_length_is_counted_too(serve, connect):
    server = await serve(streams(OK_BODY, content_type="application/json"))
    assert isinstance(await connect(server.url, max_body_bytes=len(OK_BODY)).ask(chat()), Reply)
    assert kinds(await connect(server.url, max_body_bytes=len(OK_BODY) - 1).ask(chat())) is FailureKind.TOO_LARGE


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_compression_is_undone_and_its_size_is_bounded(serve, connect, encoding):
    squeeze = gzip.compress if encoding == "gzip" else zlib.compress
    bomb = squeeze(b" " * 50_000_000)
    server = await serve(says(squeeze(OK_BODY), Content_Encoding=encoding), says(bomb, Content_Encoding=encoding))
    client = connect(server.url, max_body_bytes=1_000_000)
    assert (await client.ask(chat())).raw == OK_BODY
    assert len(bomb) < 100_000
    assert kinds(await client.ask(chat())) is FailureKind.TOO_LARGE


async def test_a_body_just_within_the_limit_is_read(serve, connect):
    server = await serve(says())
    assert isinstance(await connect(server.url, max_body_bytes=len(OK_BODY)).ask(chat()), Reply)
    assert kinds(await connect(server.url, max_body_bytes=len(OK_BODY) - 1).ask(chat())) is FailureKind.TOO_LARGE


async def test_damaged_compression_is_malformed(serve, connect):
    server = await serve(says(b"no gzip at all", Content_Encoding="gzip"))
    assert kinds(await connect(server.url).ask(chat())) is FailureKind.MALFORMED


# ---------------------------------------------------------------- broken lines


async def test_nobody_listens(serve_bytes, connect, unused_tcp_port):
    failure = await connect(f"http://127.0.0.1:{unused_tcp_port}/v1").ask(chat())
    assert failure.kind is FailureKind.CONNECTION
    assert "connection refused at http" in failure.detail
    assert f"127.0.0.1:{unused_tcp_port}" in failure.detail


@pytest.mark.parametrize(
    "behaviour",
    [
        drops(),
        drops_after(OK_BODY[:50], len(OK_BODY)),
        streams(OK_BODY[:50], drop=True, content_type="application/json"),
    ],
)
async def test_a_line_that_breaks(serve, connect, behaviour):
    server = await serve(behaviour, says())
    client = connect(server.url)
    assert kinds(await client.ask(chat())) is FailureKind.CONNECTION
    assert isinstance(await client.ask(chat()), Reply)


def closes_used_connections():
    """Answers the first request of every connection and breaks it at the second."""
    used = set()

    async def behave(request):
        if request.transport in used:
            return await drops()(request)
        used.add(request.transport)
        return await says()(request)

    return behave


async def test_a_connection_that_the_server_had_closed_is_no_failure(serve, connect):
    server = await serve(closes_used_connections())
    client = connect(server.url)
    assert [type(await client.ask(chat("x" * 2_000_000))) for _ in range(3)] == [Reply] * 3
    assert len({received.body for received in server.received}) == 1


async def test_a_used_connection_that_breaks_late_is_a_failure(serve, connect, monkeypatch):
    monkeypatch.setattr("evalkit.endpoint.http._STALE_SECONDS", 0.0)
    server = await serve(closes_used_connections())
    client = connect(server.url)
    assert isinstance(await client.ask(chat()), Reply)
    assert kinds(await client.ask(chat())) is FailureKind.CONNECTION
    assert len(server.received) == 2


async def test_a_used_connection_that_breaks_in_the_middle_of_an_answer_is_a_failure(serve, connect):
    server = await serve(says(), drops_after(OK_BODY[:50], len(OK_BODY)))
    client = connect(server.url)
    assert isinstance(await client.ask(chat()), Reply)
    assert kinds(await client.ask(chat())) is FailureKind.CONNECTION
    assert len(server.received) == 2


async def test_a_used_connection_that_stays_silent_is_a_stall(serve, connect):
    server = await serve(says(), holds())
    client = connect(server.url, stall_seconds=1.0)
    assert isinstance(await client.ask(chat()), Reply)
    assert kinds(await client.ask(chat())) is FailureKind.STALL
    assert len(server.received) == 2


async def test_a_new_connection_that_breaks_is_asked_once(serve, connect):
    server = await serve(drops())
    assert kinds(await connect(server.url).ask(chat())) is FailureKind.CONNECTION
    assert len(server.received) == 1


async def test_an_unknown_host(connect):
    failure = await connect("http://no-such-host.invalid/v1").ask(chat())
    assert failure.kind is FailureKind.CONNECTION
    assert "cannot be resolved" in failure.detail


@pytest.mark.parametrize(
    "data", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"]
)
async def test_what_does_not_speak_http(serve_bytes, connect, data):
    failure = await connect(f"http://{await serve_bytes(data)}/v1").ask(chat())
    assert failure.kind is FailureKind.MALFORMED
    assert "does not speak HTTP" in failure.detail


@pytest.mark.parametrize(
    "header",
    [
        b"Server: \xff\xfe",
        b"X-Team: \xc3\xa9quipe",
        b"Location: http://\xff/",
        b"Retry-After: \xff",
        b"Retry-After: Mon, 99999999999 Jan 2026 00:00:00 GMT",
        b"Content-Type: application/json; charset=utf-16",
        b"Content-Type: text/html; charset=no-such",
        b"Set-Cookie: a=b; expires=Mon, 99999999999 Jan 2026",
    ],
)
@pytest.mark.parametrize(("status", "kind"), [(200, None), (429, FailureKind.RATE_LIMITED), (500, "server_error")])
async def test_no_header_is_too_odd(serve_bytes, connect, header, status, kind):
    head = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n%b\r\n\r\n" % (status, len(OK_BODY), header)
    outcome = await connect(f"http://{await serve_bytes(head + OK_BODY)}/v1").ask(chat())
    if kind is None:
        assert outcome.content == "Paris"
    else:
        assert (kinds(outcome), outcome.status, outcome.retry_after) == (kind, status, None)


async def test_a_body_without_a_length_ends_with_the_connection(serve_bytes, connect):
    address = await serve_bytes(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + OK_BODY)
    assert (await connect(f"http://{address}/v1").ask(chat())).content == "Paris"


async def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next(connect):
    """A server, or a proxy, that answers once more while the connection is idle."""

    async def connected(reader, writer):
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(int(re.search(rb"content-length: (\d+)", head.lower())[1]))
                text = orjson.loads(body)["messages"][0]["content"]
                answer = OK_BODY.replace(b"Paris", text.encode())
                whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer)
                for _ in range(2):
                    writer.write(whole)
                    await writer.drain()
                    await asyncio.sleep(0.02)
                spoken.set()

    spoken = asyncio.Event()
    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    client = connect(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
    for city in ("Oslo", "Rome", "Wien"):
        spoken.clear()
        assert (await client.ask(chat(city))).content == city
        await spoken.wait()
    server.close()


@pytest.mark.parametrize("drip", [b" ", b": no news\n\n"])
async def test_an_answer_that_drips_for_ever_is_a_stall(serve, connect, drip):
    async def drips(request):
        kind = "application/json" if drip == b" " else "text/event-stream"
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        while True:
            await response.write(drip)
            await asyncio.sleep(0.01)

    failure = await connect((await serve(drips)).url, stall_seconds=0.2).ask(chat())
    assert failure.kind is FailureKind.STALL
    assert re.search(r"not whole 0.4 s after|sent nothing more for 0.2 s", failure.detail)


async def test_a_part_of_an_answer_is_no_answer(serve, connect):
    failure = await connect((await serve(says(status=206))).url).ask(chat())
    assert (failure.kind, failure.status) == (FailureKind.MALFORMED, 206)
    assert "HTTP 206" in failure.detail
    assert isinstance(await connect((await serve(says(status=201))).url).ask(chat()), Reply)


async def test_an_error_that_drips_is_known_by_its_status(serve, connect):
    async def drips(request):
        response = web.StreamResponse(status=503)
        await response.prepare(request)
        while True:
            await response.write(b"x")
            await asyncio.sleep(0.01)

    failure = await connect((await serve(drips)).url, stall_seconds=0.2).ask(chat())
    assert (failure.kind, failure.status) == (FailureKind.SERVER_ERROR, 503)


@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 100 Continue\r\n\r\n"],
        [b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"],
        [b"HTTP/1.1 102 Processing\r\n\r\n"] * 1000,
        [b"HTTP/1.1 200 OK\r\n"] + [b"X: y\r\n"] * 1000,
    ],
    ids=["continue", "hints", "processing", "headers"],
)
async def test_an_answer_that_is_only_announced_is_a_stall(connect, pieces):
    async def announces(reader, writer):
        with suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.02)
            await reader.read(-1)

    server = await asyncio.start_server(announces, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    failure = await connect(url, stall_seconds=0.2, connect_seconds=0.2).ask(chat())
    assert failure.kind is FailureKind.STALL
    assert "sent no answer for 0.4 s" in failure.detail
    server.close()


@pytest.mark.parametrize("after", [(), (b'{"choices"',)])
async def test_silence_is_a_stall(serve, connect, after):
    server = await serve(holds(after, content_type="application/json"))
    failure = await connect(server.url, stall_seconds=0.5).ask(chat())
    assert failure.kind is FailureKind.STALL
    assert "sent nothing for 0.5 s" in failure.detail


async def test_the_total_limit_is_a_timeout(serve, connect):
    server = await serve(holds())
    failure = await connect(server.url, total_seconds=0.05).ask(chat())
    assert failure.kind is FailureKind.TIMEOUT
    assert "within 0.05 s" in failure.detail


async def test_a_connection_that_is_not_made_in_time(serve_bytes, connect):
    address = await serve_bytes(None)  # accepts, but never answers the TLS handshake
    failure = await connect(f"https://{address}/v1", connect_seconds=0.05).ask(chat())
    assert failure.kind is FailureKind.CONNECTION
    assert "within 0.05 s" in failure.detail


async def test_cancellation_passes_through(serve, connect):
    server = await serve(holds(), says())
    client = connect(server.url, concurrency=1)
    task = asyncio.create_task(client.ask(chat()))
    await server.arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(server.gone.wait(), 10)
    assert isinstance(await client.ask(chat()), Reply)


async def test_many_at_once_over_few_connections(serve, connect):
    server = await serve(says())
    client = connect(server.url, concurrency=4)
    replies = await asyncio.gather(*(client.ask(chat(str(n))) for n in range(40)))
    assert all(isinstance(reply, Reply) for reply in replies)
    assert len(server.connections) <= 4
    assert len({received.json["messages"][0]["content"] for received in server.received}) == 40


# ---------------------------------------------------------------- redirects


def moves(status, location):
    return says(b"", status, Location=location)


@pytest.mark.parametrize("status", [307, 308])
async def test_a_redirect_within_the_server_is_followed(serve, connect, status):
    server = await serve(moves(status, "/v2/chat/completions"), says())
    assert isinstance(await connect(server.url).ask(chat()), Reply)
    first, second = server.received
    assert (second.method, second.path, second.body) == ("POST", "/v2/chat/completions", first.body)


async def test_three_redirects_are_followed_and_no_more(serve, connect):
    server = await serve(*[moves(307, "/again")] * 3, says())
    assert isinstance(await connect(server.url).ask(chat()), Reply)
    server = await serve(moves(307, "/again"))
    assert kinds(await connect(server.url).ask(chat())) is FailureKind.REDIRECT
    assert len(server.received) == 4


async def test_a_redirect_to_another_server_is_never_followed(serve, connect):
    other = await serve(says())
    server = await serve(moves(307, other.url + "/chat/completions?token=abc"))
    failure = await connect(server.url, api_key="sk-secret").ask(chat())
    assert failure.kind is FailureKind.REDIRECT
    assert not other.received
    assert other.origin in failure.detail
    assert "token" not in failure.detail


@pytest.mark.parametrize("location", ["", "http://", "http://[", "ftp://127.0.0.1/x", "//user:secret@other.invalid/"])
async def test_a_redirect_to_nowhere(serve, connect, location):
    server = await serve(moves(307, location))
    failure = await connect(server.url).ask(chat())
    assert failure.kind is FailureKind.REDIRECT
    assert "secret" not in failure.detail


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304])
async def test_a_redirect_that_would_lose_the_question_is_not_followed(serve, connect, status):
    server = await serve(moves(status, "/v2/chat/completions"))
    failure = await connect(server.url).ask(chat())
    assert (failure.kind, failure.status) == (FailureKind.REDIRECT, status)
    assert "/v2/chat/completions" in failure.detail
    assert len(server.received) == 1


# ---------------------------------------------------------------- streams


async def test_a_stream_is_asked_for_and_put_together(serve, connect):
    usage = {"prompt_tokens": 7, "completion_tokens": 2}
    server = await serve(
        streams(delta("Par"), delta("is"), delta(finish="stop"), event({"choices": [], "usage": usage}), DONE)
    )
    client = connect(server.url, stream=True)
    for _ in range(2):
        reply = await client.ask(chat())
        assert (reply.content, reply.finish_reason, reply.usage) == ("Paris", "stop", Usage(7, 2))
        assert orjson.loads(reply.raw)["choices"][0]["message"]["content"] == "Paris"
    assert server.received[0].json["stream"] is True
    assert server.received[0].json["stream_options"] == {"include_usage": True}
    assert server.received[0].headers["accept-encoding"] == "identity"
    assert len(server.connections) == 1


async def test_a_stream_cut_into_single_bytes(serve, connect):
    body = delta("naïve 東京 🙂") + delta(finish="stop") + DONE
    server = await serve(streams(*(body[i : i + 1] for i in range(len(body)))))
    assert (await connect(server.url, stream=True).ask(chat())).content == "naïve 東京 🙂"


async def test_a_stream_of_plain_text(serve, connect):
    server = await serve(
        streams(
            event({"choices": [{"text": "Par"}]}), event({"choices": [{"text": "is", "finish_reason": "stop"}]}), DONE
        )
    )
    assert (await connect(server.url, stream=True).ask(plain())).content == "Paris"


async def test_a_server_that_does_not_stream_is_read_all_the_same(serve, connect):
    server = await serve(says())
    assert (await connect(server.url, stream=True).ask(chat())).raw == OK_BODY


async def test_a_server_that_streams_unasked_is_read_all_the_same(serve, connect):
    server = await serve(streams(delta("Paris"), delta(finish="stop"), DONE))
    assert (await connect(server.url).ask(chat())).content == "Paris"


async def test_a_stream_that_ends_a_moment_after_done_leaves_its_connection_usable(serve, connect):
    server = await serve(streams(delta("Paris"), delta(finish="stop"), DONE, pause_seconds=0.02))
    client = connect(server.url, stream=True)
    assert [(await client.ask(chat())).content for _ in range(3)] == ["Paris"] * 3
    assert len(server.connections) == 1


async def test_a_server_that_says_done_and_holds_on_is_left(serve, connect):
    server = await serve(holds((delta("Paris"), delta(finish="stop"), DONE)))
    assert (await connect(server.url, stream=True).ask(chat())).content == "Paris"
    await asyncio.wait_for(server.gone.wait(), 10)


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        (streams(delta("half")), FailureKind.MALFORMED),
        (streams(delta("half"), b'data: {"choices": [{"ind'), FailureKind.MALFORMED),
        (streams(delta("half"), drop=True), FailureKind.CONNECTION),
        (streams(delta("half"), event({"error": {"message": "engine died"}}), DONE), FailureKind.SERVER_ERROR),
        (streams(delta("half"), delta(finish="abort"), DONE), FailureKind.SERVER_ERROR),
        (streams(delta("half"), DONE), FailureKind.MALFORMED),
        (streams(event({"error": {"code": "context_length_exceeded"}})), FailureKind.CONTEXT_OVERFLOW),
        (streams(DONE), FailureKind.MALFORMED),
        (says(b'{"error": "busy"}', 429), FailureKind.RATE_LIMITED),
    ],
)
async def test_half_a_stream_is_no_reply(serve, connect, behaviour, kind):
    server = await serve(behaviour)
    assert kinds(await connect(server.url, stream=True).ask(chat())) is kind


async def test_a_stream_that_falls_silent_is_a_stall(serve, connect):
    server = await serve(holds((delta("half"),)))
    assert kinds(await connect(server.url, stream=True, stall_seconds=0.05).ask(chat())) is FailureKind.STALL


@pytest.fixture
def short_silences(monkeypatch):
    """A stall after 0.2 s in place of 600, and 2 tokens a second at the least: 30 s for 60 tokens."""
    monkeypatch.setattr("evalkit.endpoint.settings.STALL_SECONDS", 0.2)
    monkeypatch.setattr("evalkit.endpoint.settings.SLOWEST_TOKENS_PER_SECOND", 2.0)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_may_be_as_long_in_coming_as_its_tokens_take(serve, connect, short_silences, stream):
    async def slow(request):
        await asyncio.sleep(0.6)
        return await says()(request)

    server = await serve(slow)
    client = connect(server.url, stream=stream, stall_seconds=None)
    assert (await client.ask(chat(max_tokens=60))).content == "Paris"
    failure = await client.ask(chat(max_tokens=0))
    assert failure.kind is FailureKind.STALL
    assert "sent nothing for 0.2 s" in failure.detail


async def test_a_stream_may_wait_for_its_first_piece_but_not_within(serve, connect, short_silences):
    async def queued(request):
        await asyncio.sleep(0.6)
        return await holds((delta("half"),))(request)

    server = await serve(queued)
    failure = await connect(server.url, stream=True, stall_seconds=None).ask(chat(max_tokens=60))
    assert failure.kind is FailureKind.STALL
    assert "sent nothing more for 0.2 s" in failure.detail


async def test_a_stream_lives_for_as_long_as_pieces_come(serve, connect, monkeypatch):
    monkeypatch.setattr("evalkit.endpoint.settings.STALL_SECONDS", 1.0)

    async def slowly(request):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for _ in range(15):
            await asyncio.sleep(0.1)
            await response.write(delta("word "))
        await response.write(delta(finish="stop") + DONE)
        return response

    server = await serve(slowly)
    reply = await connect(server.url, stream=True, stall_seconds=None).ask(chat(max_tokens=38_912))
    assert reply.content == "word " * 15
    assert reply.seconds > 1.0


@pytest.mark.parametrize("stream", [False, True])
async def test_38912_tokens_at_ten_a_second_survive(serve, connect, monkeypatch, stream):
    """An hour of generation, 2,000 times as fast but for the limit on silence: a second of it in place of 0.3."""
    monkeypatch.setattr("evalkit.endpoint.settings.STALL_SECONDS", 1.0)
    monkeypatch.setattr("evalkit.endpoint.settings.SLOWEST_TOKENS_PER_SECOND", 10_000.0)
    tokens, bursts = 38_912, 32
    seconds = tokens / 20_000

    async def whole(request):
        await asyncio.sleep(seconds)
        return await says(OK_BODY.replace(b"Paris", b"t " * tokens))(request)

    async def streamed(request):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for _ in range(bursts):
            await asyncio.sleep(seconds / bursts)
            await response.write(delta("t ") * (tokens // bursts))
        await response.write(delta(finish="stop") + DONE)
        return response

    server = await serve(streamed if stream else whole)
    reply = await connect(server.url, stream=stream, stall_seconds=None).ask(chat(max_tokens=tokens))
    assert reply.content == "t " * tokens
    assert reply.seconds > 1.0, "longer than any silence that is borne between pieces"


async def test_a_stream_that_takes_too_long_in_all_is_a_timeout(serve, connect):
    server = await serve(holds((delta("half"),)))
    assert kinds(await connect(server.url, stream=True, total_seconds=0.05).ask(chat())) is FailureKind.TIMEOUT


# ---------------------------------------------------------------- replicas


async def test_load_is_spread_over_replicas(serve, connect):
    servers = [await serve(says()) for _ in range(2)]
    client = connect(*(server.url for server in servers))
    await asyncio.gather(*(client.ask(chat()) for _ in range(10)))
    assert [len(server.received) for server in servers] == [5, 5]


async def test_a_dead_replica_is_rested(serve, connect, unused_tcp_port):
    server = await serve(says())
    client = connect(f"http://127.0.0.1:{unused_tcp_port}/v1", server.url)
    outcomes = [await client.ask(chat()) for _ in range(12)]
    assert [isinstance(outcome, Failure) for outcome in outcomes].count(True) == 3
    assert all(isinstance(outcome, Reply) for outcome in outcomes[6:])


async def test_an_outcome_says_which_address_gave_it_without_its_key(serve, connect):
    good, bad = await serve(says()), await serve(says(b"", 400))
    for server, key in ((good, "one"), (bad, "two")):
        url = f"{server.url}?api_key=sk-{key}-123456"
        outcome = await connect(url).ask(chat())
        assert outcome.address == f"{server.url}?api_key=***"
    client = connect(good.url, bad.url)
    asked = [await client.ask(chat()) for _ in range(4)]
    assert {(type(outcome).__name__, outcome.address) for outcome in asked} == {
        ("Reply", good.url),
        ("Failure", bad.url),
    }


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
async def test_a_replica_that_answers_everything_with_an_error_is_rested(serve, connect, status):
    """It would be the one with the fewest in flight, and draw nearly every request to itself."""
    bad, good = await serve(says(b"", status)), await serve(says())
    client = connect(bad.url, good.url)
    for _ in range(12):
        await client.ask(chat())
    assert (len(bad.received), len(good.received)) == (3, 9)


async def test_a_replica_that_refuses_what_it_is_asked_stays(serve, connect):
    refusing, good = await serve(says(b"", 400)), await serve(says())
    client = connect(refusing.url, good.url)
    for _ in range(12):
        await client.ask(chat())
    assert (len(refusing.received), len(good.received)) == (6, 6)
