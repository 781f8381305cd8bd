"""The doctor: is an endpoint fit to be asked for hours? A few dozen short questions, each answer a finding.

Nothing here is asked of the model's knowledge: what is looked at is whether the server does what requests say.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from evalkit.config import EndpointConfig, warnings_for
from evalkit.endpoint.identity import Native
from evalkit.endpoint.images import ImageEncoder
from evalkit.endpoint.settings import ClientSettings
from evalkit.examine.checks import (
    Finding,
    Findings,
    Patient,
    Severity,
    Subject,
    SuiteNeeds,
    check_data,
    check_disk,
    shown,
)
from evalkit.examine.forcing_methods import Unsupported, find_forcer
from evalkit.examine.replies import check_choices, check_reply, check_stop, check_template
from evalkit.examine.sampling import check_defaults, check_repeatable, check_seed
from evalkit.examine.serving import check_addresses, check_pictures, check_serving
from evalkit.model import Difference
from evalkit.serve.launch import opened
from evalkit.waits import announce

_EXPECTED_TO_DIFFER: Final = frozenset({"seconds for a short reply", "process started", "greedy reply", "server"})
_PROMPT: Final = "prompt tokens "


@dataclass(frozen=True, slots=True)
class Report:
    """What was found at one endpoint. `facts` are what it was seen to be, `urls` where; `requests` is what it cost.

    `launched` says that evalkit started it.
    """

    name: str
    findings: tuple[Finding, ...]
    urls: tuple[str, ...] = ()
    requests: int = 0
    facts: Mapping[str, str] = field(default_factory=dict)
    launched: bool = False

    @property
    def problems(self) -> tuple[Finding, ...]:
        """The findings that make results wrong or impossible."""
        return tuple(one for one in self.findings if one.severity is Severity.PROBLEM)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the doctor says of one endpoint or two; `between` and `differences` are about two."""

    reports: tuple[Report, ...]
    between: tuple[Finding, ...] = ()
    differences: tuple[Difference, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, those between the two last."""
        return (*(one for report in self.reports for one in report.findings), *self.between)

    @property
    def exit_code(self) -> int:
        """3 where there is a problem, else 0."""
        return 3 if any(one.severity is Severity.PROBLEM for one in self.findings) else 0

    def document(self) -> dict[str, Any]:
        """What `evalkit doctor --json` prints."""
        return {
            "format": 1,
            "kind": "doctor",
            "exit_code": self.exit_code,
            "endpoints": [asdict(report) for report in self.reports],
            "between": [asdict(one) for one in self.between],
            "differences": [asdict(one) for one in self.differences],
        }


def subject_of(config: EndpointConfig, settings: ClientSettings, needs: Sequence[SuiteNeeds] = ()) -> Subject:
    """The endpoint of a configuration as the doctor sees it."""
    return Subject(
        name=config.name,
        settings=settings,
        parameters=config.sampling.parameters(),
        client=config.client,
        wants_logprobs=config.logprobs,
        closing_tags=config.thinking.closing_tags,
        suites=tuple(needs),
        launched=config.launch is not None,
    )


async def examine_configured(config: EndpointConfig, needs: Sequence[SuiteNeeds]) -> Report:
    """All checks of the endpoint of a configuration, of this machine, and of what the configuration says."""
    async with opened(config, config.runs / config.name / "server.log") as settings:
        announce(f"asking {config.name} some sixty short questions")
        report = await examine(subject_of(config, settings, needs))
    said = (Finding("configuration", Severity.WARNING, sentence) for sentence in warnings_for(config))
    return replace(report, findings=(*report.findings, check_disk(config.runs, needs), *check_data(needs), *said))


async def examine(subject: Subject) -> Report:
    """All checks, some sixty short requests; stops early where nothing answers, or no key, or with another model."""
    return await _examined(subject, (check_reply, check_template, check_stop, check_choices, *_SLOW))


async def quick_check(subject: Subject) -> Report:
    """What is looked at before every comparison: there, the right model, room, a sane reply; two short requests."""
    return await _examined(subject, (check_reply, partial(check_template, short=True)))


async def _examined(subject: Subject, checks: Sequence[Callable[[Patient], Awaitable[None]]]) -> Report:
    urls = subject.settings.shown_urls
    subject, apart = await check_addresses(subject)
    async with ImageEncoder() as encoder:
        patient = Patient(subject, encoder.messages)
        try:
            usable = await check_serving(patient)
            patient.found += apart
            for check in checks if usable else ():
                await check(patient)
                if patient.hopeless and not patient.answered:
                    break  # every other question would end in the same words, and perhaps as late
        finally:
            await patient.close()
    return Report(subject.name, tuple(patient.found), urls, patient.requests, patient.facts, subject.launched)


async def _check_forcing(patient: Patient) -> None:
    """Whether the fidelity probe can ask this endpoint for the log-probabilities of given tokens."""
    async with Native(patient.subject.settings) as native:
        forcer = await find_forcer(native, patient.fixed)
        patient.requests += native.requests
    if isinstance(forcer, Unsupported):
        patient.facts["prompt_logprobs"] = "no"
        patient.found.say("prompt_logprobs.none", reasons="; ".join(forcer.reasons))
    else:
        patient.facts["prompt_logprobs"] = forcer.method
        patient.found.say("prompt_logprobs", method=forcer.method)


_SLOW: Final = (check_repeatable, check_seed, check_defaults, _check_forcing, check_pictures)


def between(reference: Report, candidate: Report) -> tuple[Finding, ...]:
    """What differs between the two stacks, and whether they are two at all."""
    found = Findings()
    _one_server(found, reference, candidate)
    ours, theirs = reference.facts, candidate.facts
    prompts = [key for key in ours if key.startswith(_PROMPT) and key in theirs and ours[key] != theirs[key]]
    if prompts:
        counts = "; ".join(f"{key.removeprefix(_PROMPT)} {ours[key]} | {theirs[key]}" for key in prompts)
        found.say("template.differs", counts=counts)
    for key in sorted((ours.keys() & theirs.keys()) - _EXPECTED_TO_DIFFER):
        if ours[key] != theirs[key] and not key.startswith(_PROMPT):
            severity = Severity.WARNING if key in {"context", "seed", "pictures"} else Severity.NOTE
            found.append(Finding(key, severity, f"{ours[key]} | {theirs[key]}", _WHY.get(key, "")))
    texts = [facts.get("greedy reply") for facts in (ours, theirs)]
    if None not in texts and texts[0] != texts[1]:
        found.say("greedy reply", ours=shown(str(texts[0])), theirs=shown(str(texts[1])))
    return tuple(found)


_WHY: Final = {
    "context": "long items may fit on one side only",
    "seed": "repeats of the two sides are drawn differently",
    "pictures": "multimodal suites would compare reading with guessing",
    "server defaults": "parameters that are left unset differ between the sides",
}


def _one_server(found: Findings, reference: Report, candidate: Report) -> None:
    """Two names for one server would give a perfect score."""
    places = [{_place(url) for url in report.urls} for report in (reference, candidate)]
    started = [report.facts.get("process started") for report in (reference, candidate)]
    # Of two that evalkit starts each had the port to itself: they took turns.
    if places[0] & places[1] and not (reference.launched and candidate.launched):
        found.say("two servers.address", address=min(places[0] & places[1]))
    elif started[0] is not None and started[0] == started[1]:
        found.say("two servers.process")


def _place(url: str) -> str:
    parts = urlsplit(url)
    host = "127.0.0.1" if parts.hostname in {"localhost", "::1"} else parts.hostname
    return f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}{parts.path.rstrip('/')}"
