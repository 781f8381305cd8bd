"""Whether two sides can be compared at all, known before anything is asked, by the rule of `compare.validity`."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from evalkit.compare.columns import SuiteFacts
from evalkit.compare.validity import Policy, unlike_suites
from evalkit.config import EndpointConfig, redacted
from evalkit.errors import ConfigError
from evalkit.model import Reason, fraction
from evalkit.render.words import say
from evalkit.run.manifest import Session, SuiteRecord
from evalkit.run.plan import (
    Chosen,
    Plan,
    chosen_suites,
    judge_id,
    key_of_suite,
    margin_pt_of,
    overall_margin_pt,
    parameters_of,
    suite_record,
)
from evalkit.run.read import facts_of, sampled

Unlike: TypeAlias = tuple[tuple[str, Reason], ...]  # (suite, why it would be INVALID)

_OF_ENTRY: Final = {"differ.margins": "margin_pt", "differ.data": "limit", "differ.prompts": "settings"}


@dataclass(frozen=True, slots=True)
class Side:
    """What one side says of its suites before it is asked; `place` says where, for a suite and a reason.

    `overall_margin` is the tolerance of the mean over suites that it names (a fraction), None for none.
    """

    facts: Mapping[str, SuiteFacts]
    place: Callable[[str, Reason], str]
    overall_margin: float | None


def configured(config: EndpointConfig) -> Side:
    """A side as far as its file alone tells: what needs the data set is left open."""
    chosen = {one.suite.name: one for one in chosen_suites(config)}
    run = {name: one for name, one in chosen.items() if "judge" not in one.suite.needs or config.judge is not None}
    facts = {name: _facts(config, one) for name, one in run.items()}
    return Side(facts, _places(config, chosen), _fraction(overall_margin_pt(config)))


def planned(config: EndpointConfig, plan: Plan) -> Side:
    """A side whose suites are loaded."""
    chosen = {one.suite.name: one for one in chosen_suites(config)}
    facts = _recorded(map(suite_record, plan.suites))
    return Side(facts, _places(config, chosen), _fraction(plan.overall_margin_pt))


def stored(session: Session, folder: Path, asked: Iterable[str]) -> Side:
    """A side that was asked before; suites other than those `asked` now do not count."""
    wanted = set(asked)
    facts = _recorded(one for one in session.suites if one.suite in wanted)
    return Side(facts, lambda _suite, _reason: str(folder), _fraction(session.overall_margin_pt))


def unlike(reference: Side, candidate: Side, policy: Policy) -> Unlike:
    """What makes suites, or "overall", INVALID whatever is answered."""
    found = list(unlike_suites(reference.facts, candidate.facts, policy))
    overall = policy.overall_conflict(reference.overall_margin, candidate.overall_margin)
    if overall is not None and len(reference.facts) > 1:
        found.append(("overall", overall))
    return tuple(found)


def refuse_unlike(reference: Side, candidate: Side, policy: Policy) -> None:
    """Refuses what would be INVALID whatever is answered.

    Raises `ConfigError`: naming each thing with its suites, and where both sides say it.
    """
    by_sentence: dict[str, list[str]] = {}
    for suite, reason in unlike(reference, candidate, policy):
        places = [side.place(suite, reason) for side in (reference, candidate)]
        by_sentence.setdefault(f"{' and '.join(dict.fromkeys(places))}: {say(reason)}", []).append(suite)
    if by_sentence:
        told = "; ".join(f"{sentence} ({', '.join(suites)})" for sentence, suites in by_sentence.items())
        fix = "make both sides say the same, or give --anyway"
        raise ConfigError(f"{told}: the comparison would be INVALID whatever is answered: {fix}")


def _fraction(points: float | None) -> float | None:
    return None if points is None else fraction(points)


def _recorded(records: Iterable[SuiteRecord]) -> dict[str, SuiteFacts]:
    return {record.suite: facts_of(record) for record in records}


def _facts(config: EndpointConfig, chosen: Chosen) -> SuiteFacts:
    """An empty digest is one that only the data set tells: the suite's own stop texts, how many items there are."""
    parameters = sampled(redacted(parameters_of(config, chosen, ())))  # as a manifest holds them
    known = [size for size in (chosen.suite.rows, chosen.choice.limit) if size is not None]
    judge = judge_id(config.judge) if config.judge is not None and "judge" in chosen.suite.needs else ""
    return SuiteFacts(
        suite=chosen.suite.name,
        label=chosen.choice.label or chosen.suite.label,
        margin=fraction(margin_pt_of(chosen)),
        headline=chosen.suite.headline,
        digests={
            "sampling.stop": "",
            **parameters,
            "scorer": judge,
            "items": "" if chosen.suite.rows is None or chosen.choice.partial_data else str(min(known)),
        },
    )


def _places(config: EndpointConfig, chosen: Mapping[str, Chosen]) -> Callable[[str, Reason], str]:
    """File and line of what a reason is about: the nearest key that decides it for the suite, else the file's name."""

    def place(suite: str, reason: Reason) -> str:
        entry = key_of_suite(config, suite)
        about = _OF_ENTRY.get(reason.code, str(reason.values.get("key", "")))
        overall = reason.code == "differ.overall"
        tried = iter(("overall", "pack")) if overall else _keys(about, entry, chosen.get(suite))
        found = next((key for key in tried if config.says(key)), "name")
        return config.where(found)

    return place


def _keys(about: str, entry: str, chosen: Chosen | None) -> Iterator[str]:
    """The keys that may say something of a suite, the deciding one first."""
    section, _, field = about.rpartition(".")
    if section == "sampling":
        inside = (field, f"extra_body.{field}", "profile")
        yield from (f"{entry}.sampling.{key}" for key in inside)
        if chosen is not None and chosen.choice.sampling.model_fields_set & {field, "extra_body", "profile"}:
            yield "pack"
        yield from (*(f"sampling.{key}" for key in inside), "sampling")
        return
    yield f"{entry}.{'limit' if about == 'items' else about}"
    yield from ("data",) if about == "limit" else ()
    yield from ("judge.model",) if about == "scorer" else ()
    yield from (entry, "suites")
