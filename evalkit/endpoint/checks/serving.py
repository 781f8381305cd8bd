"""Is it there, does it serve the model, with what software, with room enough, and is its clock right?"""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping
from datetime import UTC
from typing import Final

from evalkit.endpoint.checks.base import Finding, Patient, Severity, SuiteNeeds, failed
from evalkit.endpoint.native import Native
from evalkit.endpoint.probe import ServedModels, endpoint_identity, served_models, served_unlisted
from evalkit.endpoint.transport import Answer
from evalkit.model import Failure, FailureKind

CLOCK_SECONDS: Final = 120.0
CHARACTERS_PER_TOKEN: Final = 3.0
"""Few enough that a prompt of so many characters seldom has fewer tokens (English 4 to 5, code 3, Chinese 1 to 2)."""

_STARTED: Final = re.compile(rb"^process_start_time_seconds(?:\{[^}\n]{0,500}\})? ([0-9.eE+]+)$", re.MULTILINE)


async def check_serving(patient: Patient) -> tuple[list[Finding], bool]:
    """Reachable, model, software, context, clock; and whether going on makes sense."""
    settings = patient.subject.settings
    found = await served_models(settings)
    async with Native(settings, pauses_seconds=()) as native:
        unlisted = await served_unlisted(native, found)
        patient.requests += native.requests
    if isinstance(found, Failure) and found.kind is not FailureKind.NOT_FOUND and not unlisted:
        return [failed("reachable", found, "nothing can be asked")], False
    findings = [_reachable(found)]
    if isinstance(found, ServedModels):
        findings.append(_unlisted(settings.model) if unlisted else _model(found, settings.model))
    identity = await endpoint_identity(settings)
    findings.append(_software(identity))
    patient.facts |= identity
    context = _context(found, identity, settings.model)
    if context is not None:
        patient.facts["context"] = f"{context} tokens"
    findings += _room(context, patient.subject.suites, patient.subject.parameters.get("max_tokens"))
    findings += await _clock_and_process(patient)
    return findings, findings[1].severity is not Severity.PROBLEM or findings[1].check != "model"


def _unlisted(wanted: str) -> Finding:
    return Finding(
        "model",
        Severity.NOTE,
        f"{wanted!r} is not on the list of models, and served all the same: another name is refused",
        "the list is of no use here (transformers serve lists the hub's cache)",
    )


def _reachable(found: ServedModels | Failure) -> Finding:
    if isinstance(found, Failure):
        if found.kind is not FailureKind.NOT_FOUND:
            what = f"answers, but its list of models is broken ({found.detail})"
            why = "whether it serves the right model cannot be seen"
            return Finding("reachable", Severity.NOTE, what, why, "look at the server's log")
        return Finding("reachable", Severity.NOTE, "answers, but has no list of models (/v1/models)")
    return Finding("reachable", Severity.OK, f"serves {len(found.ids)} model{'s' * (len(found.ids) != 1)}")


def _model(found: ServedModels, wanted: str) -> Finding:
    if wanted in found.ids:
        return Finding("model", Severity.OK, f"serves {wanted!r}")
    if not found.ids:
        return Finding("model", Severity.WARNING, "the list of models is empty", "whether it serves the right one")
    served = ", ".join(repr(name) for name in sorted(found.ids)[:5])
    return Finding(
        "model",
        Severity.PROBLEM,
        f"{wanted!r} is not served; it serves {served}",
        "some servers refuse another name, others answer with whatever they have",
        "set model to one of these names, or serve it under the wanted one (--served-model-name)",
    )


def _software(identity: Mapping[str, str]) -> Finding:
    owner = identity.get("owned_by", "")
    if "llama_cpp_build" in identity:
        build = identity["llama_cpp_build"]
        # Wheels that hold llama.cpp are often built without its number: b0-unknown.
        name = "llama.cpp (build not told)" if build.endswith("unknown") else f"llama.cpp, build {build}"
    elif "sglang_version" in identity or owner == "sglang":
        name = f"SGLang {identity.get('sglang_version', '(version not told)')}"
    elif owner == "vllm":
        name = f"vLLM {identity.get('version', '(version not told)')}"
    else:
        return Finding(
            "software",
            Severity.NOTE,
            f"not recognised as vLLM, SGLang or llama.cpp (server header {identity.get('server', 'absent')!r})",
            "its version cannot be stored with the run",
            "say what is served under build:, such as an image digest",
        )
    return Finding("software", Severity.OK, name)


def _context(found: ServedModels | Failure, identity: Mapping[str, str], model: str) -> int | None:
    told = found.max_model_len.get(model) if isinstance(found, ServedModels) else None
    if told is None and identity.get("context_tokens", "").isdecimal():
        told = int(identity["context_tokens"])
    return told


def _room(context: int | None, suites: tuple[SuiteNeeds, ...], configured: int | None) -> list[Finding]:
    limits = [(suite.name, suite.max_tokens, suite.longest_prompt_characters) for suite in suites if suite.max_tokens]
    if not limits and configured:
        limits = [("sampling.max_tokens", configured, 0)]
    if context is None:
        if not limits:
            return []
        return [
            Finding(
                "context",
                Severity.NOTE,
                "the server does not tell its context length",
                "whether max_tokens fits shows only when long prompts are refused",
            )
        ]
    findings = [Finding("context", Severity.OK, f"{context} tokens")]
    for name, limit, characters in limits:
        prompt = round(characters / CHARACTERS_PER_TOKEN)
        if limit + prompt < context:
            continue
        longest = f" and its longest prompt has about {prompt}" if prompt else ""
        findings.append(
            Finding(
                "max_tokens",
                Severity.PROBLEM if limit >= context else Severity.WARNING,
                f"{name}: answers may have {limit} tokens{longest}; the whole context is {context}",
                "a request that does not fit is refused, or its answer is cut where the other side's is not",
                "serve with a longer context (--max-model-len), or lower max_tokens on both sides",
            )
        )
    return findings


async def _clock_and_process(patient: Patient) -> list[Finding]:
    """The server's date against ours, and when its process began, by which one server under two names is known."""
    async with Native(patient.subject.settings) as native:
        page = await native.answer("/v1/models")
        metrics = await native.answer("/metrics")
    # Servers that evalkit starts together can begin within the same hundredth of a second, the unit of this number.
    told = metrics.body if isinstance(metrics, Answer) and metrics.status == 200 else b""
    if not patient.subject.launched and (match := _STARTED.search(told)):
        patient.facts["process started"] = match[1].decode()
    date = page.headers.get("Date") if isinstance(page, Answer) else None
    if not date:
        return []
    try:
        moment = email.utils.parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return []
    apart = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - time.time()
    if abs(apart) <= CLOCK_SECONDS:
        return [Finding("clock", Severity.OK, f"the server's clock is {abs(apart):.0f} s from this machine's")]
    return [
        Finding(
            "clock",
            Severity.WARNING,
            f"the server's clock is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} this machine's",
            "time stamps of the run and of the server's log will not match; certificates may seem to be out of date",
            "set both clocks (NTP)",
        )
    ]
