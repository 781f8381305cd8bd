"""Is it there, at each address, with the model, software, room and clock it should have, and does it read pictures?"""

import asyncio
import hashlib
import io
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from evalkit.endpoint.failures import seconds_until
from evalkit.endpoint.http import Answer
from evalkit.endpoint.identity import Native, ServedModels, endpoint_identity, served_models, served_unlisted
from evalkit.examine.checks import Findings, Patient, Severity, Subject, SuiteNeeds, said, shown
from evalkit.model import Failure, FailureKind, ImageRef, Prompt

CLOCK_SECONDS: Final = 120.0
CHARACTERS_PER_TOKEN: Final = 3.0
"""Few enough that a prompt of so many characters seldom has fewer tokens (English 4 to 5, code 3, Chinese 1 to 2)."""

_STARTED: Final = re.compile(rb"^process_start_time_seconds(?:\{[^}\n]{0,500}\})? ([0-9.eE+]+)$", re.MULTILINE)
_CREATED: Final = re.compile(rb"^[a-zA-Z_:][\w:]*_created(?:\{[^}\n]{0,500}\})? ([0-9.eE+]+)$", re.MULTILINE)


async def check_serving(patient: Patient) -> bool:
    """Reachable, model, software, context, clock; and whether going on makes sense."""
    settings, found = patient.subject.settings, patient.found
    served = await served_models(settings)
    async with Native(settings, pauses_seconds=()) as native:
        unlisted = await served_unlisted(native, served)
        patient.requests += native.requests
    if isinstance(served, Failure) and served.kind is not FailureKind.NOT_FOUND and not unlisted:
        found.failed("reachable", served, "nothing can be asked")
        return False
    _reachable(found, served)
    right = _model(found, served, settings.model, unlisted=unlisted) if isinstance(served, ServedModels) else True
    identity = await endpoint_identity(settings)
    _software(found, identity)
    patient.facts |= identity
    context = context_of(served, identity, settings.model)
    if context is not None:
        patient.facts["context"] = f"{context} tokens"
    _room(found, context, patient.subject.suites, patient.subject.parameters.get("max_tokens"))
    await _clock_and_process(patient)
    return right


def _reachable(found: Findings, served: ServedModels | Failure) -> None:
    if isinstance(served, ServedModels):
        found.say("reachable", n=len(served.ids), s="s" * (len(served.ids) != 1))
    elif served.kind is FailureKind.NOT_FOUND:
        found.say("reachable.no_list")
    else:
        found.say("reachable.broken_list", detail=served.detail)


def _model(found: Findings, served: ServedModels, wanted: str, *, unlisted: bool) -> bool:
    """Whether the model is served; a list that is empty says nothing against it."""
    there = "model" if wanted in served.ids else "model.other" if served.ids else "model.empty_list"
    code = "model.unlisted" if unlisted else there
    found.say(code, wanted=wanted, served=_few(served))
    return code != "model.other"


def _few(served: ServedModels | Failure) -> str:
    return ", ".join(map(repr, sorted(served.ids)[:5])) if isinstance(served, ServedModels) else ""


def _software(found: Findings, identity: Mapping[str, str]) -> None:
    owner = identity.get("owned_by", "")
    build = identity.get("llama_cpp_build")
    if build is not None:
        # Wheels that hold llama.cpp are often built without its number: b0-unknown.
        name = "llama.cpp (build not told)" if build.endswith("unknown") else f"llama.cpp, build {build}"
    elif "sglang_version" in identity or owner == "sglang":
        name = f"SGLang {identity.get('sglang_version', '(version not told)')}"
    elif owner == "vllm":
        name = f"vLLM {identity.get('version', '(version not told)')}"
    else:
        found.say("software.unknown", header=identity.get("server", "absent"))
        return
    found.say("software", name=name)


def context_of(found: ServedModels | Failure, identity: Mapping[str, str], model: str) -> int | None:
    """The served context in tokens, by the list of models or the server's own pages; None where neither tells it."""
    told = found.max_model_len.get(model) if isinstance(found, ServedModels) else None
    if told is None and identity.get("context_tokens", "").isdecimal():
        told = int(identity["context_tokens"])
    return told


def _room(found: Findings, context: int | None, suites: tuple[SuiteNeeds, ...], configured: int | None) -> None:
    limits = [(suite.name, suite.max_tokens, suite.longest_prompt_characters) for suite in suites if suite.max_tokens]
    if not limits and configured:
        limits = [("sampling.max_tokens", configured, 0)]
    if context is None:
        if limits:
            found.say("context.untold")
        return
    found.say("context", context=context)
    for name, limit, characters in limits:
        prompt = round(characters / CHARACTERS_PER_TOKEN)
        if limit + prompt >= context:
            longest = f" and its longest prompt has about {prompt}" if prompt else ""
            severity = Severity.PROBLEM if limit >= context else Severity.WARNING
            found.say("max_tokens.context", severity, name=name, limit=limit, longest=longest, context=context)


async def _clock_and_process(patient: Patient) -> None:
    """The server's date against ours, and when its process began, by which one server under two names is known."""
    async with Native(patient.subject.settings) as native:
        page = await native.answer("/v1/models")
        metrics = await native.answer("/metrics")
    told = metrics.body if isinstance(metrics, Answer) and metrics.status == 200 else b""
    if not patient.subject.launched and (match := _STARTED.search(told)):
        # Servers that one script starts can begin within the same hundredth of a second, the unit of this number; their
        # first counters are dated to the microsecond.
        first = min((one[1] for one in _CREATED.finditer(told)), default=b"")
        patient.facts["process started"] = b" ".join((match[1], first)).decode().strip()
    date = page.headers.get("Date") if isinstance(page, Answer) else None
    apart = seconds_until(date or "", time.time())
    if apart is None:
        return
    code = "clock" if abs(apart) <= CLOCK_SECONDS else "clock.off"
    patient.found.say(code, apart=abs(apart), where="ahead of" if apart > 0 else "behind")


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


async def check_addresses(subject: Subject) -> tuple[Subject, Findings]:
    """Does each address answer, with the same model and software? And the subject with those fit to be asked."""
    settings, found = subject.settings, Findings()
    if len(settings.base_urls) == 1:
        return subject, found
    seen = await asyncio.gather(*(_seen(subject, url) for url in settings.base_urls))
    living = [one for one in seen if one.answers]
    if not living:
        return subject, found  # the examination of the first one says what is wrong
    why = "the other addresses carry its load, and it is tried again from time to time"
    for one in seen:
        if isinstance(one.found, Failure) and not one.answers:
            found.failed("addresses", one.found, why, Severity.WARNING)
    fit = []
    for one in living:
        others = isinstance(one.found, ServedModels) and one.found.ids and not one.lists(settings.model)
        if others and any(other.lists(settings.model) for other in living):
            found.say("addresses.model", url=one.url, wanted=settings.model, served=_few(one.found))
        else:
            fit.append(one)
    for key in _SOFTWARE:
        told = {one.url: one.identity[key] for one in fit if key in one.identity}
        if len(set(told.values())) > 1:
            found.say("addresses.software", key=key, told="; ".join(f"{url} {value}" for url, value in told.items()))
    urls = tuple(url for url, one in zip(settings.base_urls, seen, strict=True) if one in fit)
    return replace(subject, settings=replace(settings, base_urls=urls)), found


async def _seen(subject: Subject, url: str) -> _Address:
    alone = replace(subject.settings, base_urls=(url,))
    found = await served_models(alone)
    gone = isinstance(found, Failure) and found.kind is not FailureKind.NOT_FOUND
    return _Address(alone.shown_urls[0], found, {} if gone else await endpoint_identity(alone))


WORDS: Final = ("HARBOUR", "LANTERN", "PYRAMID", "ORCHARD", "VOLCANO", "CHIMNEY", "BLANKET", "COMPASS")
TOKENS: Final = 256
_SIZE: Final = (640, 200)


async def check_pictures(patient: Patient) -> None:
    """A word that is drawn must come back. Without a suite that sends pictures, a server that takes none is noted."""
    word = f"{random.choice(WORDS)} {random.randint(10, 99)}"  # noqa: S311 - only not to be guessed
    png = drawn(word)
    image = ImageRef(hashlib.sha256(png).hexdigest(), lambda: png)
    content = [
        {"type": "image_ref", "index": 0},
        {"type": "text", "text": "Which word and which number are written in this picture? Answer with them only."},
    ]
    prompt = Prompt(digest="", messages=({"role": "user", "content": content},), images=(image,))
    reply = await patient.chat(prompt, max_tokens=TOKENS)
    wanted, found = any(suite.pictures for suite in patient.subject.suites), patient.found
    if isinstance(reply, Failure):
        patient.facts["pictures"] = "refused"
        if wanted:
            found.failed("pictures", reply, "a suite of the configuration sends pictures")
        else:
            found.say("pictures.refused")
        return
    read = all(part in said(reply).upper() for part in word.split())
    patient.facts["pictures"] = "read" if read else "not read"
    if read:
        found.say("pictures", word=word)
    else:
        severity = Severity.PROBLEM if wanted else Severity.NOTE
        found.say("pictures.unread", severity, word=word, reply=shown(said(reply)))


def drawn(word: str, size: tuple[int, int] = _SIZE) -> bytes:
    """A PNG with the word in large black letters on white, of so many pixels."""
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("RGB", size, "white")
    font = ImageFont.load_default(size=84)
    ImageDraw.Draw(picture).text((size[0] / 2, size[1] / 2), word, fill="black", font=font, anchor="mm")
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
