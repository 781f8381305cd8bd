"""What the fidelity probe's findings say: comparisons, margins from the reference's own noise, verdict; and as JSON."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from difflib import SequenceMatcher
from pathlib import Path
from statistics import median
from typing import Any, Final

import orjson

from evalkit import codec
from evalkit.errors import UsageError
from evalkit.examine.divergence import Divergence, ScoredText, divergence, near_tie_nats
from evalkit.examine.fidelity import (
    FLOORS,
    MOST_AGAIN,
    Fidelity,
    Margins,
    all_findings,
    judge_divergence,
    margins,
    overall_fidelity,
    rule_of_three,
)
from evalkit.examine.forcing import TokenIds
from evalkit.examine.probe import Asked, Findings, Material, Plan, Scores
from evalkit.examine.texts import DrawnNll, Greedy, drawn_nll, ends, greedy_texts, judge_drawn
from evalkit.files import write_whole
from evalkit.model import Probe, Reason, Verdict
from evalkit.resources import __version__

FORMAT: Final = 1
NAME: Final = "probe.json"
AGAIN: Final = "reference again"
"""The reference's texts on the reference, scored twice: in another order, with less at a time."""
OTHERWISE: Final = "reference otherwise"  # the reference's texts on the reference, and on the same served a second way
READING: Final = "reference decoding"  # the reference's texts: as decoded, and scored afterwards
FORWARD: Final = "reference's texts"  # scored on both sides
BACKWARD: Final = "candidate's texts"  # as the candidate decoded them, and scored on the reference
SELF: Final = "candidate decoding"
"""The candidate's texts: as decoded, and scored afterwards on the candidate; needs no reference."""
DRAWN: Final = "drawn texts"
AS_SUITES: Final = "drawn as the suites"
ADDRESSES: Final = "addresses"

LEAST_COMMON: Final = 0.2
"""Two templates share at least the user's words; prompts with less than this in common are numbered differently."""


@dataclass(frozen=True, slots=True)
class FidelityReport:
    """The probe's result. `noise` and `comparisons` are by name; `judged` has an entry for each comparison.

    `other_prompts` counts the prompts that reach the two models as different tokens. `stops` says that the fault is so
    large that no suite need be asked.
    """

    verdict: Verdict
    reasons: tuple[Reason, ...]
    margins_nats: Margins | None
    noise: Mapping[str, Divergence]
    comparisons: Mapping[str, Divergence | None]
    judged: Mapping[str, Fidelity]
    greedy: Greedy
    drawn: Mapping[str, DrawnNll | None]
    prompts: int
    other_prompts: int
    asked: Mapping[str, Asked]
    stops: bool = False


def assess(findings: Findings, looks: tuple[int, ...] = (1,)) -> FidelityReport:
    """Judge what was measured; INVALID where the reference's own noise could not be had or the tokenisers differ.

    `looks` are the tokens asked at every look at this probe, rising; the last is this one.
    """
    drawn, own = findings.reference, findings.candidate
    noise, found, near_tie = _measured(findings)
    known = {name: one for name, one in noise.items() if one is not None}
    other = sum(a is not None and b is not None and a != b for a, b in zip(drawn.prompts, own.prompts, strict=True))
    sizes = [one.max_abs for one in (*known.values(), *found.values()) if one is not None]
    greedy = greedy_texts(drawn.greedy, own.greedy, near_tie, max(sizes, default=0.0))
    nll = {DRAWN: drawn_nll(drawn.texts, own.texts), AS_SUITES: drawn_nll(drawn.sampled, own.sampled)}
    tolerance: Margins | None = None
    judged: dict[str, Fidelity] = {}
    verdict = Verdict.INVALID
    if AGAIN not in known or READING not in known:
        reasons: tuple[Reason, ...] = (Reason("probe.no_noise"),)
    elif other and in_common(drawn.prompts, own.prompts) < LEAST_COMMON:
        reasons = (Reason("probe.numbering"),)
    else:
        tolerance = margins(tuple(known.values()))
        own_noise = {FORWARD: known.get(OTHERWISE, known[AGAIN]), BACKWARD: known[READING], SELF: known[READING]}
        judged = {name: judge_divergence(one, tolerance, own_noise[name], looks) for name, one in found.items()}
        judged |= {name: judge_drawn(one) for name, one in nll.items() if one is not None}
        odd = _odd_addresses(findings, -1, tolerance, known[AGAIN])
        judged |= {ADDRESSES: Fidelity(Verdict.DEGRADED, odd)} if odd else {}
        verdict, reasons = _concluded(judged, tolerance, found)
        if margins((known[AGAIN],)) != FLOORS:  # its own addresses may not be alike
            reasons = (*reasons, *_odd_addresses(findings, 0, FLOORS, known[AGAIN]))
        if BACKWARD not in found:
            reasons = (*reasons, Reason("probe.recorded"))
    if other:
        reasons = (*reasons, Reason("probe.prompts", {"n": other, "all": len(drawn.prompts)}))
    elif greedy.unexplained:
        reasons = (*reasons, Reason("probe.greedy", {"n": greedy.unexplained, "all": greedy.compared}))
    return FidelityReport(
        verdict=verdict,
        reasons=(*reasons, *ends(drawn.texts, own.texts, findings.plan.tokens)),
        margins_nats=tolerance,
        noise=known,
        comparisons=found,
        judged=judged,
        greedy=greedy,
        drawn=nll,
        prompts=len(drawn.prompts),
        other_prompts=other,
        asked=findings.asked,
        stops=verdict is Verdict.DEGRADED and any(one.stops for one in judged.values()),
    )


def _measured(findings: Findings) -> tuple[dict[str, Divergence | None], dict[str, Divergence | None], float]:
    """The reference's own noise, the comparisons with the candidate, and what is a near-tie, in nats."""
    drawn, own, scores = findings.reference, findings.candidate, findings.scores
    forced = scores["reference_on_reference"]
    back = scores.get("candidate_on_reference")  # neither a bisect nor a passport has it
    first = _compared(forced, scores["reference_again"], 0.0)
    near_tie = near_tie_nats(first) if first is not None else 0.0
    noise = {AGAIN: first, READING: _compared(_decoded(drawn), forced, near_tie)}
    if "reference_otherwise" in scores:
        noise[OTHERWISE] = _compared(forced, scores["reference_otherwise"], near_tie)
    found = {
        FORWARD: _compared(forced, scores["reference_on_candidate"], near_tie),
        **({} if back is None else {BACKWARD: _compared(_decoded(own), back, near_tie)}),
        SELF: _compared(_decoded(own), scores["candidate_on_candidate"], near_tie),
    }
    return noise, found, near_tie


def _concluded(
    judged: Mapping[str, Fidelity], tolerance: Margins, found: Mapping[str, Divergence | None]
) -> tuple[Verdict, tuple[Reason, ...]]:
    """The verdict with its reasons; where it is no fault, also what was found besides, and how rare a fault must be."""
    if not tolerance.usable:
        return Verdict.INVALID, (Reason("probe.noisy", {"k3": tolerance.k3}),)
    verdict, reasons = overall_fidelity(judged)
    if verdict not in {Verdict.EQUIVALENT, Verdict.INCONCLUSIVE}:
        return verdict, reasons
    rare = rule_of_three([one for name in (FORWARD, BACKWARD) if (one := found.get(name)) is not None])
    return verdict, (*reasons, *all_findings(judged), *rare)


def _odd_addresses(findings: Findings, side: int, tolerance: Margins, noise: Divergence) -> tuple[Reason, ...]:
    """Addresses of a side (0 the reference, -1 the candidate) whose texts are shown to differ, another's not."""
    costs = list(findings.asked.values())
    addresses = costs[side].addresses if costs else ()
    n = len(addresses)
    forced, there = (findings.scores[name] for name in ("reference_on_reference", "reference_on_candidate"))
    shares = [_compared(forced[at::n], there[at::n], 0.0) for at in range(n)] if n > 1 else []
    verdicts = [judge_divergence(one, tolerance, replace(noise, by_sequence=())).verdict for one in shares]
    return tuple(
        Reason("probe.address", {"address": url, "k3": one.k3.point, "n": one.sequences, "nats": one.worst_text})
        for url, one, verdict in zip(addresses, shares, verdicts, strict=False)
        if one is not None and verdict is Verdict.DEGRADED and set(verdicts) != {verdict}
    )


def document(report: FidelityReport, findings: Findings, created: str, version: str) -> dict[str, Any]:
    """The probe as one JSON-able document: the verdict, every statistic, the costs, and the plan."""
    plan = {name: getattr(findings.plan, name) for name in ("tokens", "greedy", "seed", "at_once")}
    told = {"format": FORMAT, "kind": "fidelity probe", "created": created, "evalkit_version": version}
    found = {"noise": report.noise, "comparisons": report.comparisons}
    measured = {key: {name: one and _statistics(one) for name, one in every.items()} for key, every in found.items()}
    return {**told, "exit_code": report.verdict.exit_code, **asdict(report), **measured, "plan": plan}


def keep(
    findings: Findings, home: Path, more: Mapping[str, Any], looks: Sequence[int] = ()
) -> tuple[FidelityReport, dict[str, Any]]:
    """Judges what was found and keeps it in `home`, with `more` in the document; gives the report and the document.

    `looks` are those of `looks_at`; without any this is the first.

    Raises `StorageError`: where the disk refuses.
    """
    now = asked_tokens(findings.plan)
    before = looks or (now,)
    report = assess(findings, tuple(tokens for tokens in before if tokens <= max(before[0], now)))
    created = datetime.now(UTC).isoformat(timespec="seconds")
    told = document(report, findings, created, __version__) | {"looks": before} | dict(more)
    write_whole(home / NAME, orjson.dumps(told, option=orjson.OPT_INDENT_2))
    write_whole(home / "probe_tokens.jsonl", (orjson.dumps(entry) + b"\n" for entry in sequences(findings)))
    return report, told


def asked_tokens(plan: Plan) -> int:
    """How much a plan asks, by which looks are counted."""
    return len(plan.prompts) * plan.tokens


def looks_at(home: Path, names: Sequence[str], plan: Plan) -> list[int]:
    """The tokens of all looks at the probe in a folder, this one included, rising; those of other names or seeds aside.

    Asking again what was asked before, or less, is no further look.

    Raises `UsageError`: more would be asked than the first look allows.
    """
    now, before = asked_tokens(plan), []
    try:
        told = orjson.loads((home / NAME).read_bytes())
        if list(told["asked"]) == list(names) and told["plan"]["seed"] == plan.seed:
            before = [int(tokens) for tokens in told["looks"]]
    except (OSError, ValueError, TypeError, KeyError):
        pass  # none, or none that can be read
    first = before[0] if before else now
    if now > MOST_AGAIN * first:
        raise UsageError(
            f"{home / NAME}: the first look at this probe asked {first:,} tokens, which allows {MOST_AGAIN * first:,} "
            f"in all, not {now:,}: ask for less, or name another folder with --out and other texts with --seed"
        )
    return sorted({*before, max(now, first)})


def as_told(report: FidelityReport) -> Probe:
    """What a comparison holds of the probe: DEGRADED only where that stops it, else the suites decide."""
    one = report.comparisons[FORWARD]
    sizes = (0, 0, None) if one is None else (one.sequences, one.tokens, one.mean_abs)
    if report.verdict is Verdict.DEGRADED and not report.stops:
        return Probe(Verdict.INCONCLUSIVE, (*report.reasons, Reason("probe.suites_decide")), *sizes)
    return Probe(report.verdict, report.reasons, *sizes)


def kept(home: Path, plans: Sequence[str]) -> Probe | None:
    """What an earlier session's probe before the same suites (by the digests of their plans) found, and let pass."""
    try:
        told = orjson.loads((home / NAME).read_bytes())
        if told["plans"] != list(plans) or told["stops"]:
            return None
        one = told["comparisons"][FORWARD] or {"sequences": 0, "tokens": 0, "mean_abs": None}
        sizes = int(one["sequences"]), int(one["tokens"]), one["mean_abs"] and float(one["mean_abs"])
        reasons = tuple(codec.read(Reason, orjson.dumps(reason)) for reason in told["reasons"])
        if told["verdict"] == Verdict.DEGRADED.value:
            return Probe(Verdict.INCONCLUSIVE, (*reasons, Reason("probe.suites_decide")), *sizes)
        return Probe(Verdict(told["verdict"]), reasons, *sizes)
    except (OSError, ValueError, TypeError, KeyError, UsageError):
        return None  # none, or none that can be read: it is made again


def sequences(findings: Findings) -> list[dict[str, Any]]:
    """Every token that was compared, one entry a prompt: enough to compute all statistics again."""
    sides = {"reference": findings.reference, "candidate": findings.candidate}
    entries = []
    for index, messages in enumerate(findings.plan.prompts):
        texts = {name: material.texts[index] for name, material in sides.items()}
        entries.append(
            {
                "prompt": list(messages),
                "prompt_ids": {name: material.prompts[index] for name, material in sides.items()},
                "ids": {name: None if text is None else text.ids for name, text in texts.items()},
                "ended": {name: None if text is None else text.ended for name, text in texts.items()},
                "decoded": {name: _numbers(None if text is None else text.scores) for name, text in texts.items()},
                **{name: _numbers(scored[index]) for name, scored in findings.scores.items()},
            }
        )
    return entries


def _compared(first: Scores, second: Scores, near_tie: float) -> Divergence | None:
    """Compare by prompt; a text that either side lacks stays as an empty one, so that numbers keep their prompts."""
    pairs = [
        (a, b) if a is not None and b is not None and len(a.logprobs) == len(b.logprobs) else (_EMPTY, _EMPTY)
        for a, b in zip(first, second, strict=True)
    ]
    return divergence([a for a, _ in pairs], [b for _, b in pairs], near_tie)


_EMPTY: Final = ScoredText(())


def _decoded(material: Material) -> Scores:
    return tuple(None if text is None or not text.ids else text.scores for text in material.texts)


def in_common(one: Sequence[TokenIds | None], other: Sequence[TokenIds | None]) -> float:
    """The share of the shorter prompts that is one run of the same tokens on both sides."""
    common = length = 0
    for a, b in zip(one, other, strict=True):
        if a is not None and b is not None:
            common += SequenceMatcher(None, a, b, autojunk=False).find_longest_match().size
            length += min(len(a), len(b))
    return common / length if length else 0.0


def _statistics(one: Divergence) -> dict[str, Any]:
    named = asdict(one)
    at = [position for position in one.first_disagreements if position is not None]
    named["first_disagreements"] = {"texts": len(at), "median_position": median(at) if at else None}
    named["by_sequence"] = [None if math.isnan(value) else round(value, 7) for value in one.by_sequence]
    named["losses"] = list(named["losses"])
    if one.agreement is not None:
        named["agreement"]["share"] = one.agreement.share
    return named


def _numbers(text: ScoredText | None) -> list[Any] | None:
    """Log-probabilities as JSON: what is no finite number is named."""
    if text is None:
        return None
    return [value if value is None or math.isfinite(value) else str(value) for value in text.logprobs]


@dataclass(frozen=True, slots=True)
class Enough:
    """The first `texts` of a probe, with so many `tokens` of the reference's, give its verdict; so do all more."""

    texts: int
    tokens: int


def enough(findings: Findings) -> Enough | None:
    """The fewest texts, in their order, from which on the verdict stays what it is at the end.

    A description of what was measured, and no rule for stopping: who looks after every text and stops at the first
    verdict errs more often than the intervals say. Margins and noise are those of the same texts, as if no more had
    been asked. None where the verdict is INVALID: the fewest would be none at all.
    """
    final = assess(findings).verdict
    if final is Verdict.INVALID:
        return None
    count = len(findings.plan.prompts)
    while count > 1 and assess(findings.first(count - 1)).verdict is final:
        count -= 1
    forward = assess(findings.first(count)).comparisons[FORWARD]
    return Enough(count, forward.tokens if forward is not None else 0)
