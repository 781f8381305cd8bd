"""What must not be shown: keys of headers, secrets in addresses, in environment variables and on command lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

REDACTED: Final = "***"

# A shorter secret would turn up inside ordinary words and numbers.
MIN_SECRET_CHARACTERS: Final = 8

_SECRET_WORD: Final = re.compile(
    r"(?:^|[_.-])(?:(?:api|access|private|secret|account|subscription|auth|sas)[_.-]?key|apikey|key|token|secret|"
    r"passw(?:or)?d|passphrase|pwd|credentials?|auth|authorization|cookie|signature|sig|bearer)$",
    re.IGNORECASE,
)
# Tokens of a vocabulary, and keys that are no keys.
_HARMLESS: Final = re.compile(
    r"(?:^|[_.-])(?:bos|eos|pad|unk|sep|cls|mask|stop|start|end|image|video|audio|think|next|per|first|last)[_.-]token$",
    re.IGNORECASE,
)
_URL: Final = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]{0,20}://[^\s'\"<>]{1,2000}")
# Inside one argument, as in `sh -c "HF_TOKEN=... vllm serve --api-key ..."`: assignments, then options.
_VALUE: Final = r"""("[^"]*"|'[^']*'|[^\s'"]+)"""
_INSIDE: Final = (
    re.compile(r"(?<![\w-])([\w-]{1,80})(=)" + _VALUE),
    re.compile(r"(?<![\w-])(-[\w-]{1,80})([ \t]+)" + _VALUE),
)


def is_secret_name(name: str) -> bool:
    """True where the name of a variable, key or option says that its value is secret."""
    name = name.lstrip("-")
    return " " not in name and bool(_SECRET_WORD.search(name)) and not _HARMLESS.search(name)


def redact_url(url: str) -> str:
    """An address without its user, password and secret query values."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return REDACTED
    host = parts.netloc.rpartition("@")[2]
    netloc = f"{REDACTED}@{host}" if "@" in parts.netloc else host
    return urlunsplit(SplitResult(parts.scheme, netloc, parts.path, _redacted_query(parts.query), parts.fragment))


def secrets_of_query(url: str) -> set[str]:
    """The values in an address's query whose names say that they are secret; none where it is no address."""
    try:
        pairs = parse_qsl(urlsplit(url).query)
    except ValueError:
        return set()
    return {value for name, value in pairs if _is_secret_in_query(name)}


def _redacted_query(query: str) -> str:
    pairs = parse_qsl(query, keep_blank_values=True)
    if not any(_is_secret_in_query(name) for name, _ in pairs):
        return query
    return urlencode([(name, REDACTED if _is_secret_in_query(name) else value) for name, value in pairs], safe="*")


def _is_secret_in_query(name: str) -> bool:
    return is_secret_name(name) or name.lower() == "code"


def redacted(value: Any, secrets: Iterable[str] = (), name: str = "") -> Any:
    """A JSON-like value without what its names, its addresses or `secrets` say is secret.

    Under a key `headers` every value is secret. `secrets` are known values, taken out wherever they turn up.
    """
    known = sorted((secret for secret in secrets if len(secret) >= MIN_SECRET_CHARACTERS), key=len, reverse=True)
    return _redacted(value, known, name)


def _redacted(value: Any, known: Sequence[str], name: str) -> Any:
    if isinstance(value, Mapping):
        if name == "headers":
            return dict.fromkeys(value, REDACTED)
        return {
            key: REDACTED if item is not None and is_secret_name(str(key)) else _redacted(item, known, str(key))
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        items = _redacted_arguments(value) if name == "argv" else list(value)
        return [_redacted(item, known, "") for item in items]
    if isinstance(value, str):
        return _redacted_text(value, known)
    return value


def _redacted_text(text: str, known: Sequence[str]) -> str:
    for secret in known:
        text = text.replace(secret, REDACTED)
    return _URL.sub(lambda match: redact_url(match[0]), text)


def _redacted_arguments(arguments: Sequence[Any]) -> list[Any]:
    """A command line without the values of options such as --api-key, whichever way they are written."""
    shown: list[Any] = []
    after_option = in_values = False  # an option may take several values: --api-key first second
    for argument in arguments:
        text = str(argument)
        if after_option or (in_values and not text.startswith("-")):
            shown.append(REDACTED)
            after_option = False
            continue
        option, equals, _ = text.partition("=")
        secret = is_secret_name(option)
        after_option = in_values = secret and not equals and text.startswith("-")
        # NAME=value covers `env HF_TOKEN=... vllm serve` as well as --api-key=...
        shown.append(f"{option}={REDACTED}" if secret and equals else _redacted_inside(text))
    return shown


def _redacted_inside(text: str) -> str:
    for pattern in _INSIDE:
        text = pattern.sub(
            lambda match: f"{match[1]}{match[2]}{REDACTED}" if is_secret_name(match[1]) else match[0], text
        )
    return text
