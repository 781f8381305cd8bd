"""Requests as they are sent; replies as they are read."""

import gzip
import re

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.endpoint.body import parse_reply, request_bytes, request_fields
from evalkit.model import Failure, FailureKind, Prompt, Reply, Request, Usage


def request(prompt=None, seed=None, **parameters):
    prompt = prompt or Prompt("d", messages=({"role": "user", "content": "Hi"},))
    return Request("k", "suite", "item", 0, prompt, parameters, seed)


def sent(asked, stream=False):
    return orjson.loads(request_bytes(request_fields(asked, asked.prompt.messages, model="tiny", stream=stream)))


def read(document, chat=True):
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    return parse_reply(body, chat=chat, seconds=0.5)


def answer(message=None, **choice):
    message = {"role": "assistant", "content": "Paris"} if message is None else message
    return {"model": "tiny-1", "choices": [{"index": 0, "message": message, "finish_reason": "stop"} | choice]}


def test_a_chat_request_has_everything_once():
    fields = sent(request(seed=3, temperature=0.6, max_tokens=9, stop=["\n"], top_k=20))
    assert fields == {
        "model": "tiny",
        "temperature": 0.6,
        "max_tokens": 9,
        "stop": ["\n"],
        "top_k": 20,
        "messages": [{"role": "user", "content": "Hi"}],
        "seed": 3,
        "stream": False,
    }


def test_raw_text_goes_as_a_prompt():
    fields = sent(request(Prompt("d", text="Once upon"), temperature=0))
    assert fields == {"model": "tiny", "temperature": 0, "prompt": "Once upon", "stream": False}


def test_a_request_of_its_own_model_and_seed():
    assert sent(request(model="other", seed=5))["model"] == "other"
    assert sent(request(seed=0))["seed"] == 0
    assert "seed" not in sent(request())


def test_streams_ask_for_usage_and_others_do_not():
    assert sent(request(), stream=True)["stream_options"] == {"include_usage": True}
    chosen = {"include_usage": True, "continuous_usage_stats": True}
    assert sent(request(stream_options=chosen), stream=True)["stream_options"] == chosen
    assert "stream_options" not in sent(request(stream_options=chosen))


@pytest.mark.parametrize("parameters", [{"stop": {"a"}}, {"user": "half \ud83d"}, {"n": 2**80}])
def test_what_has_no_json_form_is_a_failure(parameters):
    fields = request_fields(request(**parameters), (), model="tiny", stream=False)
    failure = request_bytes(fields)
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.BAD_REQUEST


def test_a_whole_reply():
    body = orjson.dumps(answer() | {"usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}})
    assert read(body) == Reply("Paris", "", "stop", Usage(7, 2), "tiny-1", 0.5, body)


@pytest.mark.parametrize(
    ("message", "content", "reasoning"),
    [
        ({"content": None}, "", ""),
        ({}, "", ""),
        ({"content": ""}, "", ""),
        ({"content": "4", "reasoning_content": "2+2"}, "4", "2+2"),
        ({"content": "4", "reasoning": "2+2"}, "4", "2+2"),
        ({"content": "4", "reasoning_content": None, "reasoning": "2+2"}, "4", "2+2"),
        ({"content": "4", "reasoning_content": "2+2", "reasoning": "2+2"}, "4", "2+2"),
        ({"content": "4", "reasoning": {"effort": "low"}}, "4", ""),
        ({"content": None, "reasoning_content": "only thought"}, "", "only thought"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "ab", ""),
        ({"content": ["a", {"type": "image_url"}, 3]}, "a", ""),
        ({"content": []}, "", ""),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "2+2"}]},
                    {"type": "text", "text": "4"},
                ]
            },
            "4",
            "2+2",
        ),
        ({"content": [{"type": "reasoning", "reasoning": "2+2"}, {"type": "text", "text": "4"}]}, "4", "2+2"),
    ],
)
def test_contents_of_every_shape(message, content, reasoning):
    reply = read(answer(message))
    assert (reply.content, reply.reasoning) == (content, reasoning)


def test_of_several_choices_the_one_of_index_0_is_read_wherever_it_is_listed():
    choices = [{"index": n, "message": {"content": text}, "finish_reason": "stop"} for n, text in ((1, "B"), (0, "A"))]
    assert read({"choices": choices}).content == "A"
    assert read({"choices": choices[:1]}).content == "B", "a server may count from 1"


@pytest.mark.parametrize(
    ("message", "told", "kept"),
    [
        ({"content": None, "refusal": "I cannot help with that."}, "stop", "refusal"),
        ({"content": [{"type": "refusal", "refusal": "I cannot."}]}, "stop", "refusal"),
        ({"content": "", "tool_calls": [{"function": {"name": "calculate"}}]}, "tool_calls", "tool_calls"),
        ({"content": "", "tool_calls": [{"function": {"name": "calculate"}}]}, "stop", "tool_calls"),
        ({"content": None, "function_call": {"name": "calculate"}}, "function_call", "tool_calls"),
        ({"content": "Answer: A", "refusal": None, "tool_calls": []}, "stop", "stop"),
        ({"content": "Answer: A", "tool_calls": [{"function": {"name": "calculate"}}]}, "tool_calls", "tool_calls"),
        ({"content": "", "refusal": ""}, "stop", "stop"),
    ],
)
def test_a_refusal_or_a_tool_call_in_the_place_of_a_text_is_how_a_reply_ended(message, told, kept):
    assert read(answer(message, finish_reason=told)).finish_reason == kept


def test_plain_completions():
    logprobs = {"tokens": ["Par", "is"], "token_logprobs": [-0.1, -0.2], "top_logprobs": None, "text_offset": [0, 3]}
    reply = read({"choices": [{"text": "Paris", "logprobs": logprobs, "finish_reason": "length"}]}, chat=False)
    assert (reply.content, reply.finish_reason) == ("Paris", "length")
    assert orjson.loads(reply.raw)["choices"][0]["logprobs"] == logprobs
    assert read({"choices": [{"text": None}]}, chat=False).content == ""


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        (None, Usage()),
        ({}, Usage()),
        ({"prompt_tokens": 0, "completion_tokens": 5}, Usage(0, 5)),
        ({"prompt_tokens": True, "completion_tokens": "5"}, Usage()),
        ({"prompt_tokens": -1, "completion_tokens": 5.0}, Usage()),
        ([], Usage()),
    ],
)
def test_token_counts_are_whole_numbers_or_nothing(usage, counts):
    assert read(answer() | {"usage": usage}).usage == counts


ENDED = ("stop", "length", "content_filter", "tool_calls", "function_call", "eos_token", "stop_sequence")
"""As the servers write them that are known to write them."""


@pytest.mark.parametrize("role", ["user", "system", "tool", "User"])
def test_a_message_of_a_prompt_s_role_is_no_answer(role):
    failure = read(answer({"role": role, "content": "Which city is it?"}))
    assert (failure.kind, "role" in failure.detail) == (FailureKind.MALFORMED, True)


@pytest.mark.parametrize("role", ["assistant", None, "", "model"])
def test_a_message_of_the_model_s_role_is_an_answer(role):
    assert read(answer({"role": role, "content": "Paris"})).content == "Paris"


@pytest.mark.parametrize("status", ["failed", "error", "CANCELLED"])
def test_a_body_that_says_it_failed_is_no_answer(status):
    failure = read(answer() | {"status": status})
    assert (failure.kind, status in failure.detail) == (FailureKind.SERVER_ERROR, True)
    assert read(answer() | {"status": "completed"}).content == "Paris"


@pytest.mark.parametrize("reason", ["abort", "cancelled"])
def test_a_stop_reason_of_a_generation_that_was_given_up_counts_before_the_finish_reason(reason):
    failure = read(answer(stop_reason=reason))
    assert (failure.kind, reason in failure.detail) == (FailureKind.SERVER_ERROR, True)
    assert read(answer(stop_reason=151643)).content == read(answer(stop_reason="\n")).content == "Paris"


@pytest.mark.parametrize("index", [0, 1])
def test_two_choices_of_one_index_are_no_answer(index):
    choices = [{"index": index, "message": {"content": text}, "finish_reason": "stop"} for text in "AB"]
    failure = read({"choices": choices})
    assert (failure.kind, "the same index" in failure.detail) == (FailureKind.MALFORMED, True)


@pytest.mark.parametrize("reason", [*ENDED, None])
def test_finish_reasons_are_kept(reason):
    assert read(answer(finish_reason=reason)).finish_reason == reason


@pytest.mark.parametrize(("told", "kept"), [("STOP", "stop"), ("Length", "length"), ({"type": "length"}, "length")])
def test_a_finish_reason_is_known_in_capitals_and_in_an_object(told, kept):
    assert read(answer(finish_reason=told)).finish_reason == kept


def test_an_answer_may_say_nothing_of_its_end_or_of_its_model():
    whole = answer()
    del whole["choices"][0]["finish_reason"]
    reply = read(whole | {"model": 7, "error": None})
    assert (reply.finish_reason, reply.model) == (None, None)


@pytest.mark.parametrize(("told", "kept"), [("fp_1", "fp_1"), (None, ""), ("", ""), (7, "7")])
def test_a_reply_names_the_build_where_the_server_does(told, kept):
    assert read(answer() | {"system_fingerprint": told}).fingerprint == kept
    assert read(answer()).fingerprint == ""


GIVEN_UP = [
    ("abort", "abort"),
    ("ABORT", "ABORT"),
    ("error", "error"),
    ("cancelled", "cancelled"),
    ("timeout", "timeout"),
    ("engine_error", "engine_error"),
    ("insufficient_system_resource", "insufficient_system_resource"),
    ("stopped", "stopped"),
    ("", "''"),
    ({"type": "abort", "message": "preempted"}, "abort"),
    ({}, "{}"),
    (["stop"], "['stop']"),
    (7, "7"),
    (False, "False"),
]


@pytest.mark.parametrize(("told", "word"), GIVEN_UP)
@pytest.mark.parametrize("chat", [True, False])
def test_a_generation_that_was_given_up_is_no_reply_and_named_in_the_servers_word(told, word, chat):
    whole = answer(finish_reason=told)
    whole["choices"][0] |= {} if chat else {"text": "Paris"}
    failure = read(whole, chat=chat)
    assert (failure.kind, failure.status) == (FailureKind.SERVER_ERROR, 200)
    assert word in failure.detail


@pytest.mark.parametrize("error", [{"code": 502, "message": "the provider went away"}, "the provider went away"])
def test_an_error_inside_a_choice_is_no_reply(error):
    whole = answer(finish_reason="stop")
    whole["choices"][0]["error"] = error
    failure = read(whole)
    assert failure.kind is FailureKind.SERVER_ERROR
    assert "the provider went away" in failure.detail
    whole["choices"][0]["error"] = None
    assert read(whole).content == "Paris"


WHOLE = orjson.dumps(answer())


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty body"),
        (b"  \n", "empty body"),
        (WHOLE[:-10], "not JSON"),
        (WHOLE.replace(b"Paris", b"Par\xff\xfeis"), "not UTF-8"),
        (WHOLE.replace(b"Paris", b"\xe6\x9d"), "not UTF-8"),
        (gzip.compress(WHOLE), "not UTF-8"),
        (b"<!doctype html><title>Log in</title>", "an HTML page titled 'Log in'"),
        (b"data: {}\n\n", "not JSON"),
        (b"null", "no choices"),
        (b"[]", "no choices"),
        (b"{}", "no choices"),
        (b'{"choices": []}', "no choices"),
        (b'{"choices": {}}', "no choices"),
        (b'{"choices": [null]}', "no choices"),
        (b'{"choices": [{}]}', "no message"),
        (b'{"choices": [{"message": "Paris"}]}', "no message"),
        (b'{"choices": [{"message": {"content": 7}}]}', "no message"),
        (b'{"choices": [{"text": "Paris"}]}', "no message"),
        (b'{"error": {"message": "CUDA out of memory"}}', "CUDA out of memory"),
        (b'{"object": "error", "message": "engine died", "code": 500}', "engine died"),
        (b'{"error": "busy", "choices": []}', "busy"),
        (b"[" * 5000, "not JSON"),
    ],
)
def test_what_is_no_whole_answer_is_malformed(body, says):
    failure = read(body)
    assert (failure.kind, failure.status) == (FailureKind.MALFORMED, 200)
    assert says in failure.detail


def test_chat_where_text_was_asked_for_is_malformed():
    assert "no text" in read(answer(), chat=False).detail
    assert read({"choices": [{"text": 7}]}, chat=False).kind is FailureKind.MALFORMED


def test_an_overflow_inside_a_200_is_still_an_overflow():
    failure = read({"error": {"message": "too long", "code": "context_length_exceeded"}})
    assert failure.kind is FailureKind.CONTEXT_OVERFLOW


@pytest.mark.parametrize(
    ("body", "raw"),
    [
        (WHOLE, WHOLE),
        (WHOLE + b"\n", WHOLE),
        (b"\r\n" + WHOLE, WHOLE),
        (WHOLE.replace(b":", b": ") + b"\n", WHOLE.replace(b":", b": ")),
        (orjson.dumps(answer(), option=orjson.OPT_INDENT_2), WHOLE),
        (b"\xef\xbb\xbf" + WHOLE, WHOLE),
        (
            WHOLE.replace(b'"Paris"', b'"Paris","logprob":-Infinity'),
            WHOLE.replace(b'"Paris"', b'"Paris","logprob":null'),
        ),
        (WHOLE.replace(b"Paris", rb"Paris \ud83d"), WHOLE.replace(b"Paris", "Paris \ufffd".encode())),
        (WHOLE.replace(b"Paris", rb"Paris \ud83d\ude00"), WHOLE.replace(b"Paris", rb"Paris \ud83d\ude00")),
    ],
)
def test_raw_is_the_body_as_one_line_of_json(body, raw):
    assert read(body).raw == raw


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "text", "error", "usage", "x"]), inner, max_size=5
        )
    ),
    max_leaves=15,
)


@given(
    JSON.map(lambda document: __import__("json").dumps(document).encode()) | st.binary(max_size=200),
    st.booleans(),
    st.sampled_from([b"", b"\n", b" \r\n"]),
)
def test_whatever_the_body_there_is_a_reply_or_a_failure(body, chat, end):
    outcome = parse_reply(body + end, chat=chat, seconds=1.0)
    if isinstance(outcome, Reply):
        assert b"\n" not in outcome.raw
        assert b"\r" not in outcome.raw
        assert parse_reply(outcome.raw, chat=chat, seconds=1.0) == outcome
    else:
        assert outcome.kind in {FailureKind.MALFORMED, FailureKind.SERVER_ERROR, FailureKind.CONTEXT_OVERFLOW}


@given(st.text(), st.text(), st.integers(0, 10**9))
def test_texts_arrive_as_they_were_sent(content, reasoning, tokens):
    document = answer({"content": content, "reasoning_content": reasoning}) | {"usage": {"completion_tokens": tokens}}
    reply = read(document)
    assert (reply.content, reply.reasoning, reply.usage.completion_tokens) == (content, reasoning, tokens)


@pytest.mark.parametrize(
    "told",
    [
        "A uniform rod of mass M lies at rest on a table. Which of these is its period",
        "Which?",
        "one\ntwo",
        "x" * 301,
        "\u4e00\u4e2a" * 11,
    ],
)
def test_a_name_that_is_a_text_is_kept_by_its_digest_alone(told):
    found = read(answer() | {"system_fingerprint": told, "model": told})
    assert found.fingerprint == found.model
    assert re.fullmatch(r"\(no name, [0-9a-f]{12}\)", found.model)
    assert read(answer() | {"model": f"{told}!"}).model != found.model, "two of them are two models"


@pytest.mark.parametrize(
    "told", ["Qwen/Qwen3-8B", "Qwen3 30B (A3B)", "/models/" + "hub/" * 60 + "snapshot", "fp_44709d6fcb"]
)
def test_a_name_stays_as_it_is(told):
    assert read(answer() | {"model": told, "system_fingerprint": told}).model == told
