"""From what a server says in place of an answer to a `Failure`: which kind, when to ask again, and words for people.

Servers agree on nothing here. `ServerError` is what an error body says, whoever wrote it (vLLM, SGLang, llama.cpp,
TGI, FastAPI, OpenAI, a proxy's HTML page); `of_status`, `of_stream` and `of_body` classify it by where it stood.
Before it leaves a client, `redacted` makes its detail bounded, printable and free of the key.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import orjson

from evalkit.model import Failure, FailureKind
from evalkit.resources import toml_file

if TYPE_CHECKING:  # who only reads what is stored needs none of the configuration
    from evalkit.config.redact import Redactor

# Python and JavaScript servers emit `NaN` and `-Infinity` (log-probabilities), byte-order marks, and escapes of half a
# surrogate pair (a stream cut inside an emoji). A reply is worth more than its server's JSON library: numbers that are
# none become null, halves that meet again are joined, and a half that stays alone becomes U+FFFD. Invalid UTF-8 and
# truncated documents stay errors.


def loads(data: bytes) -> Any:
    """Read one JSON document. Raises `ValueError`: it is not JSON, is not UTF-8, or is nested too deeply."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as refused:
        try:
            return json.loads(data.decode("utf-8-sig"), parse_constant=lambda _name: None)
        except RecursionError:
            raise refused from None


def dumps(document: Any) -> bytes:
    """Write a document that `loads` made as one line of valid JSON in UTF-8.

    Raises `ValueError`: it holds a number beyond any float, or is nested too deeply.
    """
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError as refused:
        try:
            text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        except RecursionError:
            raise ValueError("nested too deeply") from refused
    # UTF-16 is where surrogates live: a pair becomes its character, one alone is replaced.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


RETRY_AFTER_LIMIT_SECONDS: Final = 600.0

# Longer than any error message that is read.
_RAW_CHARACTERS: Final = 10_000

# A 500 is here because llama.cpp answered so before it had a code of its own.
_CONTEXT_STATUSES: Final = frozenset({400, 413, 422, 500})

_UNDER_BASE_URL: Final = ("/completions", "/models")
_PAGE: Final = "an HTML page"
_TITLE: Final = re.compile(r"<title[^<>]{0,100}>([^<]{1,200})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ServerError:
    """What a server says went wrong. `codes` are its code and type fields, as text."""

    message: str
    codes: tuple[str, ...] = ()

    def says(self, what: str) -> bool:
        """Whether it is that of a prompt that does not fit the served context, "context", or of an unknown "model"."""
        codes, words = _known(what)
        return bool(codes.intersection(self.codes) or words.search(self.message[:_RAW_CHARACTERS]))


@cache
def _known(what: str) -> tuple[frozenset[str], re.Pattern[str]]:
    said = toml_file("endpoint/failures.toml")[what]
    return frozenset(said["codes"]), re.compile("|".join(said["words"]), re.IGNORECASE | re.DOTALL)


def of_status(status: int, headers: Mapping[str, str], body: bytes, *, where: str, now: float) -> Failure:
    """Classify an answer whose status is not 2xx and no redirect.

    `where` is the address for people; `now` is the time in seconds since the epoch, for a Retry-After that is a date.
    """
    error = read_error(body)
    kind = next(
        (
            FailureKind(kind)
            for kind, statuses in toml_file("endpoint/failures.toml")["statuses"].items()
            if status in statuses
        ),
        None,
    )
    if status in _CONTEXT_STATUSES and error.says("context"):
        kind = FailureKind.CONTEXT_OVERFLOW
    elif kind is None:
        kind = FailureKind.SERVER_ERROR if status >= 500 else FailureKind.BAD_REQUEST
    said = f": {error.message}" if error.message else ""
    detail = f"HTTP {status} from {where}{_hint(status, where, error)}{said}"
    return Failure(kind, detail, status=status, retry_after=retry_after(headers, now))


def of_stream(error: ServerError) -> Failure:
    """An error event in the middle of a stream."""
    return _inside(error, FailureKind.SERVER_ERROR, "the server ended the stream with an error")


def of_choice(choice: Mapping[str, Any]) -> Failure:
    """An error inside a choice, as OpenRouter writes it where a provider fails in the middle of an answer."""
    return _inside(_of_document(choice), FailureKind.SERVER_ERROR, "the server ended the answer with an error")


def of_body(error: ServerError) -> Failure:
    """An error inside an answer whose status says that all is well."""
    return _inside(error, FailureKind.MALFORMED, "status 200 with an error inside")


def _inside(error: ServerError, otherwise: FailureKind, what: str) -> Failure:
    kind = FailureKind.CONTEXT_OVERFLOW if error.says("context") else otherwise
    return Failure(kind, f"{what}: {error.message}", status=200)


def in_band(document: Any, *, named_error: bool = False) -> ServerError | None:
    """The error that a document of a 200 or of an event is; None where it is none."""
    if isinstance(document, dict) and (document.get("error") or document.get("object") == "error"):
        return _of_document(document)
    return _of_document(document) if named_error else None


def read_error(body: bytes) -> ServerError:
    """What an error body says: JSON of any known shape, the title of an HTML page, or the text as it is."""
    try:
        return _of_document(loads(body))
    except ValueError:
        pass
    text = body[: 4 * _RAW_CHARACTERS].decode("utf-8", "replace").strip()
    if looks_like_html(body):
        title = _TITLE.search(text)
        return ServerError(_PAGE + (f" titled '{html.unescape(title[1]).strip()}'" if title else ""))
    return ServerError(text)


def looks_like_html(body: bytes) -> bool:
    """True where a body begins as a web page does."""
    return body[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html", b"<head", b"<body"))


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """The seconds to wait that a server asks for, in [0, 600]; None where it asks for nothing that can be read.

    `retry-after-ms` (milliseconds) goes before `Retry-After` (seconds, or an HTTP date: RFC 9110, section 10.2.3).
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    asked = headers.get("Retry-After")
    seconds = _number(asked) if milliseconds is None else milliseconds / 1000
    if seconds is None and asked is not None:
        seconds = seconds_until(asked, now)
    return None if seconds is None else min(max(seconds, 0.0), RETRY_AFTER_LIMIT_SECONDS)


def redacted(failure: Failure, redactor: Redactor, seconds: float) -> Failure:
    """The failure as it leaves a client: shown and stored without secrets; `seconds` is how long the attempt took."""
    return replace(failure, detail=redactor.clean(failure.detail), seconds=seconds)


def malformed(detail: str, status: int = 200) -> Failure:
    """A 2xx answer that does not hold what was asked for."""
    return Failure(FailureKind.MALFORMED, detail, status=status)


def _of_document(document: Any) -> ServerError:
    """The message and the codes of an error body of any known shape; the document itself where none is known."""
    if isinstance(document, list) and document:
        document = document[0]  # Gemini's compatible endpoint wraps its error in a list
    if not isinstance(document, dict):
        return ServerError(document if isinstance(document, str) else _compact(document))
    error = document.get("error")
    source = error if isinstance(error, dict) else document
    named = [source.get(key) for key in ("message", "detail", "msg", "error_msg")]
    said = [error] if isinstance(error, str) else [value for value in named if value]
    message = said[0] if said else document
    codes = tuple(str(source[key]) for key in ("code", "type") if isinstance(source.get(key), str | int))
    return ServerError(message if isinstance(message, str) else _compact(message), codes)


def _compact(document: Any) -> str:
    try:
        return dumps(document).decode()
    except ValueError:
        return "an error that cannot be shown"


def _hint(status: int, where: str, error: ServerError) -> str:
    """What a status usually means to the one who wrote the configuration."""
    if status in {401, 403}:
        if error.message.startswith(_PAGE):  # servers refuse a key in JSON, or in a few words
            return " (what stands before the server refuses this request)"
        return " (the key was not accepted: api_key_env must name a variable that holds a key of this server)"
    if status == 407:
        return " (the proxy wants a user name and password)"
    if status in {404, 405, 410}:
        if error.says("model"):
            return " (the model is not served there)"
        if where.endswith(_UNDER_BASE_URL):  # a server's own interface lies elsewhere, and not every server has it
            return " (no such path: base_url must end where /chat/completions follows, usually in /v1)"
    return ""


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return None if math.isnan(number) else number


def seconds_until(date: str, now: float) -> float | None:
    """The seconds from `now` (since the epoch) to an HTTP date, below 0 where it is past; None where it is no date."""
    import email.utils  # an address that names no date needs none of it

    try:
        moment = email.utils.parsedate_to_datetime(date)
    except (ValueError, OverflowError):  # a day or a year with twenty digits is the latter
        return None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp() - now
