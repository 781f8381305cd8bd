"""Streams put together: the same reply as without streaming, or a failure, never half an answer."""

from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.endpoint.body import parse_reply
from evalkit.endpoint.stream import StreamedReply
from evalkit.model import Failure, FailureKind, Usage

DONE = b"data: [DONE]\n\n"


def event(document):
    return b"data: " + (document if isinstance(document, bytes) else orjson.dumps(document)) + b"\n\n"


def chat(delta, **choice):
    return event(
        {
            "id": "c1",
            "object": "chat.completion.chunk",
            "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": None} | choice],
        }
    )


def text(piece, **choice):
    return event(
        {
            "id": "c1",
            "object": "text_completion",
            "model": "m",
            "choices": [{"index": 0, "text": piece, "finish_reason": None} | choice],
        }
    )


END = chat({}, finish_reason="stop")


def assemble(*chunks):
    reply = StreamedReply()
    for chunk in chunks:
        if reply.feed(chunk):
            break
    return reply.finish()


def document(*chunks):
    body = assemble(*chunks)
    assert isinstance(body, bytes), body
    return orjson.loads(body)


def test_a_stream_becomes_the_body_without_streaming():
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    whole = document(
        chat({"role": "assistant", "content": ""}),
        chat({"content": "Par"}),
        chat({"content": "is"}),
        END,
        event({"id": "c1", "model": "m", "choices": [], "usage": usage}),
        DONE,
    )
    assert whole == {
        "id": "c1",
        "model": "m",
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Paris"},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": usage,
    }
    reply = parse_reply(orjson.dumps(whole), chat=True, seconds=1.0)
    assert (reply.content, reply.finish_reason, reply.usage) == ("Paris", "stop", Usage(7, 2))


@given(st.lists(st.text(), max_size=12), st.lists(st.text(), max_size=12), st.data())
def test_any_pieces_in_any_chunks_give_the_same_texts(thoughts, pieces, data):
    stream = b"".join(
        [*(chat({"reasoning_content": t}) for t in thoughts), *(chat({"content": p}) for p in pieces), END, DONE]
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    bounds = [0, *cuts, len(stream)]
    body = assemble(*(stream[a:b] for a, b in pairwise(bounds)))
    reply = parse_reply(body, chat=True, seconds=1.0)
    assert (reply.content, reply.reasoning) == ("".join(pieces), "".join(thoughts))


def test_reasoning_under_its_other_name_and_in_both():
    message = document(
        chat({"reasoning": "2+", "reasoning_content": "2+"}),
        chat({"reasoning": "2", "reasoning_content": "2"}),
        chat({"content": "4"}),
        END,
    )["choices"][0]["message"]
    assert message == {"role": "assistant", "content": "4", "reasoning": "2+2", "reasoning_content": "2+2"}


def test_roles_in_every_event_are_said_once():
    whole = document(chat({"role": "assistant", "content": "a"}), chat({"role": "assistant", "content": "b"}), END)
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": "ab"}


def test_plain_text_with_its_logprobs():
    pieces = [("Par", [-0.1], [0]), ("is", [-0.2], [3])]
    whole = document(
        *(
            text(p, logprobs={"tokens": [p], "token_logprobs": lp, "top_logprobs": None, "text_offset": at})
            for p, lp, at in pieces
        ),
        text("", finish_reason="length"),
        DONE,
    )
    assert whole["object"] == "text_completion"
    assert whole["choices"] == [
        {
            "index": 0,
            "text": "Paris",
            "logprobs": {"tokens": ["Par", "is"], "token_logprobs": [-0.1, -0.2], "text_offset": [0, 3]},
            "finish_reason": "length",
        }
    ]


def test_logprobs_of_a_chat_are_joined():
    tokens = [
        {"token": "Par", "logprob": -0.1, "top_logprobs": []},
        {"token": "is", "logprob": -0.2, "top_logprobs": []},
    ]
    whole = document(*(chat({"content": t["token"]}, logprobs={"content": [t]}) for t in tokens), END, DONE)
    assert whole["choices"][0]["logprobs"] == {"content": tokens}


def test_what_the_server_adds_at_the_end_is_kept():
    choice = document(chat({"content": "a"}), chat({}, finish_reason="stop", stop_reason=151643, matched_stop="</s>"))[
        "choices"
    ][0]
    assert (choice["finish_reason"], choice["stop_reason"], choice["matched_stop"]) == ("stop", 151643, "</s>")


def test_tool_calls_are_joined():
    calls = [
        {"index": 0, "id": "t1", "type": "function", "function": {"name": "add", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"a":'}},
        {"index": 1, "id": "t2", "type": "function", "function": {"name": "sub", "arguments": "{}"}},
        {"index": 0, "id": None, "function": {"arguments": "1}"}},
        "nonsense",
    ]
    message = document(*(chat({"tool_calls": [call]}) for call in calls), END)["choices"][0]["message"]
    assert message["tool_calls"] == [
        {"function": {"name": "add", "arguments": '{"a":1}'}, "id": "t1", "type": "function"},
        {"function": {"name": "sub", "arguments": "{}"}, "id": "t2", "type": "function"},
    ]


def test_content_in_parts():
    message = document(
        chat({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "2+2"}]}]}),
        chat({"content": [{"type": "text", "text": "4"}]}),
        chat({"content": "!"}),
        END,
    )["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("4!", "2+2")


def test_halves_of_an_emoji_in_two_events_are_joined():
    whole = document(
        b'data: {"choices":[{"delta":{"content":"\\ud83d"}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"\\ude00"},"finish_reason":"stop"}]}\n\n',
    )
    assert whole["choices"][0]["message"]["content"] == "😀"


@pytest.mark.parametrize("usage_with", ["the end", "an event of its own", "every event"])
def test_usage_comes_where_the_server_likes(usage_with):
    def counted(n):
        return {"prompt_tokens": 3, "completion_tokens": n}

    first = {"choices": [{"index": 0, "delta": {"content": "a"}}]}
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    events = {
        "the end": [first, last | {"usage": counted(1)}],
        "an event of its own": [first | {"usage": None}, last, {"choices": [], "usage": counted(1)}],
        "every event": [first | {"usage": counted(0)}, last | {"usage": counted(1)}],
    }[usage_with]
    assert document(*map(event, events), DONE)["usage"] == counted(1)


def test_other_choices_and_empty_events_are_passed_over():
    whole = document(
        event({"choices": [], "prompt_filter_results": []}),
        event({"type": "ping"}),
        b"event: ping\ndata: 1\n\n",
        event({"choices": [{"index": 0}]}),
        chat({"content": "a"}),
        event({"choices": [{"index": 1, "delta": {"content": "other"}}]}),
        event({"choices": None}),
        event(b"7"),
        END,
    )
    assert whole["choices"][0]["message"]["content"] == "a"


def test_the_choice_of_index_0_is_read_wherever_an_event_lists_it():
    choices = [{"index": n, "delta": {"content": text}} for n, text in ((1, "B"), (0, "A"))]
    whole = document(event({"choices": choices}), END)
    assert whole["choices"][0]["message"]["content"] == "A"


def test_a_refusal_is_joined():
    whole = document(chat({"refusal": "I can"}), chat({"refusal": "not."}), END)
    assert whole["choices"][0]["message"]["refusal"] == "I cannot."


@pytest.mark.parametrize("ending", [(END,), (END, DONE), (END, b"data: [DONE]"), (END.rstrip(b"\n"),)])
def test_a_finish_reason_makes_a_whole_answer(ending):
    assert document(chat({"content": "Paris"}), *ending)["choices"][0]["message"]["content"] == "Paris"


def test_a_finish_reason_that_is_empty_until_the_end_is_none():
    pieces = chat({"content": "Par"}, finish_reason=""), chat({"content": "is"}, finish_reason="")
    assert document(*pieces, END, DONE)["choices"][0]["finish_reason"] == "stop"
    assert "without a finish reason" in assemble(*pieces, DONE).detail


@pytest.mark.parametrize("finish", ["abort", "cancelled", "ABORT", {"type": "abort"}])
def test_a_generation_that_was_given_up_in_mid_stream_is_no_reply_whatever_follows(finish):
    failure = assemble(chat({"content": "half"}), chat({}, finish_reason=finish), END, DONE)
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.SERVER_ERROR
    assert "abort" in failure.detail.lower() or "cancelled" in failure.detail


@pytest.mark.parametrize("finish", [None, "stop"])
def test_an_error_beside_the_choices_of_an_event_is_no_reply(finish):
    beside = {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}], "error": {"message": "worker died"}}
    failure = assemble(chat({"content": "half"}), event(beside), END, DONE)
    assert isinstance(failure, Failure)
    assert (failure.kind, "worker died" in failure.detail) == (FailureKind.SERVER_ERROR, True)


def test_an_error_inside_a_choice_of_an_event_is_no_reply():
    error = {"code": 502, "message": "the provider went away"}
    failure = assemble(chat({"content": "half"}), chat({}, error=error, finish_reason="stop"), DONE)
    assert isinstance(failure, Failure)
    assert (failure.kind, "the provider went away" in failure.detail) == (FailureKind.SERVER_ERROR, True)


def test_events_of_two_completions_are_no_answer():
    stray = event({"id": "c2", "model": "m", "choices": [{"index": 0, "delta": {"content": " Rome"}}]})
    failure = assemble(chat({"content": "Paris"}), stray, END, DONE)
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.MALFORMED
    assert "'c1', then 'c2'" in failure.detail


def test_an_event_without_an_id_belongs_to_the_stream():
    bare = {"choices": [{"index": 0, "delta": {"content": "Paris"}}]}
    for id_ in ({}, {"id": ""}, {"id": None}):
        assert document(event(bare | id_), END)["choices"][0]["message"]["content"] == "Paris"
        assert document(chat({"content": "Par"}), event(bare | id_), END)["choices"][0]["message"]["content"]


@pytest.mark.parametrize("where", ["first", "text", "end", "usage"])
def test_a_reply_is_of_neither_model_where_an_event_names_another(where):
    def named(event_, name):
        return event_.replace(b'"model":"m"', b'"model":"m-other"') if name == where else event_

    told = named(event({"id": "c1", "model": "m", "choices": [], "usage": {"prompt_tokens": 1}}), "usage")
    pieces = named(chat({"content": "Par"}), "first"), named(chat({"content": "is"}), "text"), named(END, "end")
    expected = "m-other then m" if where == "first" else "m then m-other"
    assert document(*pieces, told, DONE)["model"] == expected


@pytest.mark.parametrize("unnamed", [{}, {"model": ""}, {"model": None}])
def test_an_event_that_names_no_model_says_nothing_of_it(unnamed):
    bare = event({"choices": [{"index": 0, "delta": {"content": "Par"}}]} | unnamed)
    assert document(bare, chat({"content": "is"}), bare, END)["model"] == "m"


@pytest.mark.parametrize(
    "stray",
    [
        chat({"content": "\nAnswer: B"}), chat({"content": "x"}, finish_reason="stop"), chat({"reasoning": "hm"}),
        chat({"tool_calls": [{"index": 0, "function": {"name": "f"}}]}), text("more"),
    ],
)  # fmt: skip
def test_text_after_the_finish_reason_is_no_part_of_the_answer(stray):
    failure = assemble(chat({"content": "Paris"}), END, stray, DONE)
    assert isinstance(failure, Failure)
    assert (failure.kind, "after the event with its finish reason" in failure.detail) == (FailureKind.MALFORMED, True)


@pytest.mark.parametrize(
    "faithful",
    [
        chat({}), chat({"content": ""}), chat({"role": "assistant", "content": None}), chat({"content": "\n"}), END,
        chat({"content": "", "tool_calls": [], "reasoning_content": None}), text(""), event({"choices": []}),
        event({"id": "c1", "choices": [], "usage": {"prompt_tokens": 1}}),
    ],
)  # fmt: skip
def test_what_faithful_servers_send_after_the_finish_reason_is_no_text(faithful):
    assert document(chat({"content": "Paris"}), END, faithful)["choices"][0]["message"]["content"].strip() == "Paris"


def test_two_choices_of_one_index_in_an_event_are_no_answer():
    both = event({"choices": [{"index": 0, "delta": {"content": one}} for one in "AB"]})
    assert "the same index" in assemble(both, END).detail


def test_a_streamed_message_of_the_user_is_no_answer():
    body = assemble(chat({"role": "user", "content": "Which city"}), chat({"content": "?"}), END)
    assert "role 'user'" in parse_reply(body, chat=True, seconds=1.0).detail


def test_nothing_after_done_is_read():
    reply = StreamedReply()
    assert not reply.feed(chat({"content": "a"}) + END)
    assert reply.feed(DONE + chat({"content": "b"}))
    assert orjson.loads(reply.finish())["choices"][0]["message"]["content"] == "a"


@pytest.mark.parametrize(
    ("chunks", "says"),
    [
        ((), "no choices"),
        ((DONE,), "no choices"),
        ((event({"choices": []}), DONE), "no choices"),
        ((chat({"content": "half"}),), "broke off"),
        ((chat({"content": "half"}), DONE), "without a finish reason"),
        ((chat({"content": "half"}), b'data: {"choices": [{"ind'), "not JSON"),
        ((chat({"content": "half"}), b'data: {"id": "c", "choices": [{"ind\n\n', DONE), "not JSON"),
        ((chat({"content": "half"}), b"data: \xff\xff\n\n", END, DONE), "not JSON"),
    ],
)
def test_half_an_answer_is_malformed(chunks, says):
    failure = assemble(*chunks)
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.MALFORMED
    assert says in failure.detail


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (event({"error": {"message": "engine died", "code": 500}}), FailureKind.SERVER_ERROR),
        (event({"object": "error", "message": "engine died", "code": 500}), FailureKind.SERVER_ERROR),
        (b"event: error\ndata: engine died\n\n", FailureKind.SERVER_ERROR),
        (b'event: error\ndata: {"message": "engine died"}\n\n', FailureKind.SERVER_ERROR),
        (b'event: error\ndata: "engine died"\n\n', FailureKind.SERVER_ERROR),
        (b"event: error\n" + END, FailureKind.SERVER_ERROR),
        (
            event(
                {
                    "error": {
                        "message": "The input (9 tokens) is longer than the model's context length (8 tokens).",
                        "code": 400,
                    }
                }
            ),
            FailureKind.CONTEXT_OVERFLOW,
        ),
    ],
)
def test_an_error_in_mid_stream_is_no_reply(error, kind):
    failure = assemble(chat({"content": "half"}), error, END, DONE)
    assert isinstance(failure, Failure)
    assert failure.kind is kind


def test_an_error_event_ends_the_reading():
    reply = StreamedReply()
    assert reply.feed(chat({"content": "half"}) + event({"error": "engine died"}))
    assert "engine died" in reply.finish().detail


@given(
    st.lists(
        st.binary(max_size=40)
        | st.sampled_from([b"data: ", b"\n\n", b'{"choices":', b"[{", b'"delta":', b"1", b"}", b"]", DONE, END]),
        max_size=20,
    )
)
def test_whatever_comes_there_is_a_body_or_a_failure(chunks):
    outcome = assemble(*chunks)
    assert isinstance(outcome, Failure) or orjson.loads(outcome)["choices"]
