"""Making a passport of a reference, and holding a candidate against one: the judges are those of two live endpoints.

What a recorded reference cannot do is score the candidate's own texts; `probe_report.assess` says so where it is.
"""

from contextlib import nullcontext
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evalkit import codec
from evalkit.config import EndpointConfig
from evalkit.errors import EndpointError
from evalkit.examine import passport, probe
from evalkit.examine.contract import Sheet, catalogue, held, sheet_of
from evalkit.examine.forcing import TokenIds
from evalkit.examine.passport import About, Passport
from evalkit.examine.probe_report import LEAST_COMMON, FidelityReport, assess, in_common
from evalkit.model import Comparison, Verdict
from evalkit.render.words import say_all
from evalkit.resources import __version__
from evalkit.serve.launch import opened


async def recorded(config: EndpointConfig, plan: probe.Plan, second: EndpointConfig | None) -> Passport:
    """Asks the reference all that a passport holds, and `second`, which serves it another, faithful way.

    Raises `NotSupportedError`: it cannot score given tokens; `EndpointError`: it does not answer, or its own noise is
    as large as a fault's.
    """
    try:
        async with opened(config, config.runs / config.name / "server.log") as settings:
            side = probe.side_of(config, opened=nullcontext(settings))
            async with probe.open_session(side, plan) as session:
                material, asked = await probe.reference_part(session, await session.draw(plan)), session.asked()
            sheet = await sheet_of(config, settings, plan.seed)
        if not sheet.answered:
            raise EndpointError(f"{config.name}: answers nothing: {sheet.trials[0].seen}")
        findings = probe.Findings(plan, material, material, {config.name: asked})
        if second is not None:
            findings = await probe.with_second_serving(findings, probe.side_of(second))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    material = findings.reference
    if (report := assess(_itself(plan, material, asked))).verdict is not Verdict.EQUIVALENT:
        raise EndpointError(f"{config.name}: nothing can be held against it: {say_all(report.reasons)}")
    about = About(
        format=passport.FORMAT,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        evalkit_version=__version__,
        name=config.name,
        settings=passport.settings_of(config),
        fingerprint=passport.fingerprint(material),
        asked=replace(
            asked,
            identity={key: "".join(filter(str.isprintable, text)) for key, text in asked.identity.items()},
            addresses=tuple(f"address {number}" for number, _ in enumerate(asked.addresses, 1)),
        ),
        **{name: getattr(sheet, name) for name in ("started", "requests", "tokens", "seconds", "left")},
    )
    trials = tuple(replace(one, seen="") for one in sheet.trials)  # it may name the address; only a candidate's is told
    return Passport(about, plan, material, trials)


async def probed(reference: Passport, path: Path, candidate: probe.Side, plan: probe.Plan) -> probe.Findings:
    """The probe of a candidate against the reference of the passport in `path`; `plan` is that one's, asked so fast.

    Raises `NotSupportedError`: the candidate cannot score given tokens; `EndpointError`: it does not answer, or its
    tokeniser or chat template is another.
    """
    material = reference.material
    try:
        async with probe.open_session(candidate, plan) as session:
            _same_prompts(material.prompts, await session.prompts(plan), f"{candidate.name}: has another", path)
            made = await probe.candidate_part(session, await session.draw(plan), material)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    names = probe.told_apart(reference.about.name, candidate.name)
    asked = dict(zip(names, (reference.about.asked, session.asked()), strict=True))
    return probe.Findings(plan, material, made, asked)


def _same_prompts(theirs: tuple[TokenIds | None, ...], own: tuple[TokenIds | None, ...], who: str, path: Path) -> None:
    """An `EndpointError` where prompts are other tokens than they were to the reference."""
    pairs = [(a, b) for a, b in zip(theirs, own, strict=True) if a is not None and b is not None]
    other = [at for a, b in pairs if (at := codec.first_difference(a, b)) is not None]
    if other:
        kind = "chat template" if in_common(theirs, own) >= LEAST_COMMON else "tokeniser"
        raise EndpointError(
            f"{who} {kind} than the reference of {path}: {len(other)} of {len(pairs)} prompts are other tokens there, "
            f"the first from token {other[0] + 1} on: serve it with the reference's (some templates write the date)"
        )


def contracted(reference: Passport, candidate: Sheet, created: str) -> Comparison:
    """A candidate's sheet against the recorded one, by the rule of two live endpoints; `created` as for `held`."""
    found = codec.stored_differences(reference.about.settings, passport.settings_of(candidate.config))
    return replace(held(reference.sheet, candidate, created), differences=found)


def scope(reference: Passport) -> tuple[FidelityReport, dict[str, Any]]:
    """What a passport can decide: the reference against its own second scoring, with the margins; and as JSON."""
    report = assess(_itself(reference.plan, reference.material, reference.about.asked))
    kept = [name for name in catalogue() if any(one.kept for one in reference.sheet.of(name).values())]
    margins = report.margins_nats and asdict(report.margins_nats)
    return report, {"margins_nats": margins, "promises": {"kept": len(kept), "all": len(catalogue())}}


def _itself(plan: probe.Plan, material: probe.Material, asked: probe.Asked) -> probe.Findings:
    """The reference as its own candidate: its second scoring stands for another's."""
    second, first = (material.scores[f"reference_{name}"] for name in ("again", "on_reference"))
    own = replace(material, scores={"reference_on_candidate": second, "candidate_on_candidate": first})
    return probe.Findings(plan, material, own, {"reference": asked})
