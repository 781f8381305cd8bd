"""What must not be shown: secrets in configurations, addresses, command lines, logs, and in what an endpoint says."""

from __future__ import annotations

import html
import json
import mmap
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit, urlunsplit

REDACTED: Final = "***"
ECHO: Final = "[redacted]"
"""In an endpoint's own words, in which three stars may stand for anything."""

# A shorter secret would turn up inside ordinary words and numbers.
MIN_SECRET_CHARACTERS: Final = 8
# In an error's own words a server's echo of a key is looked for more closely.
MIN_ECHO_CHARACTERS: Final = 4
DETAIL_CHARACTERS: Final = 500
# Longer than any error message that is read, short enough that cleaning a hostile one costs nothing.
_RAW_CHARACTERS: Final = 10_000
# Named like passwords, by the shell.
_FOLDERS: Final = frozenset({"PWD", "OLDPWD"})

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
        for secret in known:
            value = value.replace(secret, REDACTED)
        return _URL.sub(lambda match: redact_url(match[0]), value)
    return value


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


# ---------------------------------------------------------------- a process and its log


def secrets_of_process(argv: Sequence[str], env: Mapping[str, str], known: Iterable[str] = ()) -> tuple[str, ...]:
    """Values that a command may print: `known` ones, those of variables named so, and those of options (--api-key).

    `env` is added to this process's own environment. Too short ones are left out, as everywhere.
    """
    variables = {**os.environ, **env}.items()
    named = [value for name, value in variables if is_secret_name(name) and name not in _FOLDERS]
    pairs = [(given, told) for given, told in zip(argv, redacted(list(argv), (), "argv"), strict=True) if given != told]
    options = [given if told == REDACTED else given.partition("=")[2] for given, told in pairs]
    return tuple({one for one in (*known, *named, *options) if len(one) >= MIN_SECRET_CHARACTERS})


def scrub(file: Path, secrets: Iterable[str]) -> None:
    """Overwrites in a log, in its place, what servers print of their keys: vLLM shows its arguments when it starts.

    Lengths stay, so that a process that still appends to the file is not disturbed.
    """
    patterns = [re.escape(secret.encode()) for secret in sorted(secrets, key=len, reverse=True)]
    if not patterns or not file.is_file() or not file.stat().st_size:
        return
    with file.open("r+b") as log, mmap.mmap(log.fileno(), 0) as text:
        for found in [match.span() for match in re.finditer(b"|".join(patterns), text)]:
            text[found[0] : found[1]] = b"*" * (found[1] - found[0])


# ---------------------------------------------------------------- what an endpoint says


class Redactor:
    """Makes what an endpoint says fit to be shown and stored: bounded, printable, and without a secret.

    Secrets are the API key, the values of all configured headers, and what stands under the name of a key in the query
    of an address (`urls`), also where a server echoes them quoted for JSON, HTML or a URL. Values of fewer than four
    characters are no secrets.
    """

    def __init__(self, api_key: str | None, headers: Mapping[str, str], urls: Iterable[str] = ()) -> None:
        asked = {secret for url in urls if "?" in url for secret in secrets_of_query(url)}
        keys = {api_key or "", *asked}
        # The token of "Bearer <token>" on its own, too.
        both = {name: {value, value.partition(" ")[2]} for name, value in headers.items()}
        values = keys.union(*both.values())
        forms = {form for value in values if len(value) >= MIN_ECHO_CHARACTERS for form in _spellings(value)}
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        self._longest = max(map(len, forms), default=0)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE) if forms else None
        named = keys.union(*(said for name, said in both.items() if is_secret_name(name)))
        in_json = {json.dumps(value)[1:-1].encode() for value in named if len(value) >= MIN_SECRET_CHARACTERS}
        self._in_bodies = sorted(in_json, key=lambda key: (-len(key), key))

    def clean(self, text: str) -> str:
        """At most 500 printable characters of `text`, secrets replaced."""
        # Characters that cannot be seen go first: one in the middle of an echoed key would hide it from the pattern.
        shown = _printable(text[:_RAW_CHARACTERS])
        if self._pattern is not None:
            shown = self._pattern.sub(ECHO, shown)
            if len(text) > _RAW_CHARACTERS:
                shown = shown[: -self._longest]  # the cut may have gone through a secret
        return shown if len(shown) <= DETAIL_CHARACTERS else shown[: DETAIL_CHARACTERS - 1] + "…"

    def body(self, data: bytes) -> bytes:
        """The body of a good answer, with the key taken out where a server or gateway echoes it there.

        Only the API key and the values of headers whose names say that they are secret: other headers hold ordinary
        words, such as the name of a team or a model, which a model may write itself.
        """
        for key in self._in_bodies:
            if key in data:
                data = data.replace(key, ECHO.encode())
        return data


def _printable(text: str) -> str:
    """One line: white space as single spaces, everything else that has no shape taken out."""
    return " ".join("".join(c if c.isprintable() else " " * c.isspace() for c in text).split())


def _spellings(secret: str) -> Iterable[str]:
    """A secret as it is, and as it looks inside JSON, HTML, a URL or a Python representation."""
    quoted = (json.dumps(secret)[1:-1], repr(secret)[1:-1], html.escape(secret), quote(secret), quote(secret, safe=""))
    return filter(None, map(_printable, (secret, *quoted)))
