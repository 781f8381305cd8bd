"""How the benchmark of the probe asks a candidate: stage by stage, until the verdict is there."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from evalkit.examine.probe import Findings, Material, Plan, Session, candidate_part, reference_part
from evalkit.examine.probe_report import assess
from evalkit.model import Verdict


@dataclass(frozen=True, slots=True, order=True)
class Stage:
    """So many prompts are asked, all told, and texts of so many tokens are drawn."""

    prompts: int
    tokens: int

    @classmethod
    def read(cls, text: str) -> Stage:
        """From `24x48`; raises `ValueError` for anything else."""
        prompts, tokens = text.split("x")
        return cls(int(prompts), int(tokens))


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to serve the same model: what is other than at the reference, and what the probe has to say of it."""

    name: str
    kind: Literal["faithful", "borderline", "broken"]
    about: str
    launch: Mapping[str, Any] = field(default_factory=dict)


def joined(a: Material, b: Material) -> Material:
    """What an endpoint gave for some prompts and for those that follow."""
    scores = {name: a.scores.get(name, ()) + more for name, more in b.scores.items()}
    return Material(a.prompts + b.prompts, a.texts + b.texts, a.greedy + b.greedy, scores)


def asked_of_candidate(findings: Findings) -> int:
    """Tokens that the candidate drew or scored, its prompts aside."""
    candidate = findings.candidate
    scored = [text for texts in candidate.scores.values() for text in texts if text]
    own = [text for text in (*candidate.texts, *candidate.greedy) if text]
    return sum(len(text.ids) for text in own) + sum(len(text.logprobs) for text in scored)


def piece(plan: Plan, start: int, stage: Stage) -> Plan:
    """The plan for a stage's prompts from one on, with the seeds that these have in the whole."""
    prompts = plan.prompts[start : stage.prompts]
    greedy = max(0, min(plan.greedy - start, len(prompts)))
    return replace(plan, prompts=prompts, tokens=stage.tokens, greedy=greedy, seed=plan.seed + start)


@dataclass(slots=True)
class Reference:
    """The open reference, and what it gave for the prompts that were needed so far, by the length of texts."""

    session: Session
    plan: Plan
    given: dict[int, Material] = field(default_factory=dict)

    async def upto(self, stage: Stage) -> Material:
        """What it gives for a stage; asked only where it was not yet."""
        have = self.given.get(stage.tokens, Material((), (), ()))
        known = len(have.texts)
        if known < stage.prompts:
            more = await reference_part(self.session, await self.session.draw(piece(self.plan, known, stage)))
            have = self.given[stage.tokens] = joined(have, more)
        return have.part(slice(stage.prompts))


async def ask(
    candidate: Candidate, session: Session, reference: Reference, stages: Sequence[Stage]
) -> tuple[Findings, int]:
    """Stage by stage, until the verdict is there: DEGRADED at any, EQUIVALENT from the second on.

    Also the tokens of stages with shorter texts, which the verdict does not use.
    """
    findings: Findings | None = None
    tokens_before = 0
    for number, stage in enumerate(stages, 1):
        if findings is not None and findings.plan.tokens != stage.tokens:
            tokens_before += asked_of_candidate(findings)
            findings = None
        findings = await _asked_further(candidate, session, reference, stage, findings)
        verdict = assess(findings).verdict
        print(f"{candidate.name}: {stage.prompts}x{stage.tokens}: {verdict.value}", file=sys.stderr, flush=True)
        decided = verdict is Verdict.EQUIVALENT or candidate.kind == "borderline"
        if verdict is Verdict.DEGRADED or (number >= 2 and decided):
            break
    if findings is None:
        raise ValueError("there must be a stage")
    return findings, tokens_before


async def _asked_further(
    candidate: Candidate, session: Session, reference: Reference, stage: Stage, findings: Findings | None
) -> Findings:
    """The findings of a stage, from those of the stage before where the texts are of one length."""
    start = len(findings.plan.prompts) if findings else 0
    given = await reference.upto(stage)
    new = given.part(slice(start, stage.prompts))
    own = await session.draw(piece(reference.plan, start, stage))
    async with asyncio.TaskGroup() as group:
        parts = group.create_task(candidate_part(session, own, new))
        backward = group.create_task(reference.session.score(new.prompts, own.texts))
    made, back = parts.result(), backward.result()
    if findings is not None:
        made = joined(findings.candidate, made)
        back = findings.reference.scores["candidate_on_reference"] + back
    asked = {"reference": reference.session.asked(), candidate.name: session.asked()}
    done = replace(reference.plan, prompts=reference.plan.prompts[: stage.prompts], tokens=stage.tokens)
    return Findings(done, given.with_scores(candidate_on_reference=back), made, asked)
