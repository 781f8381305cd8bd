"""What a report that is passed on must not say: where the endpoints are.

Addresses stand in what an endpoint says of itself, in the configuration keys that differ, and in sentences about
requests that failed. The host goes; the rest of an address stays, so that a reader still sees what it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

from evalkit.model import Comparison, Difference, RunIdentity, SuiteResult

HIDDEN: Final = "…"

_URL: Final = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]{0,20}://)(?:[^\s/?#@'\"<>]{0,200}@)?([^\s/?#'\"<>,;]{1,300})")
_PORT: Final = re.compile(r":\d{1,5}\Z")
_ADDRESS_KEY: Final = re.compile(
    r"(?:^|[._])(?:hosts?|hostname|address|addresses|base_urls?|urls?|ip)\Z", re.IGNORECASE
)


def is_address_key(name: str) -> bool:
    """True where a dotted key says that its value is an address."""
    return bool(_ADDRESS_KEY.search(name))


def without_hosts(comparison: Comparison) -> Comparison:
    """The comparison with every endpoint's host replaced by an ellipsis, wherever a report prints it."""
    hide = _hider(_hosts(_texts(comparison)))
    return replace(
        comparison,
        reference=_identity(comparison.reference, hide),
        candidate=_identity(comparison.candidate, hide),
        suites=tuple(_suite(suite, hide) for suite in comparison.suites),
        differences=tuple(_difference(difference, hide) for difference in comparison.differences),
        reasons=tuple(map(hide, comparison.reasons)),
        notes=tuple(map(hide, comparison.notes)),
    )


def _texts(comparison: Comparison) -> Iterable[str]:
    """Everything in which an address may stand."""
    for run in (comparison.reference, comparison.candidate):
        yield from run.endpoint.values()
    for difference in comparison.differences:
        yield difference.reference
        yield difference.candidate
    yield from comparison.reasons
    yield from comparison.notes
    for suite in comparison.suites:
        yield from (*suite.reasons, *suite.notes, *(row.alert for row in suite.behaviour))


def _hosts(texts: Iterable[str]) -> set[str]:
    """The hosts of all addresses, without their ports."""
    return {_PORT.sub("", match[2]) for text in texts for match in _URL.finditer(text)} - {HIDDEN}


def _hider(hosts: set[str]) -> Callable[[str], str]:
    """Replaces hosts: in addresses, with a port behind them, and, where no ordinary word looks so, anywhere."""
    either = "|".join(re.escape(host) for host in sorted(hosts, key=len, reverse=True))
    dotted = "|".join(re.escape(host) for host in sorted(hosts, key=len, reverse=True) if "." in host)
    patterns = [re.compile(rf"(?<![\w.-])(?:{either}):\d{{1,5}}(?!\d)")] if either else []
    patterns += [re.compile(rf"(?<![\w.-])(?:{dotted})(?![\w-])")] if dotted else []

    def hide(text: str) -> str:
        text = _URL.sub(rf"\g<1>{HIDDEN}", text)
        for pattern in patterns:
            text = pattern.sub(HIDDEN, text)
        return text

    return hide


def _identity(run: RunIdentity, hide: Callable[[str], str]) -> RunIdentity:
    return replace(run, endpoint=_values(run.endpoint, hide))


def _values(values: Mapping[str, str], hide: Callable[[str], str]) -> dict[str, str]:
    return {key: _value(key, value, hide) for key, value in values.items()}


def _value(key: str, value: str, hide: Callable[[str], str]) -> str:
    """A value by its key: what is called an address is one, whatever it looks like."""
    hidden = hide(value)
    bare = hidden == value and value not in {"", "(not set)"} and HIDDEN not in value
    return HIDDEN if bare and is_address_key(key) else hidden


def _difference(difference: Difference, hide: Callable[[str], str]) -> Difference:
    sides = (_value(difference.key, text, hide) for text in (difference.reference, difference.candidate))
    return Difference(difference.key, *sides)


def _suite(suite: SuiteResult, hide: Callable[[str], str]) -> SuiteResult:
    return replace(
        suite,
        reasons=tuple(map(hide, suite.reasons)),
        notes=tuple(map(hide, suite.notes)),
        behaviour=tuple(replace(row, alert=hide(row.alert)) for row in suite.behaviour),
    )
