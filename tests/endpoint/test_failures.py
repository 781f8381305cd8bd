"""What servers say in place of an answer, and what becomes of it."""

from email.utils import formatdate

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.endpoint.failures import of_status, read_error, retry_after
from evalkit.model import Failure, FailureKind

NOW = 1_800_000_000.0


def classify(status, body=b"", headers=None):
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return of_status(status, headers or {}, raw, where="http://127.0.0.1:8000/v1/chat/completions", now=NOW)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, FailureKind.BAD_REQUEST),
        (401, FailureKind.AUTH),
        (402, FailureKind.BAD_REQUEST),
        (403, FailureKind.AUTH),
        (404, FailureKind.NOT_FOUND),
        (405, FailureKind.NOT_FOUND),
        (407, FailureKind.AUTH),
        (408, FailureKind.TIMEOUT),
        (410, FailureKind.NOT_FOUND),
        (413, FailureKind.BAD_REQUEST),
        (418, FailureKind.BAD_REQUEST),
        (422, FailureKind.BAD_REQUEST),
        (425, FailureKind.SERVER_ERROR),
        (429, FailureKind.RATE_LIMITED),
        (500, FailureKind.SERVER_ERROR),
        (502, FailureKind.SERVER_ERROR),
        (503, FailureKind.SERVER_ERROR),
        (504, FailureKind.SERVER_ERROR),
        (529, FailureKind.SERVER_ERROR),
    ],
)
def test_a_status_decides_the_kind(status, kind):
    failure = classify(status, {"error": {"message": "so it is"}})
    assert (failure.kind, failure.status) == (kind, status)
    assert failure.kind.retryable == (status in {408, 425, 429} or status >= 500)
    assert f"HTTP {status}" in failure.detail
    assert failure.detail.endswith(": so it is")


CONTEXT_BODIES = {
    "vllm": {
        "object": "error",
        "message": "This model's maximum context length is 4096 tokens. However, you requested 5011 tokens (4011 in the messages, 1000 in the completion).",
        "type": "BadRequestError",
        "code": 400,
    },
    "vllm, nested": {
        "error": {
            "message": "'max_tokens' or 'max_completion_tokens' is too large: 40000. This model's maximum context length is 32768 tokens and your request has 100 input tokens",
            "type": "BadRequestError",
            "code": 400,
        }
    },
    "vllm, prompt alone": {
        "error": {
            "message": "The decoder prompt (length 10127) is longer than the maximum model length of 8192. Make sure that `max_model_len` is no smaller."
        }
    },
    "vllm, pictures": {
        "message": "The prompt (total length 25938) is too long to fit into the model (context length 4096)."
    },
    "sglang": {
        "object": "error",
        "message": "The input (61709 tokens) is longer than the model's context length (40960 tokens).",
        "code": 400,
    },
    "sglang, total": {
        "error": {"message": "Requested token count exceeds the model's maximum context length of 4096 tokens."}
    },
    "sglang, scheduler": {
        "error": {"message": "Input length (5003 tokens) exceeds the maximum allowed length (4090 tokens)."}
    },
    "llama.cpp": {
        "error": {
            "code": 400,
            "message": "request does not fit",
            "type": "exceed_context_size_error",
            "n_prompt_tokens": 9000,
            "n_ctx": 2048,
        }
    },
    "llama.cpp, words": {
        "error": {
            "message": "request (9000 tokens) exceeds the available context size (2048 tokens), try increasing it"
        }
    },
    "openai": {
        "error": {
            "message": "Please shorten the messages.",
            "type": "invalid_request_error",
            "code": "context_length_exceeded",
        }
    },
    "tgi": {
        "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 `inputs` tokens and 1000 `max_new_tokens`",
        "error_type": "validation",
    },
    "anthropic": {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "prompt is too long: 210000 tokens > 200000 maximum"},
    },
    "gemini": [
        {
            "error": {
                "code": 400,
                "message": "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
                "status": "INVALID_ARGUMENT",
            }
        }
    ],
    "fastapi": {"detail": "Prompt is too long"},
    "text": b"This model's maximum context length is 10 tokens",
}


@pytest.mark.parametrize("status", [400, 413, 422, 500])
@pytest.mark.parametrize("body", CONTEXT_BODIES.values(), ids=CONTEXT_BODIES)
def test_a_prompt_that_does_not_fit_is_named_so(body, status):
    assert classify(status, body).kind is FailureKind.CONTEXT_OVERFLOW


@pytest.mark.parametrize(
    "message",
    [
        "temperature must be at most 2",
        "Request too large for tiny-1 on tokens per min (TPM): Limit 10000, Requested 20000",
        "max_tokens must be at least 1, got 0",
        "context is required",
        "maximum number of images is 1",
    ],
)
def test_other_bad_requests_are_no_overflow(message):
    assert classify(400, {"error": {"message": message}}).kind is FailureKind.BAD_REQUEST


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_speaks_of_the_key_but_for_a_page_of_what_stands_before_the_server(status):
    assert "the key was not accepted" in classify(status, {"error": {"message": "invalid key"}}).detail
    page = classify(status, b"<html><title>Request blocked</title></html>").detail
    assert "what stands before the server refuses this request" in page
    assert "Request blocked" in page
    assert "key" not in page


@pytest.mark.parametrize("status", [401, 429, 503])
def test_a_busy_server_that_speaks_of_context_is_still_busy(status):
    assert classify(status, CONTEXT_BODIES["vllm"]).kind is not FailureKind.CONTEXT_OVERFLOW


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (
            {"object": "error", "message": "The model `tiny` does not exist.", "type": "NotFoundError", "code": 404},
            "the model is not served",
        ),
        ({"error": {"message": "No access.", "code": "model_not_found"}}, "the model is not served"),
        ({"error": "model 'tiny' not found"}, "the model is not served"),
        ({"detail": "Not Found"}, "no such path"),
        ({"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}}, "no such path"),
        (b"404 page not found", "no such path"),
        (b"", "no such path"),
    ],
)
def test_404_says_whether_model_or_path_is_wrong(body, says):
    failure = classify(404, body)
    assert failure.kind is FailureKind.NOT_FOUND
    assert says in failure.detail


@pytest.mark.parametrize(
    ("body", "message", "codes"),
    [
        ({"error": {"message": "m", "type": "t", "code": 7}}, "m", ("7", "t")),
        ({"error": "m"}, "m", ()),
        ({"message": "m", "code": "c"}, "m", ("c",)),
        (
            {"detail": [{"loc": ["body", "seed"], "msg": "not an int"}]},
            '[{"loc":["body","seed"],"msg":"not an int"}]',
            (),
        ),
        ({"error": {"status": "odd"}}, '{"error":{"status":"odd"}}', ()),
        ("m", "m", ()),
        ([], "[]", ()),
        (None, "null", ()),
        (
            b"<!DOCTYPE html><html><head><title>502 Bad &amp; Gateway</title></head></html>",
            "an HTML page titled '502 Bad & Gateway'",
            (),
        ),
        (b" \n<html><body>no title</body></html>", "an HTML page", ()),
        (b"plain words\xff", "plain words�", ()),
        (b"", "", ()),
    ],
)
def test_reads_errors_of_every_shape(body, message, codes):
    error = read_error(body if isinstance(body, bytes) else orjson.dumps(body))
    assert (error.message, error.codes) == (message, codes)


@given(st.binary(max_size=300), st.integers(200, 1000))
def test_no_body_is_too_odd_to_be_classified(body, status):
    failure = classify(status, body)
    assert isinstance(failure, Failure)
    assert failure.status == status


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0.25"}, 0.25),
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After": "999999"}, 600.0),
        ({"Retry-After": "inf"}, 600.0),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": formatdate(NOW + 30, usegmt=True)}, 30.0),
        ({"Retry-After": formatdate(NOW - 30, usegmt=True)}, 0.0),
        ({"Retry-After": formatdate(NOW + 86_400, usegmt=True)}, 600.0),
        ({"Retry-After": "Fri, 15 Jan 2027 08:00:30 -0000"}, 30.0),
        ({"Retry-After": "Fri, 99999999999999999999 Jan 2027 08:00:30 GMT"}, None),
        ({"Retry-After": "Fri, 15 Jan 99999999999 08:00:30 GMT"}, None),
        ({"retry-after-ms": "1500", "Retry-After": "7"}, 1.5),
        ({"retry-after-ms": "x", "Retry-After": "7"}, 7.0),
    ],
)
def test_when_to_ask_again(headers, seconds):
    assert retry_after(headers, NOW) == seconds


@given(st.text(max_size=40) | st.floats().map(str), st.text(max_size=40) | st.none())
def test_when_to_ask_again_is_bounded(asked, milliseconds):
    headers = {"Retry-After": asked} | ({} if milliseconds is None else {"retry-after-ms": milliseconds})
    seconds = retry_after(headers, NOW)
    assert seconds is None or 0 <= seconds <= 600
