"""Who answers a side: by which names, builds and addresses, and whether all of it is the one model that is asked for.

A server that comes back as another model, or a gateway that passes questions on to another, says so in its replies.
What an endpoint calls one model is taken from its list of models: servers answer under an alias, the path of the
weights or a dated name. Where the list leaves open whether two names are one model, both are kept, and the comparison
says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from evalkit.errors import EndpointError
from evalkit.model import Reason, Reply
from evalkit.run.manifest import Answered, Session
from evalkit.run.records import Answerer

if TYPE_CHECKING:  # who only reads what is stored asks nobody
    from evalkit.endpoint.identity import Names

_MOST_BUILDS: Final = 50  # a server that names more builds than this names one a reply, and says nothing by it
_SHARE: Final = 8  # answers for each address of a side: with as many, one that gave none was not there


@dataclass(slots=True)
class Answerers:
    """Counts who answers a side, and stops it at another model; begins with who gave the stored answers."""

    side: str
    names: Names
    counts: Counter[Answerer] = field(default_factory=Counter)
    _stopped: EndpointError | None = None

    def take(self, reply: Reply) -> None:
        """Counts a reply that is to be kept.

        Raises `EndpointError`: another model gave it than those before it, or gave an earlier one.
        """
        by = Answerer.of(reply)
        if by not in self.counts and by.model and not self._is_one(by.model):
            self._stopped = self._stopped or self._another(by)
        if self._stopped is not None:
            raise self._stopped
        self.counts[by] += 1

    def _is_one(self, name: str) -> bool:
        """The first name stands for the model unless the list gives it to another; others must be known to be its."""
        before = models(self.counts).keys()
        if not before:
            return name not in self.names.other
        return name in before or {name, *before} <= self.names.same | self.names.open

    def _another(self, by: Answerer) -> EndpointError:
        before = models(self.counts)
        where = f" at {by.address}" if by.address else ""
        if not before:
            known = " or ".join(map(repr, sorted(self.names.same)))
            why = f"{known} was asked for, and {by.model!r} answers{where}, another model by its list of models"
            advice = "nothing of it is kept; give the address of the server itself, or the right `model:`"
            return EndpointError.of(self.side, why, advice)
        counted = ", ".join(f"{n:,} answer{'s' * (n != 1)} by {name!r}" for name, n in before.most_common())
        usual = before.most_common(1)[0][0]
        return EndpointError.of(
            self.side,
            f"another model answers: {counted}, now {by.model!r}{where}",
            f"its answer is not kept, all before it are: have {usual!r} served there again and run again, or give the "
            "run another `name:` to ask the other one; where both are one model, list them under `aliases:`",
        )


def models(counts: Mapping[Answerer, int]) -> Counter[str]:
    """How many answers came under each name; replies that name no model say nothing."""
    found: Counter[str] = Counter()
    for by, n in counts.items():
        if by.model:
            found[by.model] += n
    return found


def rows(counts: Mapping[Answerer, int]) -> list[Answered]:
    """The counts as a manifest keeps them, the most frequent first."""
    if len({by.fingerprint for by in counts}) > _MOST_BUILDS:
        unsaid: Counter[Answerer] = Counter()
        for by, n in counts.items():
            unsaid[by._replace(fingerprint="")] += n
        counts = unsaid
    return [Answered(*by, n) for by, n in Counter(counts).most_common()]


_OF_THE_SERVER: Final = ("version", "llama_cpp_build", "sglang_version", "root", "model_path")
"""What an endpoint says of itself that may decide its answers."""


def blend(session: Session) -> Iterator[Reason]:
    """Why a run whose answers name several models is none that can be judged; nothing where they may be one model."""
    named = _models(session)
    if len(named) > 1 and not named.keys() <= {*session.same_names, *session.open_names}:
        yield Reason("run.models", {"run": session.name, "models": _counted(named)})


def remarks(session: Session, sessions: Iterable[Session]) -> Iterator[Reason]:
    """What is to be known of who gave a run's answers: names of one model, builds, servers, silent addresses."""
    named, known = _models(session), {*session.same_names, *session.open_names}
    if named.keys() <= known and not named.keys() <= set(session.same_names) and len(named) > 1:
        yield Reason("note.names", {"name": session.name, "models": _counted(named)})
    if len(named) == 1 and not named.keys() <= known and known:
        yield Reason("note.unlisted", {"name": session.name, "answered": next(iter(named)), "model": session.model})
    builds: Counter[str] = Counter()
    for row in session.answered:
        builds[row.fingerprint] += row.answers
    del builds[""]
    if len(builds) > 1:
        yield Reason("note.builds", {"name": session.name, "builds": _counted(builds)})
    urls = {str(url) for url in session.config.get("base_urls") or ()}
    given = [row for row in session.answered if row.address in urls]
    silent, n = urls - {row.address for row in given}, sum(row.answers for row in given)
    if silent and n >= _SHARE * len(urls):
        yield Reason("note.silent", {"name": session.name, "n": n, "addresses": tuple(sorted(silent))})
    before: Mapping[str, str] = {}
    for one in sessions:
        if one.plan == session.plan and one.endpoint:
            for key in _OF_THE_SERVER:
                was, now = before.get(key), one.endpoint.get(key)
                if was and now and was != now:
                    yield Reason("note.server", {"name": session.name, "key": key, "before": was, "now": now})
            before = one.endpoint


def second_run(one: Session, two: Session) -> tuple[tuple[Reason, ...], tuple[Reason, ...]]:
    """Why a second run is none of the first one's model, by the rule of one run; names and builds that both show."""
    same, left_open = {*one.same_names, *two.same_names}, {*one.open_names, *two.open_names}
    answered = (*one.answered, *two.answered)
    both = replace(one, answered=answered, same_names=sorted(same), open_names=sorted(left_open - same))
    first, second = _counted(_models(one)), _counted(_models(two))
    why = [Reason("run.second", {"run": one.name, "first": first, "second": second}) for _ in blend(both)]
    notes = (note for note in remarks(both, ()) if note.code in {"note.names", "note.builds"})
    return tuple(why), tuple(notes)


def _models(session: Session) -> Counter[str]:
    """How many of a run's answers came under each name."""
    found: Counter[Answerer] = Counter()
    for row in session.answered:
        found[Answerer(row.model, row.fingerprint, row.address)] += row.answers
    return models(found)


def _counted(counts: Counter[str]) -> tuple[str, ...]:
    return tuple(f"{name} ({n:,})" for name, n in counts.most_common())
