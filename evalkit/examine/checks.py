"""What checks share: the finding, the endpoint under examination, and a way to ask it short questions."""

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Literal

from evalkit.endpoint import open_client
from evalkit.endpoint.settings import Client, ClientSettings, Materialise
from evalkit.examine.stored import ITEM_BYTES, SCORED_REQUEST_BYTES, answer_bytes
from evalkit.model import Failure, FailureKind, Message, Prompt, Reply, Request
from evalkit.resources import data_folder, toml_table
from evalkit.waits import announce

ATTEMPTS: Final = 3
PAUSE_SECONDS: Final = 0.5
SHOWN_CHARACTERS: Final = 120

_PASSING: Final = frozenset({FailureKind.CONNECTION, FailureKind.RATE_LIMITED, FailureKind.SERVER_ERROR})
# Where the first question ends so, the others would: a stall takes ten minutes each time.
_HOPELESS: Final = frozenset(
    {FailureKind.AUTH, FailureKind.CONNECTION, FailureKind.REDIRECT, FailureKind.STALL, FailureKind.TIMEOUT}
)
SLOW_SECONDS: Final = 10.0  # a short question that takes longer is said to be waited for


class Severity(StrEnum):
    """How much a finding matters: a `problem` makes results wrong or impossible."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what was seen, why it matters, how to mend it ("" where nothing is to be done)."""

    check: str
    severity: Severity
    what: str
    why: str = ""
    fix: str = ""


def finding(code: str, severity: Severity | None = None, **values: Any) -> Finding:
    """What `reports/findings.toml` says under a code, with values; `severity` where it is another than there."""
    told = toml_table(data_folder("reports") / "findings.toml", code)
    words = {part: told.get(part, "").format_map(values) for part in ("what", "why", "fix")}
    return Finding(code.partition(".")[0], severity or Severity(told.get("severity", "ok")), **words)


class Findings(list[Finding]):
    """What was found so far."""

    def say(self, code: str, severity: Severity | None = None, **values: Any) -> None:
        """Add the finding of a code."""
        self.append(finding(code, severity, **values))

    def failed(self, check: str, outcome: Failure, why: str, severity: Severity = Severity.PROBLEM) -> None:
        """A question got no answer."""
        tls = outcome.kind is FailureKind.CONNECTION and "TLS" in outcome.detail
        fixes = toml_table(data_folder("reports") / "findings.toml", "failed")
        fix = fixes.get("tls" if tls else outcome.kind.value, "")
        self.append(Finding(check, severity, outcome.detail, why, fix))


@dataclass(frozen=True, slots=True)
class SuiteNeeds:
    """What one suite asks of an endpoint: its longest answer and prompt, and whether it sends pictures or stop texts.

    `samples` counts requests; `by_logprobs` says that each scores a given text, `logprobs` that replies hold
    log-probabilities of what they say. `problem` says why the suite's data cannot be had, "" where it can.
    """

    name: str
    max_tokens: int | None = None
    longest_prompt_characters: int = 0
    samples: int = 0
    items: int = 0
    by_logprobs: bool = False
    logprobs: bool = False
    pictures: bool = False
    stops: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """An endpoint and what is expected of it; `parameters` are the sampling fields that every request will have.

    `launched` says that evalkit started it: then it is known to be a server of its own.
    """

    name: str
    settings: ClientSettings
    parameters: Mapping[str, Any] = field(default_factory=dict)
    client: Literal["aiohttp", "openai"] = "aiohttp"
    wants_logprobs: bool = False
    closing_tags: tuple[str, ...] = ()
    suites: tuple[SuiteNeeds, ...] = ()
    launched: bool = False

    @property
    def temperature(self) -> float:
        """The temperature of the run to come."""
        return float(self.parameters.get("temperature") or 0.0)


class Patient:
    """An endpoint that is being examined: asked one short question at a time, or several at once.

    `found` is what was found of it, `facts` what checks learn of it in words, to be compared with the other side's;
    `requests` counts questions; `fixed` are the body fields that go along with each: template arguments, and what else
    the configuration sends; `extensions` are the configured sampling fields that OpenAI's API does not have.
    `answered` says whether any question got a reply, `hopeless` whether any ended so that none ever will.
    """

    def __init__(self, subject: Subject, materialise: Materialise | None = None) -> None:
        self.subject = subject
        self.found = Findings()
        self.facts: dict[str, str] = {}
        self.requests = 0
        self.answered = False
        self.hopeless = False
        self._client: Client = open_client(subject.settings, subject.client, materialise)
        self.fixed = {key: subject.parameters[key] for key in subject.parameters if key not in _DECIDED_BY_CHECKS}
        self.extensions = {key: subject.parameters[key] for key in EXTENSIONS if key in subject.parameters}

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def chat(self, prompt: str | Sequence[Message] | Prompt, **parameters: Any) -> Reply | Failure:
        """Ask with the run's template arguments, greedily unless said otherwise; passing trouble is met again."""
        request = self._request(prompt, parameters)
        for attempt in range(ATTEMPTS):
            self.requests += 1
            notice = asyncio.get_running_loop().call_later(SLOW_SECONDS, announce, self._waited_for())
            try:
                outcome = await self._client.ask(request)
            finally:
                notice.cancel()
            self.answered |= isinstance(outcome, Reply)
            self.hopeless |= isinstance(outcome, Failure) and outcome.kind in _HOPELESS
            if isinstance(outcome, Reply) or outcome.kind not in _PASSING or attempt == ATTEMPTS - 1:
                return outcome
            await asyncio.sleep(min(outcome.retry_after or PAUSE_SECONDS, 10.0))
        raise AssertionError("the last attempt returns")

    async def needed(self, check: str, why: str, prompt: str | Sequence[Message], **parameters: Any) -> Reply | None:
        """As `chat`; where no reply comes, that is a finding of the check, and its end."""
        outcome = await self.chat(prompt, **parameters)
        if isinstance(outcome, Reply):
            return outcome
        self.found.failed(check, outcome, why)
        return None

    def _waited_for(self) -> str:
        seconds = self.subject.settings.before_answer({})
        why = "" if self.answered else "; the first answer of a server that compiles its kernels may take minutes"
        return f"waiting for {self.subject.name} to answer a short question, for {seconds:g} s at most{why}"

    def _request(self, prompt: str | Sequence[Message] | Prompt, parameters: dict[str, Any]) -> Request:
        if isinstance(prompt, str):
            prompt = ({"role": "user", "content": prompt},)
        if not isinstance(prompt, Prompt):
            prompt = Prompt(digest="", messages=tuple(prompt))
        seed = parameters.pop("seed", None)
        plain = {"temperature": 0.0, "top_p": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
        fields = {**self.fixed, **plain, **parameters}
        return Request("doctor", "", "", 0, prompt, {k: v for k, v in fields.items() if v is not None}, seed)


EXTENSIONS: Final = ("top_k", "min_p", "repetition_penalty")

# What the checks vary themselves; everything else (template arguments, further body fields) goes along as configured.
_DECIDED_BY_CHECKS: Final = frozenset(
    {"temperature", "top_p", "presence_penalty", "frequency_penalty", "max_tokens", "stop", "seed", "logprobs"}
).union(EXTENSIONS)


def said(reply: Reply) -> str:
    """Everything that the model wrote, thinking included."""
    return reply.reasoning + reply.content


def shown(text: str) -> str:
    """A reply for a finding: one line, bounded, without what could steer a terminal."""
    line = "".join(character if character.isprintable() else " " for character in " ".join(text.split()))
    return repr(line if len(line) <= SHOWN_CHARACTERS else line[: SHOWN_CHARACTERS - 1] + "…")


LEAST_FREE_BYTES: Final = 200_000_000
USUAL_SHARE: Final = 0.25  # how much of their token limit answers take as a rule


def check_disk(folder: Path, suites: Sequence[SuiteNeeds]) -> Finding:
    """Room in the folder of the runs for every planned reply at a quarter of its token limit, a usual mean."""
    absolute = folder.absolute()
    existing = next(one for one in (absolute, *absolute.parents) if one.exists())
    free = shutil.disk_usage(existing).free
    needed = sum(map(_stored_bytes, suites))
    values: dict[str, Any] = {"free": free / 1e9, "folder": existing, "needed": needed / 1e9}
    if free >= max(2 * needed, LEAST_FREE_BYTES):
        return finding("disk", **values)
    full = free < max(needed, LEAST_FREE_BYTES)
    return finding("disk.short", Severity.PROBLEM if full else Severity.WARNING, **values)


def _stored_bytes(suite: SuiteNeeds) -> float:
    """What the replies of a suite will take on disk."""
    if suite.by_logprobs:
        return suite.samples * SCORED_REQUEST_BYTES + suite.items * ITEM_BYTES
    each = answer_bytes((suite.max_tokens or 0) * USUAL_SHARE, logprobs=suite.logprobs)
    return suite.samples * each + suite.items * ITEM_BYTES


def check_data(suites: Sequence[SuiteNeeds]) -> list[Finding]:
    """Whether the data set of every suite is on this machine."""
    found = [finding("data.absent", suite=suite.name, problem=suite.problem) for suite in suites if suite.problem]
    there = len(suites) - len(found)
    return [*found, finding("data", n=there, s="s" * (there != 1))] if there else found
