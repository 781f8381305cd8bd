"""What a report that is passed on must not say: where the endpoints are, and in which folders of whose machine.

Addresses and paths stand in what an endpoint says of itself, in the configuration keys that differ, and in sentences
about requests that failed. The host goes and so do the folders; the rest of an address and the name of a file (of
weights, say) stay, so that a reader still sees what it was.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from evalkit.model import Comparison, Difference, Reason, RunIdentity, SuiteResult
from evalkit.render.document import reasons_of
from evalkit.resources import Patterns

HIDDEN: Final = "…"

_RE: Final = Patterns("private")


def fit_to_pass_on(comparison: Comparison) -> Comparison:
    """The comparison without hosts, and with every absolute path shortened to its last part."""
    shown = _changed(without_hosts(comparison), _shortened, without_folders)
    reference, candidate = (
        replace(run, model=_short_value("model", run.model)) for run in (shown.reference, shown.candidate)
    )
    return replace(shown, reference=reference, candidate=candidate)


def without_folders(key: str, one: str, other: str) -> tuple[str, str]:
    """Two values of a dotted key that differ, with their absolute paths shortened; they still differ then."""
    short, alike = _short_value(key, one), _short_value(key, other)
    if short != alike or one == other:
        return short, alike
    return short.replace(f"{HIDDEN}/", f"{HIDDEN}(1)/"), alike.replace(f"{HIDDEN}/", f"{HIDDEN}(2)/")


def _short_value(key: str, value: str) -> str:
    """A value that is one path may have blanks in it; in a command they part its words."""
    whole = None if _RE.command_key.search(key) else _RE.one_path.fullmatch(value)
    return f"{HIDDEN}/{whole['name']}" if whole else _shortened(value)


def _shortened(text: str) -> str:
    return _RE.path.sub(lambda match: match["address"] or f"{HIDDEN}/{match['name']}", text)


def is_address_key(name: str) -> bool:
    """True where a dotted key says that its value is an address."""
    return bool(_RE.address_key.search(name))


def without_hosts(comparison: Comparison) -> Comparison:
    """The comparison with every endpoint's host replaced by an ellipsis, wherever a report prints it."""
    texts = [text for reason in reasons_of(comparison) for text in reason.texts()]
    for values in (comparison.reference.endpoint.values(), comparison.candidate.endpoint.values()):
        texts += values
    for one in comparison.differences:
        texts += (one.reference, one.candidate)
    hide = _hider({_RE.port.sub("", match[2]) for text in texts for match in _RE.url.finditer(text)} - {HIDDEN})

    def value(key: str, text: str) -> str:
        """What is called an address is one, whatever it looks like."""
        hidden = hide(text)
        bare = hidden == text and text not in {"", "(not set)"} and HIDDEN not in text
        return HIDDEN if bare and is_address_key(key) else hidden

    return _changed(comparison, hide, lambda key, one, other: (value(key, one), value(key, other)))


def _hider(hosts: set[str]) -> Callable[[str], str]:
    """Replaces hosts: in addresses, with a port behind them, and, where no ordinary word looks so, anywhere."""
    either = "|".join(re.escape(host) for host in sorted(hosts, key=len, reverse=True))
    dotted = "|".join(re.escape(host) for host in sorted(hosts, key=len, reverse=True) if "." in host)
    patterns = [re.compile(rf"(?<![\w.-])(?:{either}):\d{{1,5}}(?!\d)")] if either else []
    patterns += [re.compile(rf"(?<![\w.-])(?:{dotted})(?![\w-])")] if dotted else []

    def hide(text: str) -> str:
        text = _RE.url.sub(rf"\g<1>{HIDDEN}", text)
        for pattern in patterns:
            text = pattern.sub(HIDDEN, text)
        return text

    return hide


def _changed(
    comparison: Comparison, said: Callable[[str], str], pair: Callable[[str, str, str], tuple[str, str]]
) -> Comparison:
    """The comparison with every text changed by `said`, and the two values of every dotted key by `pair`."""

    def changed(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
        return tuple(reason.with_texts(said) for reason in reasons)

    def side(run: RunIdentity) -> RunIdentity:
        return replace(run, endpoint={key: pair(key, value, value)[0] for key, value in run.endpoint.items()})

    def suite(one: SuiteResult) -> SuiteResult:
        rows = tuple((row.alert and replace(row, alert=row.alert.with_texts(said))) or row for row in one.behaviour)
        return replace(one, reasons=changed(one.reasons), notes=changed(one.notes), behaviour=rows)

    probe = comparison.probe
    return replace(
        comparison,
        reference=side(comparison.reference),
        candidate=side(comparison.candidate),
        differences=tuple(
            Difference(one.key, *pair(one.key, one.reference, one.candidate)) for one in comparison.differences
        ),
        suites=tuple(map(suite, comparison.suites)),
        reasons=changed(comparison.reasons),
        notes=changed(comparison.notes),
        probe=probe and replace(probe, reasons=changed(probe.reasons)),
    )
