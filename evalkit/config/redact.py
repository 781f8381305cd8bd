"""What must not be shown: secrets in configurations, addresses, command lines, logs, and in what an endpoint says."""

import base64
import html
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from evalkit.resources import Patterns

REDACTED: Final = "***"
ECHO: Final = "[redacted]"  # in an endpoint's own words, in which three stars may stand for anything

# A shorter secret would turn up inside ordinary words and numbers.
MIN_SECRET_CHARACTERS: Final = 8
# In an error's own words a server's echo of a key is looked for more closely.
MIN_ECHO_CHARACTERS: Final = 4
DETAIL_CHARACTERS: Final = 500
# Longer than any error message that is read, short enough that cleaning a hostile one costs nothing.
_RAW_CHARACTERS: Final = 10_000
# Named like passwords, by the shell.
_FOLDERS: Final = frozenset({"PWD", "OLDPWD"})

_RE: Final = Patterns("redact")


def is_secret_name(name: str) -> bool:
    """True where the name of a variable, key or option says that its value is secret."""
    name = name.lstrip("-")
    return " " not in name and bool(_RE.secret_word.search(name)) and not _RE.harmless.search(name)


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


def secrets_of_header(name: str, value: str) -> set[str]:
    """What of a header is secret: it, the token of "Bearer <token>", a Basic password in clear, cookies' values."""
    scheme, _, token = value.partition(" ")
    found = {value, token}
    if scheme.lower() == "basic":
        pair = base64.b64decode(token + "==", validate=False).decode(errors="replace") if token.isascii() else ""
        found |= {pair, pair.partition(":")[2]}
    if name.lower() == "cookie":
        found |= {cookie.partition("=")[2].strip() for cookie in value.split(";")}
    return found - {""}


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
    known = frozenset(secret for secret in secrets if len(secret) >= MIN_SECRET_CHARACTERS)
    return _redacted(value, _compiled(known) if known else None, name)


def _redacted(value: Any, known: re.Pattern[str] | None, name: str) -> Any:
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
        if known is not None:
            value = known.sub(REDACTED, value)
        return _RE.url.sub(lambda match: redact_url(match[0]), value)
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
    for pattern in (_RE.assignment, _RE.option):
        text = pattern.sub(
            lambda match: f"{match[1]}{match[2]}{REDACTED}" if is_secret_name(match[1]) else match[0], text
        )
    return text


# One backslash for JSON, two for JSON inside JSON, four once more; a bound keeps a long row of them cheap.
_ESCAPED: Final = r"\\{1,4}"
_LONGEST_CHARACTER: Final = 16
# So many characters are compared one by one; of a longer secret the rest is what follows and looks like it. Spelled
# out, a token of 3 kB would take a second to compile.
_COMPARED: Final = 40
_ANY_ESCAPED: Final = r"\\{1,4}(?:u[0-9a-f]{4}|x[0-9a-f]{2}|.)|%(?:25)?[0-9a-f]{2}|&#?[0-9a-z]{1,8};?"
_IN_BASE64: Final = {"+": r"(?:[+-]|%2B)", "/": r"(?:\\{0,4}/|_|%2F)"}
_SHORT: Final = {"\n": "n", "\r": "r", "\t": "t"}
# Letters and digits that are escaped, as ordinary texts have few.
_ESCAPES: Final = r"\\u00[3-7]|\\x[3-7]|%[3-7]|%25[3-7]|&#|(?:[0-9a-f]{2}[: -]){7}"
_RUN: Final = re.compile("[a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Spellings:
    """All ways in which servers spell secrets: `pattern` finds them, in texts and, encoded in UTF-8, in bytes.

    Most texts hold none, and that is told in a fraction of the time: in lower case they hold none of `runs`, and
    nothing that `escapes` finds.
    """

    pattern: str
    runs: tuple[str, ...]
    escapes: str = _ESCAPES


def spellings(secrets: Iterable[str]) -> Spellings:
    r"""How servers may spell `secrets`: in any case, escaped in whole or in part, in base64, in hex, also with colons.

    An escaped character has backslashes before it, or is `\u0073`, `\x73`, `%73`, `%2573`, `&#115;`, `&#x73;` or what
    HTML calls it. Base64 is found wherever the secret begins in it, in both alphabets, of secrets of eight characters,
    as hexadecimal digits are.
    """
    longest_first = sorted(set(secrets), key=lambda secret: (-len(secret), secret))
    # Of "Bearer <token>" and the token, the base64 of the first holds that of the second.
    long = [one for one in longest_first if len(one) >= MIN_SECRET_CHARACTERS]
    least = [one for one in long if not any(other in one for other in long if other != one)]
    in_base64 = [form for one in least for form in _in_base64(one)]
    in_hex = [os.fsencode(one).hex() for one in least]
    plain = "|".join([*map(_spelled, longest_first), *map(_digits, in_hex)])
    encoded = [_encoded(form) for form in in_base64]
    compared = [form[:_COMPARED].lower() for form in (*longest_first, *in_base64, *in_hex)]
    runs = {max(_RUN.findall(form), key=len, default="") for form in compared}
    return Spellings("|".join([f"(?i:{plain or '(?!)'})", *encoded]), tuple(sorted(runs)))


def _spelled(secret: str) -> str:
    rest = secret[_COMPARED:]
    if not rest:
        return "".join(map(_character, secret))
    units = len(rest.encode(errors="surrogateescape"))
    follows = "".join(sorted({re.escape(one) for one in rest}))
    return "".join(map(_character, secret[:_COMPARED])) + f"(?:{_ANY_ESCAPED}|[{follows}]){{0,{units}}}"


def _encoded(form: str) -> str:
    rest = len(form) - _COMPARED
    compared = "".join(_IN_BASE64.get(one, one) for one in form[:_COMPARED])
    return compared if rest <= 0 else compared + f"(?:[A-Za-z0-9]|{'|'.join(_IN_BASE64.values())}){{0,{rest}}}"


def _digits(form: str) -> str:
    rest = len(form) - 2 * _COMPARED
    digits = "[: -]?".join(form[place : place + 2] for place in range(0, min(len(form), 2 * _COMPARED), 2))
    return digits + (f"[0-9a-f: -]{{0,{rest * 3 // 2}}}" if rest > 0 else "")


def _character(one: str) -> str:
    number = ord(one)
    in_utf16 = one.encode("utf-16-be", "surrogatepass").hex(" ", 2).split()
    escaped = ["".join(f"{'' if n == 0 else _ESCAPED}u{unit}" for n, unit in enumerate(in_utf16))]
    if number < 0x100:
        escaped.append(f"x{number:02x}")
    escaped += _SHORT.get(one, "")
    forms = [
        r"\\{0,4}" + re.escape(one),
        f"{_ESCAPED}(?:{'|'.join(escaped)})",
        "".join(f"%(?:25)?{byte:02x}" for byte in os.fsencode(one)),
        f"&#(?:0{{0,6}}{number}|x0{{0,6}}{number:x});?",
        *({html.escape(one)} - {one}),
    ]
    if one.isspace():
        forms.append("[ +]")
    return f"(?:{'|'.join(forms)})"


def _in_base64(secret: str) -> Iterator[str]:
    """What the secret alone decides of its base64, for each of the three places in a group where it may begin."""
    raw = os.fsencode(secret)
    for before, decided_by_others in enumerate((0, 2, 3)):
        decided = (before + len(raw)) * 8 // 6
        yield base64.b64encode(bytes(before) + raw).decode()[decided_by_others:decided]


@lru_cache(maxsize=32)
def _compiled(secrets: frozenset[str]) -> re.Pattern[str]:
    return re.compile(spellings(secrets).pattern)


_said: set[str] = set()


def remember(secrets: Iterable[str]) -> None:
    """Take note of the keys and header values of a configuration, whatever their variables are called."""
    _said.update(secret for secret in secrets if len(secret) >= MIN_SECRET_CHARACTERS)


def withheld(variables: Mapping[str, str]) -> list[str]:
    """The names of variables that no server is handed: it needs none of them, or its `launch.env` says so.

    Those whose names say that they are secret, those in which what was remembered stands, and addresses with a key or,
    but for proxies, a password in them.
    """
    return [name for name, value in variables.items() if _is_secret_variable(name, value)]


def _is_secret_variable(name: str, value: str) -> bool:
    named = is_secret_name(name) or (not value.isdigit() and _RE.secret_variable.search(name))
    address = (_RE.password.search(value) and not name.lower().endswith("proxy")) or secrets_of_query(value)
    return bool((named and name not in _FOLDERS) or address or any(secret in value for secret in _said))


def secrets_of_process(argv: Sequence[str], env: Mapping[str, str], known: Iterable[str] = ()) -> tuple[str, ...]:
    """Values that a command may print: `known` ones, those of variables named so, and those of options (--api-key).

    `env` is added to this process's own environment. Each line of a value counts for itself; too short ones are left
    out, as everywhere.
    """
    variables = {**os.environ, **env}
    named = [variables[name] for name in withheld(variables)]
    pairs = [(given, told) for given, told in zip(argv, redacted(list(argv), (), "argv"), strict=True) if given != told]
    options = [given if told == REDACTED else given.partition("=")[2] for given, told in pairs]
    passwords = [password for one in named for password in _RE.password.findall(one)]
    lines = {line for one in (*known, *named, *passwords, *options) for line in one.splitlines()}
    return tuple(line for line in lines if len(line) >= MIN_SECRET_CHARACTERS)


class Redactor:
    """Makes what an endpoint says fit to be shown and stored: bounded, printable, and without a secret.

    Secrets are the API key, the values of all configured headers, and what stands under the name of a key in the query
    of an address (`urls`), however a server spells them (`spellings`). Values of fewer than four characters are no
    secrets.
    """

    def __init__(self, api_key: str | None, headers: Mapping[str, str], urls: Iterable[str] = ()) -> None:
        asked = {secret for url in urls if "?" in url for secret in secrets_of_query(url)}
        keys = {api_key or "", *asked}
        both = {name: secrets_of_header(name, value) for name, value in headers.items()}
        long_enough = (value for value in keys.union(*both.values()) if len(value) >= MIN_ECHO_CHARACTERS)
        echoed = frozenset(filter(None, map(_printable, long_enough)))
        self._echoed = _compiled(echoed) if echoed else None
        self._longest = _LONGEST_CHARACTER * max(map(len, echoed), default=0)
        named = keys.union(*(said for name, said in both.items() if is_secret_name(name)))
        in_bodies = {value for value in named if len(value) >= MIN_SECRET_CHARACTERS}
        found = spellings(in_bodies)
        self._in_bodies = re.compile(os.fsencode(found.pattern)) if in_bodies else None
        self._runs = tuple(map(os.fsencode, found.runs))
        self._escapes = re.compile(found.escapes.encode())

    def clean(self, text: str) -> str:
        """At most 500 printable characters of `text`, secrets replaced."""
        # Characters that cannot be seen go first: one in the middle of an echoed key would hide it from the pattern.
        shown = _printable(text[:_RAW_CHARACTERS])
        if self._echoed is not None:
            shown = self._echoed.sub(ECHO, shown)
            if len(text) > _RAW_CHARACTERS:
                shown = shown[: -self._longest]  # the cut may have gone through a secret
        return shown if len(shown) <= DETAIL_CHARACTERS else shown[: DETAIL_CHARACTERS - 1] + "…"

    def body(self, data: bytes) -> bytes:
        """The body of a good answer, with the key taken out where a server or gateway echoes it there.

        Only the API key and the values of headers whose names say that they are secret: other headers hold ordinary
        words, such as the name of a team or a model, which a model may write itself.
        """
        if self._in_bodies is None:
            return data
        lower = data.lower()
        suspicious = any(run in lower for run in self._runs) or self._escapes.search(lower)
        return self._in_bodies.sub(ECHO.encode(), data) if suspicious else data


def _printable(text: str) -> str:
    """One line: white space as single spaces, everything else that has no shape taken out."""
    return " ".join("".join(c if c.isprintable() else " " * c.isspace() for c in text).split())
