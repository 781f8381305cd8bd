"""Words and sentences in English and Chinese, and foreign text made harmless for each format that holds them."""

import html
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any, Final, Literal, TypeAlias

from evalkit.model import Interval, Reason, Verdict
from evalkit.render import numbers
from evalkit.resources import Patterns, data_folder, toml_file, toml_table

Language: TypeAlias = Literal["en", "zh"]
LANGUAGES: Final[tuple[Language, ...]] = ("en", "zh")
_RE: Final = Patterns("words")

SYMBOLS: Final[Mapping[Verdict, str]] = dict(zip(Verdict, "✓▼▲?✗", strict=True))
ASCII_SYMBOLS: Final[Mapping[Verdict, str]] = dict(zip(Verdict, "=-+?!", strict=True))


class ReasonError(ValueError):
    """A reason that no sentence of the catalogue says; the message names the code and the place."""


@cache
def words_of(language: Language) -> Mapping[str, str]:
    """The fixed words by name (`reports/words.toml`)."""
    entries = toml_file("reports/words.toml")
    return {name: entry[language] for name, entry in entries.items()}


def verdict_text(verdict: Verdict, language: Language) -> str:
    """The verdict's word; in Chinese the English word follows, since exit codes and files use that."""
    word = word_of("verdict", verdict.value, language)
    return word if language == "en" else f"{word} {verdict.value}"


def word_of(group: str, name: str, language: Language) -> str:
    """A word of a group ("verdict", "row", "unit", "status", "side"); a name that is none of it stays as it is."""
    return words_of(language).get(f"{group}_{name}", name)


def is_english(text: str) -> bool:
    """True where a page in Chinese should mark a text as English."""
    return bool(text) and (text.isascii() or not re.search("[\u3400-\u9fff]", text))


def say(reason: Reason, language: Language = "en") -> str:
    """The sentence of a reason.

    Raises `ReasonError`: the catalogue has no such code, or its sentence has other places.
    """
    told, lacking = _told(iter(_sentence(reason.code, language)), reason, language)
    if lacking:
        raise ReasonError(f"{reason.code}: {lacking} is missing")
    return told


def say_all(reasons: Sequence[Reason], language: Language = "en", mark: str = "semicolon") -> str:
    """Several reasons in a row, with a mark between them."""
    return words_of(language)[mark].join(say(one, language) for one in reasons)


def check(reason: Reason) -> None:
    """Refuses what `say` could not tell in every language, and values that no place of the sentence takes.

    Raises `ReasonError`: naming the code and the place.
    """
    if _depth(reason) > _DEEPEST:
        raise ReasonError(f"{reason.code}: reasons stand in one another more than {_DEEPEST} deep")
    for language in LANGUAGES:
        say(reason, language)
    surplus = sorted(reason.values.keys() - places(reason.code))
    if surplus:
        raise ReasonError(f"{reason.code}: has no place for {surplus[0]!r}")


def _depth(reason: Reason) -> int:
    values = [one for value in reason.values.values() for one in (value if isinstance(value, tuple) else (value,))]
    return 1 + max((_depth(one) for one in values if isinstance(one, Reason)), default=0)


_DEEPEST: Final = 8


def places(code: str, language: Language = "en") -> frozenset[str]:
    """The names of all values that a sentence has a place for."""
    parts = _sentence(code, language)
    return frozenset(name for part in parts if part.startswith("{") for name in _place(part)[1])


@cache
def _sentence(code: str, language: Language) -> tuple[str, ...]:
    """The texts and places of a sentence, and the marks between which a part of it stands."""
    try:
        entry = toml_table(data_folder("reports") / "reasons.toml", code)
    except KeyError:
        raise ReasonError(f"{code!r} is no reason that this evalkit knows") from None
    return tuple(_RE.token.split(entry[language]))


@cache
def _place(part: str) -> tuple[str, tuple[str, ...], str]:
    """The format of a place, the names of the values that it needs, its own first, and the group of words."""
    name, _colon, said = part[1:-1].partition(":")
    form, *more = said.split(" ")
    return (form, (name,), more[0]) if form == "in" else (form, (name, *more), "")


def _told(parts: Iterator[str], reason: Reason, language: Language) -> tuple[str, str]:
    """What is said up to the end of a part, and the name of a value that it lacks; what stands within may lack one."""
    said, lacking = "", ""
    for part in parts:
        if part == ">":
            break
        if part == "<":
            inner, missing = _told(parts, reason, language)
            said += "" if missing else inner
        elif not part.startswith("{"):
            said += part
        elif gone := [name for name in _place(part)[1] if name not in reason.values]:
            lacking = gone[0]
        else:
            said += _value(part, reason, language)
    return said, lacking


def _value(part: str, reason: Reason, language: Language) -> str:
    """What stands in a place."""
    form, (name, *more), group = _place(part)
    value, *others = (reason.values[one] for one in (name, *more))
    kinds, write, *beside = _FORMATS.get(form, (_NUMBER, lambda value, _: format(value, form)))
    right = isinstance(value, kinds)
    if isinstance(value, tuple):
        right = right and all(isinstance(one, str) == (form == "names") for one in value)
    if not right or not all(map(isinstance, others, beside)):
        raise ReasonError(f"{reason.code}: {name} cannot be {value!r} beside {others}")
    return str(write(value, *([group] if group else others), language))


# The language stands last in what a writer takes; numbers are the same in every language.
def _plain(value: Any, language: Language) -> str:
    if isinstance(value, Reason):
        return say(value, language)
    return value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)


def _percent(value: float, _language: Language, decimals: int = 1) -> str:
    return f"{numbers.rounded(numbers.points(value), decimals):f}"


def _ends(interval: Interval, margin: float, _language: Language) -> str:
    shown = numbers.shown(interval, margin)
    return f"{numbers.signed(shown.low)} … {numbers.signed(shown.high)}"


def _between(interval: Interval, margin: float, language: Language) -> str:
    shown = numbers.shown(interval, margin)
    side = "better" if shown.low >= 0 else "worse" if shown.high <= 0 else "either"
    return say(Reason(f"between.{side}", {"low": f"{abs(shown.low):f}", "high": f"{abs(shown.high):f}"}), language)


def _span(low: object, high: object, language: Language) -> str:
    return f"{low:f}{words_of(language)['to']}{high:f}"


def _percents(interval: Interval, language: Language) -> str:
    shown = numbers.outward(interval, 0)
    return _span(shown.low, shown.high, language)


def amount(number: float, language: Language = "en") -> str:
    """A large number to three significant digits: 950, 12 k, 3.4 M; Chinese counts in steps of ten thousand."""
    steps = {"en": ((1e9, "G"), (1e6, "M"), (1e3, "k")), "zh": ((1e8, "亿"), (1e4, "万"))}[language]
    for size, unit in steps:
        if number >= size:
            return f"{numbers.significant(number / size, digits=3):f} {unit}"
    return f"{number:.0f}"


def _names_told(texts: tuple[str, ...], *total_and_language: Any) -> str:
    *total, language = total_and_language
    more = bool(total) and len(texts) < total[0]
    return words_of(language)["list"].join((*texts, "…") if more else texts)


_NUMBER: Final = (int, float)
_INTERVAL, _TEXT, _TUPLE = (Interval,), (str,), (tuple,)
_FORMATS: Final[Mapping[str, tuple[Any, ...]]] = {
    "": ((str, int, float, Reason), _plain),
    "points": (_NUMBER, lambda value, _: f"{numbers.shortest(numbers.points(value), 0):f}"),
    "points_2": (_NUMBER, partial(_percent, decimals=2)),
    "signed": (_NUMBER, lambda value, _: numbers.signed(numbers.rounded(numbers.points(value), 2))),
    "percent": (_NUMBER, _percent),
    "percent_0": (_NUMBER, partial(_percent, decimals=0)),
    "whole": (_NUMBER, lambda value, _: f"{numbers.shortest(numbers.rounded(numbers.points(value), 1), 0):f}"),
    "percent_down": (_NUMBER, lambda value, _: f"{numbers.outward(Interval(value, value, 0), 1).low:f}"),
    "ends": (_INTERVAL, _ends, _NUMBER),
    "low": (_INTERVAL, lambda value, margin, _: f"{abs(numbers.shown(value, margin).low):f}", _NUMBER),
    "high": (_INTERVAL, lambda value, margin, _: f"{abs(numbers.shown(value, margin).high):f}", _NUMBER),
    "level": (_INTERVAL, lambda value, _: f"{numbers.shortest(numbers.points(value.level), 0, 2):f}"),
    "between": (_INTERVAL, _between, _NUMBER),
    "change": (_NUMBER, lambda value, *of: numbers.change_text(numbers.change(value, *of[:2])), Interval, _NUMBER),
    "digits": (
        _NUMBER,
        lambda value, *of: numbers.signed(numbers.change(value, *of[:2]).difference),
        Interval,
        _NUMBER,
    ),
    "percents": (_INTERVAL, _percents),
    "near": (_INTERVAL, lambda value, limit, language: _span(*numbers.beside(value, limit)[:2], language), _NUMBER),
    "limit": (_NUMBER, lambda value, interval, _: f"{numbers.beside(interval, value)[2]:f}", Interval),
    "amount": (_NUMBER, amount),
    "millions": (_NUMBER, lambda value, of: f"{numbers.significant(value / (1e6 if of == 'en' else 1e4), digits=3):f}"),
    "times": (_TEXT, lambda value, _: {"0": "never", "1": "once"}.get(value, f"{value} times")),
    "in": (_TEXT, lambda value, group, language: word_of(group, value, language)),
    "verdict": (_TEXT, lambda value, of: verdict_text(Verdict(value), of) if value in set(Verdict) else value),
    "names": (_TUPLE, _names_told, _NUMBER),
    "list": (_TUPLE, say_all),
    "commas": (_TUPLE, partial(say_all, mark="list")),
}
"""By format: the types that it takes, the function that prints a value, and the types of what it looks at beside it."""


# Whatever a model, a data set, an endpoint or a suite file says: one function per format, each leaving what a reader
# sees unchanged. Control and direction-changing characters, which no format needs, become U+FFFD first: they move
# cursors, forge lines and break XML.
def clean(text: str) -> str:
    """Text without control and direction-changing characters; CRLF becomes a newline, other intruders U+FFFD."""
    return _RE.unwanted.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """`clean`, with every run of white space made one space."""
    return re.sub(r"\s+", " ", clean(text))


def without_commands(text: str) -> str:
    """Text for a terminal; in a GitHub job, which reads commands from it, none can be told from text any more."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return text
    return _RE.command.sub(r"\g<0> ", text)


def markdown(text: str) -> str:
    """Text for one line of GitHub-flavoured Markdown, in a table cell or not; no HTML, no link, no emphasis."""
    line = _RE.markdown.sub(r"\\\1", one_line(text))
    line = _RE.markdown_underscore.sub(r"\\_", line)
    line = line.replace("://", r"\://").replace("www.", r"www\.")
    return _RE.markdown_start.sub(_escape_start, line)


def _escape_start(match: re.Match[str]) -> str:
    space, sign, number, mark = match.groups()
    return f"{space}\\{sign}" if sign else f"{space}{number}\\{mark}"


def xml_text(text: str) -> str:
    """Text between two tags of XML."""
    return html.escape(clean(text), quote=False)


def xml_value(text: str) -> str:
    """Text for an attribute's value in XML, or anywhere else in it: no quote, no line end that a parser changes."""
    return html.escape(clean(text), quote=False).translate({34: "&quot;", 10: "&#10;", 9: "&#09;"})


def latex(text: str) -> str:
    """Text for LaTeX's text mode: no command, no alignment character, no ligature."""
    return re.sub("-(?=-)", "-{}", one_line(text).translate(_latex()))


@cache
def _latex() -> dict[int, str]:
    return str.maketrans(toml_table(data_folder("reports") / "latex.toml", "characters"))


def csv_cell(text: str) -> str:
    """Text as one quoted CSV cell; a leading =, +, -, @ gets an apostrophe so that no spreadsheet computes it."""
    cell = clean(text)
    if cell.lstrip().startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠")):
        cell = "'" + cell
    return '"' + cell.replace('"', '""') + '"'
