"""An echoed prompt is stored as the tokens that are scored, and is scored as it was."""

import hashlib
import json

import pytest

from evalkit.endpoint.echo import DROPPED, continuation_logprob, echoed_logprobs, echoes, without_echo

TOKENS = ["Question", ":", " how", " many", "?", " ", "B", "b", "\n"]
VALUES = [None, -1.5, -2.25, -0.5, -3.0, -0.125, -0.75, -1.25, -9.0]


def body(usage=True, **changed):
    logprobs = {
        "tokens": TOKENS, "token_logprobs": VALUES, "text_offset": list(range(9)),
        "top_logprobs": [None, *[{"x": value} for value in VALUES[1:]]], **changed,
    }  # fmt: skip
    choice = {"index": 0, "text": "".join(TOKENS), "logprobs": logprobs, "finish_reason": "length"}
    told = {"prompt_tokens": 8, "completion_tokens": 1} if usage else {}
    return {"id": "cmpl-1", "choices": [choice], "usage": told}


@pytest.mark.parametrize("usage", [True, False])
@pytest.mark.parametrize("continuation", ["b", " Bb", "Bb", " B", "?", "no such end", "".join(TOKENS[:8])])
def test_what_is_kept_is_scored_as_the_whole_was(continuation, usage):
    whole = body(usage)
    kept = without_echo(whole, continuation)
    expected = continuation_logprob(echoed_logprobs(whole), continuation)
    assert continuation_logprob(echoed_logprobs(kept), continuation) == expected
    assert without_echo(kept, continuation) == kept, "what is stored is not cut again"


def test_only_the_scored_tokens_and_what_follows_are_kept():
    kept = without_echo(body(), " Bb")
    logprobs = kept["choices"][0]["logprobs"]
    assert logprobs["tokens"] == [" ", "B", "b", "\n"]
    assert logprobs["token_logprobs"] == [-0.125, -0.75, -1.25, -9.0]
    assert logprobs["text_offset"] == [5, 6, 7, 8]
    assert len(logprobs["top_logprobs"]) == 4
    assert kept["choices"][0]["text"] == " Bb\n"
    assert kept[DROPPED] == {"tokens": 5, "sha256": hashlib.sha256(b"Question: how many?").hexdigest()}
    assert (kept["id"], kept["usage"]) == ("cmpl-1", body()["usage"])


@pytest.mark.parametrize(
    "document",
    [
        {"choices": [{"text": "x"}]}, {"choices": [{"text": "x", "logprobs": None}]}, body(tokens=None),
        body(token_logprobs=VALUES[:3]), body(tokens=[1, *TOKENS[1:]]), {"choices": []}, {},
    ],
)  # fmt: skip
def test_a_body_without_such_an_echo_is_kept_whole(document):
    before = json.dumps(document)
    assert without_echo(document, " Bb") is document
    assert json.dumps(document) == before


SENT = "Was \u00e9t\u00e9 caf\u00e9s 12\u00b2 \U0001f600?\nA. x  y\nAnswer: B"


@pytest.mark.parametrize(
    "tokens",
    [
        [SENT], ["<s>", *SENT], ["<|begin_of_text|>", SENT], ["[gMASK]", "<sop>", SENT], ["Was", *SENT[3:].split(" ")],
        list(SENT.lower()), [SENT.replace("\u00e9", "e\u0301").replace("\u00b2", "2")],
        ["<s>", *SENT.replace("\u00e9", "\ufffd\ufffd").replace("\U0001f600", "<0xF0><0x9F><0x98><0x80>")],
        [SENT.replace("\u00b2", "bytes:\\xc2\\xb2").replace("\U0001f600", "<unk>")], [*SENT, " generated"],
    ],
)  # fmt: skip
def test_a_prompt_is_known_again_however_its_tokens_are_written(tokens):
    whole = {"choices": [{"logprobs": {"tokens": tokens}}], "usage": {}}
    if tokens[-1] == " generated":
        whole["usage"]["prompt_tokens"] = len(tokens) - 1
    assert echoes(whole, SENT)


@pytest.mark.parametrize(
    "echoed",
    [
        SENT.replace("12", "13"), SENT.replace("x", "z"), SENT[9:], "<s>" + SENT[3:], SENT[:-1] + "C", "", "<s>",
        SENT.replace("\u00e9", "\ufffd").replace("12", "13"), SENT + SENT[9:],
    ],
)  # fmt: skip
def test_another_prompt_is_another_though_a_few_characters_are_lost(echoed):
    assert not echoes({"choices": [{"logprobs": {"tokens": list(echoed)}}]}, SENT)
