"""Did the candidate run FlagOS's operators, and the reference none of them? By what the runs noted of both."""

from dataclasses import replace

from evalkit.compare.columns import Side
from evalkit.model import Reason, RunIdentity, Value


def n_operators(run: RunIdentity) -> int | None:
    """How many operators of FlagGems a run noted; None where it noted nothing."""
    number = run.endpoint.get("operators", "").partition(":")[0]
    return int(number) if number.isdecimal() else None


def with_operators(reference: Side, candidate: Side) -> Side:
    """The candidate with a defect of every suite where CUDA is compared with CUDA, else with a claim of what ran.

    Of a candidate that is not said to run FlagOS nothing is said.
    """
    one, two = reference.identity, candidate.identity
    ran, there = n_operators(two), n_operators(one)
    told: dict[str, Value] = {"name": two.name, "reference": one.name, "n": ran or 0}
    told |= {} if there is None else {"there": there}
    if ran is None:
        why = two.endpoint.get("operators_absent")
        if why is None and two.endpoint.get("flagos") != "on":
            return candidate
        note = Reason("claims.operators_unproven", told | ({"why": why} if why else {}))
        return replace(candidate, notes=(*candidate.notes, note))
    if ran == 0:
        return candidate.with_defects((Reason("operators.none", told),))
    if one.endpoint.get("flagos") != "on" and one.endpoint.get("operators") == two.endpoint["operators"]:
        return candidate.with_defects((Reason("operators.same", told),))
    return replace(candidate, notes=(*candidate.notes, Reason("claims.operators", told)))
