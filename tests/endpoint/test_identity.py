"""What an endpoint tells of itself."""

import orjson
import pytest
from aiohttp import web
from loopback import holds, says, streams

from evalkit.endpoint.identity import Names, endpoint_identity, served_models
from evalkit.endpoint.settings import ClientSettings
from evalkit.model import Failure, FailureKind

VLLM_MODELS = {
    "object": "list",
    "data": [
        {"id": "tiny", "object": "model", "owned_by": "vllm", "max_model_len": 4096},
        {"id": "tiny-lora", "object": "model", "owned_by": "vllm", "max_model_len": None},
    ],
}


def settings(server, **changes):
    return ClientSettings(**{"base_urls": (server.url,), "model": "tiny"} | changes)


def pages(**bodies):
    """Answers by path; anything else is a 404."""

    async def behave(request):
        body = bodies.get(request.path.strip("/").replace("/", "_"))
        if body is None:
            return web.json_response({"detail": "Not Found"}, status=404)
        return web.Response(body=body if isinstance(body, bytes) else orjson.dumps(body), headers={"Server": "uvicorn"})

    return behave


async def test_reads_the_list_of_models(serve):
    server = await serve(says(orjson.dumps(VLLM_MODELS) + b"\n"))
    found = await served_models(settings(server, api_key="sk-1"))
    assert found.ids == ("tiny", "tiny-lora")
    assert found.max_model_len == {"tiny": 4096}
    assert (server.received[0].method, server.received[0].path) == ("GET", "/v1/models")
    assert server.received[0].headers["authorization"] == "Bearer sk-1"


def entry(name, **more):
    return {"id": name, "object": "model", "owned_by": "somebody", "created": 1, **more}


@pytest.mark.parametrize(
    ("entries", "same", "left_open", "other"),
    [
        ([entry("tiny")], {"tiny"}, set(), set()),
        # vLLM: --served-model-name tiny small, and a LoRA
        (
            [entry("tiny", root="/w"), entry("small", root="/w"), entry("lora", root="/l", parent="tiny")],
            {"tiny", "small", "/w"},
            set(),
            {"lora"},
        ),
        # a root that is the name itself says nothing
        ([entry("tiny", root="tiny"), entry("b", root="b")], {"tiny"}, {"b"}, set()),
        # llama.cpp: --alias tiny,small
        ([entry("tiny", aliases=["tiny", "small", 7], meta={"n_params": 3})], {"tiny", "small"}, set(), set()),
        ([entry("first", aliases=["tiny"]), entry("tiny")], {"first", "tiny"}, set(), set()),
        ([entry("tiny", created=1), entry("tiny-2024-08-06", created=2)], {"tiny"}, {"tiny-2024-08-06"}, set()),
        ([entry("tiny", max_model_len=4096), entry("b", max_model_len=8192)], {"tiny"}, set(), {"b"}),
        ([entry("a"), entry("b")], {"tiny"}, {"a", "b"}, set()),
        ([entry("tiny", root=7, aliases="x")], {"tiny"}, set(), set()),
    ],
)
async def test_the_list_says_which_names_are_one_models(serve, entries, same, left_open, other):
    found = await served_models(settings(await serve(says(orjson.dumps({"data": entries})))))
    assert found.names("tiny") == Names(frozenset(same), frozenset(left_open), frozenset(other))


def test_a_name_that_one_address_gives_the_model_is_its_name_at_all():
    one = Names(frozenset({"a"}), frozenset({"b"}), frozenset({"c", "d"}))
    assert one.joined(Names(frozenset({"a", "b"}), frozenset({"c"}))) == Names(
        frozenset({"a", "b"}), frozenset({"c"}), frozenset({"d"})
    )


async def test_odd_entries_are_passed_over(serve):
    entries = [{"id": "a", "owned_by": 7, "max_model_len": True}, {"id": 7}, "b", {}, {"id": "c", "max_model_len": -1}]
    found = await served_models(settings(await serve(says(orjson.dumps({"data": entries})))))
    assert (found.ids, found.max_model_len) == (("a", "c"), {})


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        (says(b'{"detail": "Not Found"}', 404), FailureKind.NOT_FOUND),
        (says(b"key sk-secret is wrong", 401), FailureKind.AUTH),
        (says(b"{}"), FailureKind.MALFORMED),
        (says(b"[]"), FailureKind.MALFORMED),
        (says(b"<html>"), FailureKind.MALFORMED),
        (holds(), FailureKind.STALL),
    ],
)
async def test_no_list_is_a_failure(serve, behaviour, kind):
    failure = await served_models(settings(await serve(behaviour), api_key="sk-secret", stall_seconds=0.05))
    assert isinstance(failure, Failure)
    assert failure.kind is kind
    assert "sk-secret" not in failure.detail


async def test_an_endpoint_that_is_down(unused_tcp_port):
    down = ClientSettings((f"http://127.0.0.1:{unused_tcp_port}/v1",), "tiny")
    assert (await served_models(down)).kind is FailureKind.CONNECTION
    assert await endpoint_identity(down) == {}


@pytest.mark.parametrize(
    ("bodies", "identity"),
    [
        ({"v1_models": VLLM_MODELS, "version": {"version": "0.11.0"}}, {"owned_by": "vllm", "version": "0.11.0"}),
        (
            {
                "props": {
                    "build_info": "b6000-abc",
                    "model_path": "m.gguf",
                    "total_slots": 2,
                    "default_generation_settings": {"n_ctx": 2048},
                    "chat_template": "x",
                }
            },
            {"llama_cpp_build": "b6000-abc", "model_path": "m.gguf", "slots": "2", "context_tokens": "2048"},
        ),
        (
            {
                "get_server_info": {"version": "0.5.4", "api_key": "sk-secret", "tp_size": 2},
                "get_model_info": {"model_path": "org/tiny"},
            },
            {"sglang_version": "0.5.4", "model_path": "org/tiny"},
        ),
        ({"version": b"not json", "props": [1], "get_server_info": {"version": None}, "v1_models": {"data": [3]}}, {}),
    ],
)
async def test_reads_what_each_server_tells(serve, bodies, identity):
    server = await serve(pages(**bodies))
    told = await endpoint_identity(settings(server))
    assert told.pop("server")
    assert told == identity


async def test_an_identity_is_bounded_and_holds_no_key(serve):
    server = await serve(pages(version={"version": "sk-secret" + "x" * 5000}))
    told = await endpoint_identity(settings(server, api_key="sk-secret"))
    assert told["version"].startswith("[redacted]x")
    assert len(told["version"]) == 500


@pytest.mark.parametrize(
    "behaviour",
    [
        holds(),
        says(b"x" * 5_000_000),
        streams(b"data: 1\n\n", drop=True),
        says(b"", 307, Location="http://other.invalid/"),
    ],
)
async def test_an_identity_never_fails(serve, behaviour):
    server = await serve(behaviour)
    told = await endpoint_identity(settings(server, stall_seconds=0.05))
    assert set(told) <= {"server"}
