"""Are replies sane: template, reasoning, token limit, stop texts, several choices, log-probabilities?"""

from collections.abc import Sequence
from typing import Any, Final

import orjson

from evalkit.endpoint.body import at
from evalkit.examine.checks import Findings, Patient, Severity, said, shown
from evalkit.model import Failure, FailureKind, Message, Reply
from evalkit.resources import Patterns

QUESTION: Final = "Name three rivers in Europe, and for each of them one city that lies on it."
REPLY_TOKENS: Final = 48
NO_ANSWER: Final = "a plain question gets no answer"
THINKING_TOKENS: Final = 1_024
LEAST_GROWTH: Final = 20
LEAST_TEMPLATE: Final = 5
COMMON_LETTER: Final = "e"
TOKEN_CHARACTERS: Final = 16  # more than most tokens of words have

_RE: Final = Patterns("replies")
_BROKEN: Final = (
    (_RE.one_character, "one character over and over"),
    (_RE.one_word, "one word over and over"),
    (_RE.no_text, "bytes that are no text"),
)


async def check_reply(patient: Patient) -> None:
    """One greedy answer, looked at from all sides; its text is kept for later checks as fact `greedy reply`."""
    found = patient.found
    reply = await patient.chat(QUESTION, max_tokens=REPLY_TOKENS, logprobs=True, top_logprobs=2)
    if isinstance(reply, Failure) and reply.kind in {FailureKind.BAD_REQUEST, FailureKind.SERVER_ERROR}:
        # A server may refuse log-probabilities; that is a finding of its own below.
        reply = await patient.chat(QUESTION, max_tokens=REPLY_TOKENS)
    if isinstance(reply, Failure):
        found.failed("reply", reply, NO_ANSWER)
        return
    patient.facts["greedy reply"] = said(reply)
    patient.facts["seconds for a short reply"] = f"{reply.seconds:.2g}"
    _text(found, reply)
    _ending(found, reply)
    _logprobs(patient, reply)
    if reply.reasoning and not reply.content:
        await _reasoning_only(patient, reply)
    elif _RE.opening.search(reply.content) or any(tag in reply.content for tag in patient.subject.closing_tags):
        found.say("reasoning.inside")


def _text(found: Findings, reply: Reply) -> None:
    text = said(reply)
    if not text.strip():
        found.say("reply.empty", finish_reason=reply.finish_reason)
        return
    leaked = _RE.leaked.search(reply.content)
    broken = next((what for pattern, what in _BROKEN if pattern.search(text)), None)
    if leaked:
        found.say("template.leaked", mark=leaked[0], text=shown(reply.content))
    if broken:
        found.say("reply.broken", broken=broken, text=shown(text))
    if not leaked and not broken:
        found.say("reply", text=shown(text), seconds=reply.seconds)


def _ending(found: Findings, reply: Reply) -> None:
    if reply.finish_reason not in {"stop", "length"}:
        found.say("finish_reason", told=reply.finish_reason)
    made = reply.usage.completion_tokens
    if made is None:
        found.say("usage")
    elif made > REPLY_TOKENS:
        found.say("max_tokens", made=made, allowed=REPLY_TOKENS)


def _logprobs(patient: Patient, reply: Reply) -> None:
    value = at(orjson.loads(reply.raw), "choices", 0, "logprobs", "content", 0, "logprob")
    there = isinstance(value, int | float)
    patient.facts["logprobs"] = "yes" if there else "no"
    absent = "logprobs.missed" if patient.subject.wants_logprobs else "logprobs.none"
    patient.found.say("logprobs" if there else absent)


async def _reasoning_only(patient: Patient, reply: Reply) -> None:
    """A trace without an answer: cut off, or swallowed? A longer question tells."""
    if reply.finish_reason == "length":
        longer = await patient.chat(QUESTION, max_tokens=THINKING_TOKENS)
        if isinstance(longer, Failure):
            patient.found.failed("reasoning", longer, "a longer answer cannot be had", Severity.WARNING)
            return
        reply = longer
    if reply.content:
        patient.found.say("reasoning")
    elif reply.finish_reason == "length":
        patient.found.say("reasoning.long", tokens=THINKING_TOKENS)
    else:
        patient.found.say("reasoning.all")


async def check_template(patient: Patient, *, short: bool = False) -> None:
    """Whether what is asked reaches the model, by the number of prompt tokens; `short` asks once, for the facts.

    The first question is sent with the sampling fields of the run, which a strict server may refuse.
    """
    found = Findings()
    small = await _prompt_tokens(patient, _GREETING, **patient.extensions)
    if isinstance(small, Failure) and patient.extensions:
        refused, small = small, await _prompt_tokens(patient, _GREETING)
        if not isinstance(small, Failure):
            found.say("fields", fields=", ".join(patient.extensions), detail=refused.detail)
    if isinstance(small, Failure):
        found.failed("template", small, "a greeting gets no answer")
    elif small is not None:
        patient.facts["prompt tokens of a greeting"] = str(small)
        if small < LEAST_TEMPLATE:
            found.say("template.bare", tokens=small)
        if not short:
            await _conversations(patient, found, small)
    patient.found += found


async def _conversations(patient: Patient, found: Findings, small: int) -> None:
    for what, messages, least, why in _CONVERSATIONS:
        tokens = await _prompt_tokens(patient, messages)
        system = what == "a system message"
        if isinstance(tokens, Failure):
            found.failed("template", tokens, f"{what} is refused: {why}", Severity.NOTE if system else Severity.PROBLEM)
        elif tokens is not None:
            patient.facts[f"prompt tokens with {what}"] = str(tokens)
            if tokens == small if system else tokens - small < least:
                found.say("template.lost", part=what, small=small, tokens=tokens, why=why)
    if not found:
        found.say("template")


_GREETING: Final[tuple[Message, ...]] = ({"role": "user", "content": "Hi."},)
_LONGER: Final[Message] = {"role": "user", "content": " ".join([QUESTION] * 3)}
_SYSTEM: Final[Message] = {"role": "system", "content": "Answer in one word."}
_TURN: Final[Message] = {"role": "assistant", "content": "Hello, what can I do for you today?"}
_CONVERSATIONS: Final[Sequence[tuple[str, tuple[Message, ...], int, str]]] = (
    ("a longer message", (_LONGER,), LEAST_GROWTH, "the model does not see the question"),
    ("a system message", (_SYSTEM, *_GREETING), 1, "suites with a system message are asked without it"),
    ("an earlier turn", (*_GREETING, _TURN, *_GREETING), 6, "few-shot examples given as turns are lost"),
)


async def _prompt_tokens(patient: Patient, messages: Sequence[Message], **fields: Any) -> int | Failure | None:
    reply = await patient.chat(messages, max_tokens=1, **fields)
    return reply if isinstance(reply, Failure) else reply.usage.prompt_tokens


async def check_stop(patient: Patient) -> None:
    """A stop text taken from the middle of the greedy answer must end it, and must not be part of it.

    Where the second answer is another one than the first, as on a server whose temperature 0 is not greedy, a stop
    text that no answer does without is asked for once more.
    """
    plain = await patient.needed("stop", NO_ANSWER, QUESTION, max_tokens=REPLY_TOKENS)
    if plain is None:
        return
    text = plain.content
    words = [word for word in text.split() if len(word) > 3]
    # A few characters from the middle that occur there for the first time.
    middle = next((word for word in words[len(words) // 3 :] if text.index(word) > len(text) // 4), None)
    if middle is None:
        patient.found.say("stop.unseen")
        return
    wanted = patient.subject.parameters.get("stop") or any(suite.stops for suite in patient.subject.suites)
    severity = Severity.PROBLEM if wanted else Severity.WARNING
    stop, cut = middle, plain
    for stop in (middle, COMMON_LETTER):
        outcome = await patient.chat(QUESTION, max_tokens=REPLY_TOKENS, stop=[stop])
        if isinstance(outcome, Failure):
            patient.found.failed("stop", outcome, "stop texts are refused", severity)
            return
        cut = outcome
        if stop in cut.content or cut.content.rstrip() == plain.content.partition(stop)[0].rstrip():
            break
    if stop not in cut.content:
        patient.found.say("stop")
        return
    # A server that looks at whole tokens leaves the rest of the last one behind the stop text.
    behind = cut.content.partition(stop)[2].rstrip()
    kept = len(behind) < TOKEN_CHARACTERS and len(cut.content) < len(plain.content)
    patient.found.say("stop.kept" if kept else "stop.ignored", severity, text=shown(cut.content), stop=stop)


async def check_choices(patient: Patient) -> None:
    """Whether `n` is honoured; evalkit never relies on it."""
    reply = await patient.chat(QUESTION, max_tokens=4, n=2, temperature=1.0, seed=1)
    if isinstance(reply, Failure):
        why = "several choices in one reply are refused; evalkit never asks so"
        patient.found.failed("n", reply, why, Severity.NOTE)
        return
    count = len(orjson.loads(reply.raw)["choices"])
    patient.found.say("n" if count == 2 else "n.ignored", count=count)
