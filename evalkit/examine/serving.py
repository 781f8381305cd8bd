"""Is it there, at each address, with the model, software, room and clock it should have, and does it read pictures?"""

from __future__ import annotations

import asyncio
import email.utils
import hashlib
import io
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Final

from evalkit.endpoint.http import Answer
from evalkit.endpoint.identity import Native, ServedModels, endpoint_identity, served_models, served_unlisted
from evalkit.examine.checks import Finding, Patient, Severity, Subject, SuiteNeeds, failed, said, shown
from evalkit.model import Failure, FailureKind, ImageRef, Prompt

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


# ----------------------------------------------------------------
# Several addresses of one endpoint: does each answer, with the same model and the same software?


_SOFTWARE: Final = (
    "server",
    "owned_by",
    "version",
    "llama_cpp_build",
    "sglang_version",
    "model_path",
    "context_tokens",
)


@dataclass(frozen=True, slots=True)
class _Address:
    """What one address says of itself; `url` as it may be said."""

    url: str
    found: ServedModels | Failure
    identity: Mapping[str, str]

    @property
    def answers(self) -> bool:
        """True where something is there, if only without a list of models."""
        return isinstance(self.found, ServedModels) or self.found.kind is FailureKind.NOT_FOUND

    def lists(self, model: str) -> bool:
        """True where it has the model on its list."""
        return isinstance(self.found, ServedModels) and model in self.found.ids


async def check_addresses(subject: Subject) -> tuple[Subject, list[Finding]]:
    """What differs between the addresses, and the subject with those that are fit to be asked."""
    settings = subject.settings
    if len(settings.base_urls) == 1:
        return subject, []
    seen = await asyncio.gather(*(_seen(subject, url) for url in settings.base_urls))
    living = [one for one in seen if one.answers]
    if not living:
        return subject, []  # the examination of the first one says what is wrong
    findings = [_absent(one.found) for one in seen if isinstance(one.found, Failure) and not one.answers]
    listed = any(one.lists(settings.model) for one in living)
    others = [one for one in living if listed and _serves_another(one, settings.model)]
    findings += [_other_model(one, settings.model) for one in others]
    fit = [one for one in living if one not in others]
    findings += _other_software(fit)
    urls = tuple(url for url, one in zip(settings.base_urls, seen, strict=True) if one in fit)
    return replace(subject, settings=replace(settings, base_urls=urls)), findings


async def _seen(subject: Subject, url: str) -> _Address:
    alone = replace(subject.settings, base_urls=(url,))
    found = await served_models(alone)
    gone = isinstance(found, Failure) and found.kind is not FailureKind.NOT_FOUND
    return _Address(alone.shown_urls[0], found, {} if gone else await endpoint_identity(alone))


def _absent(found: Failure) -> Finding:
    why = "the other addresses carry its load, and it is tried again from time to time"
    return failed("addresses", found, why, Severity.WARNING)


def _serves_another(one: _Address, model: str) -> bool:
    return isinstance(one.found, ServedModels) and bool(one.found.ids) and not one.lists(model)


def _other_model(one: _Address, model: str) -> Finding:
    served = ", ".join(repr(name) for name in sorted(one.found.ids)[:5]) if isinstance(one.found, ServedModels) else ""
    return Finding(
        "addresses",
        Severity.PROBLEM,
        f"{one.url} does not serve {model!r}; it serves {served}",
        "its share of the answers would be another model's, or refused",
        "take it out of base_urls, or serve the model there under the same name",
    )


def _other_software(living: list[_Address]) -> list[Finding]:
    findings = []
    for key in _SOFTWARE:
        told = {one.url: one.identity[key] for one in living if key in one.identity}
        if len(set(told.values())) > 1:
            findings.append(
                Finding(
                    "addresses",
                    Severity.WARNING,
                    f"the addresses differ in {key}: {'; '.join(f'{url} {value}' for url, value in told.items())}",
                    "what answers then depends on which address was free",
                    "serve the same software and model at all of them",
                )
            )
    return findings


# ----------------------------------------------------------------
# Are pictures accepted, and read? A word that is drawn must come back


WORDS: Final = ("HARBOUR", "LANTERN", "PYRAMID", "ORCHARD", "VOLCANO", "CHIMNEY", "BLANKET", "COMPASS")
TOKENS: Final = 256
_SIZE: Final = (640, 200)


async def check_pictures(patient: Patient) -> list[Finding]:
    """One question with a picture. Without a suite that sends pictures, a server that takes none is only noted."""
    word = f"{random.choice(WORDS)} {random.randint(10, 99)}"  # noqa: S311 - only not to be guessed
    png = drawn(word)
    image = ImageRef(hashlib.sha256(png).hexdigest(), lambda: png)
    content = [
        {"type": "image_ref", "index": 0},
        {"type": "text", "text": "Which word and which number are written in this picture? Answer with them only."},
    ]
    prompt = Prompt(digest="", messages=({"role": "user", "content": content},), images=(image,))
    reply = await patient.chat(prompt, max_tokens=TOKENS)
    wanted = patient.subject.wants_pictures
    if isinstance(reply, Failure):
        patient.facts["pictures"] = "refused"
        if not wanted:
            return [Finding("pictures", Severity.NOTE, "takes no pictures; no suite of the configuration sends any")]
        return [failed("pictures", reply, "a suite of the configuration sends pictures")]
    text = said(reply).upper()
    if all(part in text for part in word.split()):
        patient.facts["pictures"] = "read"
        return [Finding("pictures", Severity.OK, f"a drawn word was read: {word}")]
    patient.facts["pictures"] = "not read"
    return [
        Finding(
            "pictures",
            Severity.PROBLEM if wanted else Severity.NOTE,
            f"a picture is accepted and not read: {word!r} came back as {shown(said(reply))}",
            "a text model's server may drop pictures without a word; questions about them are then guesses",
            "serve a vision-language model, and see that its image processor is loaded",
        )
    ]


def drawn(word: str) -> bytes:
    """A PNG with the word in large black letters on white."""
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("RGB", _SIZE, "white")
    font = ImageFont.load_default(size=84)
    ImageDraw.Draw(picture).text((_SIZE[0] / 2, _SIZE[1] / 2), word, fill="black", font=font, anchor="mm")
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
