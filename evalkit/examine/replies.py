"""Are replies sane: template, reasoning, token limit, stop texts, several choices, log-probabilities?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import orjson

from evalkit.endpoint.body import at
from evalkit.examine.checks import Findings, Patient, Severity, said, shown
from evalkit.model import Failure, FailureKind, Message, Reply

QUESTION: Final = "Name three rivers in Europe, and for each of them one city that lies on it."
REPLY_TOKENS: Final = 48
NO_ANSWER: Final = "a plain question gets no answer"
THINKING_TOKENS: Final = 1_024
LEAST_GROWTH: Final = 20
LEAST_TEMPLATE: Final = 5
COMMON_LETTER: Final = "e"
TOKEN_CHARACTERS: Final = 16
"""More than most tokens of words have."""

_WORDS: Final = (
    "apple bridge candle desert engine forest guitar harbour island jacket kettle ladder mirror needle orange pencil "
    "quarry ribbon saddle tunnel umbrella valley window yellow zebra anchor basket circle dragon eagle"
)
_LEAKED: Final = re.compile(
    r"<\|[a-z_]{2,30}\|>|<\|(?:start|end)_header_id\|>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|<｜[^｜]{1,30}｜>"
)
_OPENING: Final = re.compile(r"<(?:think|thinking|thought|reasoning)>")
_BROKEN: Final = (
    (re.compile(r"(\S)\1{15,}"), "one character over and over"),
    (re.compile(r"(\b\S{1,20}\b)(?:\W{1,3}\1\b){8,}"), "one word over and over"),
    (re.compile(r"�{2,}"), "bytes that are no text"),
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
    elif _OPENING.search(reply.content) or any(tag in reply.content for tag in patient.subject.closing_tags):
        found.note(
            "reasoning",
            "the thinking trace stands in the answer itself (no reasoning parser on the server)",
            "evalkit takes it off at the closing tag; a cut-off trace without one counts as truncated",
            "keep it so on both sides, or set a reasoning parser on both",
        )


def _text(found: Findings, reply: Reply) -> None:
    text = said(reply)
    if not text.strip():
        found.problem(
            "reply",
            f"a plain question gets an empty answer (finish_reason {reply.finish_reason})",
            "every item would be scored as empty",
            "look at the chat template's generation prompt, and at the stop tokens of generation_config.json",
        )
        return
    if leaked := _LEAKED.search(reply.content):
        found.problem(
            "template",
            f"a template mark is left in the answer: {leaked[0]} in {shown(reply.content)}",
            "the model does not stop where it should, or another model's template is used",
            "serve with the model's own chat template and its end-of-turn token as a stop token",
        )
    broken = next((what for pattern, what in _BROKEN if pattern.search(text)), None)
    if broken:
        found.problem(
            "reply",
            f"the answer is {broken}: {shown(text)}",
            "a typical sign of broken kernels or weights",
            "compare with the reference by `evalkit probe` before anything else",
        )
    if not leaked and not broken:
        found.ok("reply", f"answers {shown(text)} in {reply.seconds:.2g} s")


def _ending(found: Findings, reply: Reply) -> None:
    if reply.finish_reason not in {"stop", "length"}:
        what = f"finish_reason is {reply.finish_reason!r} where 'stop' or 'length' belongs"
        found.warning("finish_reason", what, "cut-off answers cannot be told from whole ones")
    made = reply.usage.completion_tokens
    if made is None:
        what = "replies do not say how many tokens they have (usage)"
        found.warning("usage", what, "lengths, costs and template mistakes stay unseen")
    elif made > REPLY_TOKENS:
        what = f"max_tokens is not kept: {made} tokens where {REPLY_TOKENS} were allowed"
        why = "answers have another budget than the other side's"
        found.problem("max_tokens", what, why, "look for a server-side override of the token limit")


def _logprobs(patient: Patient, reply: Reply) -> None:
    value = at(orjson.loads(reply.raw), "choices", 0, "logprobs", "content", 0, "logprob")
    there = isinstance(value, int | float)
    patient.facts["logprobs"] = "yes" if there else "no"
    if there:
        patient.found.ok("logprobs", "log-probabilities of generated tokens are given")
        return
    wanted = patient.subject.wants_logprobs
    patient.found.add(
        "logprobs",
        Severity.PROBLEM if wanted else Severity.NOTE,
        "`logprobs` is ignored: replies have no log-probabilities",
        "logprobs: true of the configuration has no effect" if wanted else "changed answers cannot be ranked by them",
        "serve with a server that gives them" + (", or set logprobs: false" if wanted else ""),
    )


async def _reasoning_only(patient: Patient, reply: Reply) -> None:
    """A trace without an answer: cut off, or swallowed? A longer question tells."""
    if reply.finish_reason == "length":
        longer = await patient.chat(QUESTION, max_tokens=THINKING_TOKENS)
        if isinstance(longer, Failure):
            patient.found.failed("reasoning", longer, "a longer answer cannot be had", Severity.WARNING)
            return
        reply = longer
    if reply.content:
        patient.found.ok("reasoning", "the thinking trace and the answer come apart")
    elif reply.finish_reason == "length":
        what = f"still thinking after {THINKING_TOKENS} tokens: whether the answer comes apart was not seen"
        patient.found.note(
            "reasoning", what, "answers of thinking models need room", "give max_tokens of 32,768 and more"
        )
    else:
        patient.found.problem(
            "reasoning",
            "the answer ends, and all of it counts as reasoning: the content is empty",
            "every item would be scored as having no answer",
            "the reasoning parser does not fit the model or its thinking is switched off: change --reasoning-parser",
        )


async def check_template(patient: Patient, *, short: bool = False) -> None:
    """Whether what is asked reaches the model, by the number of prompt tokens; `short` asks once, for the facts.

    The first question is sent with the sampling fields of the run, which a strict server may refuse.
    """
    found = Findings()
    small = await _prompt_tokens(patient, _GREETING, **patient.extensions)
    if isinstance(small, Failure) and patient.extensions:
        refused, small = small, await _prompt_tokens(patient, _GREETING)
        if not isinstance(small, Failure):
            found.problem(
                "fields",
                f"requests with {', '.join(patient.extensions)} get no answer, and without do: {refused.detail}",
                "the configuration sends these fields with every request of the run: none would be answered",
                "take what the server does not know out of sampling:, on both sides, or use a server that takes it",
            )
    if isinstance(small, Failure):
        found.failed("template", small, "a greeting gets no answer")
    elif small is not None:
        patient.facts["prompt tokens of a greeting"] = str(small)
        if small < LEAST_TEMPLATE:
            found.warning(
                "template",
                f"'Hi.' reaches the model as {small} tokens: there are hardly any marks of a chat around it",
                "the chat template seems not to be applied, or its name is taken as its text",
                "give the template itself (--chat-template FILE)",
            )
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
                seen = f"{what} does not reach the model: {small} prompt tokens without, {tokens} with it"
                found.problem("template", seen, why, "serve with the model's own chat template")
    if not found:
        found.ok("template", "messages, earlier turns and a system message reach the model")


_GREETING: Final[tuple[Message, ...]] = ({"role": "user", "content": "Hi."},)
_CONVERSATIONS: Final[Sequence[tuple[str, tuple[Message, ...], int, str]]] = (
    ("a longer message", ({"role": "user", "content": _WORDS},), LEAST_GROWTH, "the model does not see the question"),
    (
        "a system message",
        ({"role": "system", "content": "Answer in one word."}, {"role": "user", "content": "Hi."}),
        1,
        "suites with a system message are asked without it",
    ),
    (
        "an earlier turn",
        (
            {"role": "user", "content": "Hi."},
            {"role": "assistant", "content": "Hello, what can I do for you today?"},
            {"role": "user", "content": "Hi."},
        ),
        6,
        "few-shot examples given as turns are lost",
    ),
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
    middle = _middle(plain.content)
    if middle is None:
        patient.found.note("stop", "not looked at: the short answer is all thinking")
        return
    severity = Severity.PROBLEM if patient.subject.wants_stops else Severity.WARNING
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
        patient.found.ok("stop", "a stop text ends the answer and is left out of it")
        return
    # A server that looks at whole tokens leaves the rest of the last one behind the stop text.
    behind = cut.content.partition(stop)[2].rstrip()
    kept = len(behind) < TOKEN_CHARACTERS and len(cut.content) < len(plain.content)
    what = "the stop text is left in the answer" if kept else "`stop` is ignored"
    patient.found.add(
        "stop",
        severity,
        f"{what}: {shown(cut.content)} for stop {stop!r}",
        "answers run on or differ from those of a server that follows the OpenAI API",
        "use a server that follows it, or suites without stop texts",
    )


def _middle(text: str) -> str | None:
    """A few characters from the middle that occur there for the first time."""
    words = [word for word in text.split() if len(word) > 3]
    for word in words[len(words) // 3 :]:
        if text.index(word) > len(text) // 4:
            return word
    return None


async def check_choices(patient: Patient) -> None:
    """Whether `n` is honoured; evalkit never relies on it."""
    reply = await patient.chat(QUESTION, max_tokens=4, n=2, temperature=1.0, seed=1)
    if isinstance(reply, Failure):
        why = "several choices in one reply are refused; evalkit never asks so"
        patient.found.failed("n", reply, why, Severity.NOTE)
        return
    count = len(orjson.loads(reply.raw)["choices"])
    if count == 2:
        patient.found.ok("n", "`n` is honoured")
        return
    patient.found.note(
        "n",
        f"`n: 2` gives {count} choice: the field is ignored",
        "evalkit asks each repeat by itself and loses nothing; other tools silently lose repeats",
        "nothing to do for evalkit; where another tool asks this server, have it send each repeat as a request",
    )
