"""What an API promises, asked of one endpoint: tools, formats, streams, limits, thinking, load, the sampler.

Each group asks some requests and leaves a `Trial` for each promise that a reply keeps or breaks. Which promises there
are, what they are called and how strictly they are held stands in `reports/contract.toml`; what a verdict needs, in
`contract.py`. No promise here asks what a model knows.
"""

from __future__ import annotations

import asyncio
import difflib
import json
import random
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from evalkit.endpoint.body import at
from evalkit.examine.asker import Asker, Call, Said, value_of
from evalkit.examine.draws import TOP, Places, Rule, held_against
from evalkit.model import Failure

SHORT, LONG = 48, 112
"""Token limits of an answer, and of a tool call or a JSON document."""
_THINK: Final = re.compile(r"</?think(?:ing)?>")
_MARK: Final = re.compile(r"\d{3}-\d{3}")
FIRST: Final = 3
"""Families that are asked before a server is taken for one that knows no tools."""
WAVES: Final = ((2, 8), (8, 80), (32, 72), (64, 64))
"""Requests in flight at once, and requests, of each wave of marks."""


# ---------------------------------------------------------------- tools


@cache
def families() -> tuple[dict[str, Any], ...]:
    """The tools that are offered, each with a question that wants one."""
    return tuple(json.loads(Path(__file__).with_name("tools.json").read_text(encoding="utf-8")))


async def tools(asker: Asker) -> None:
    """Every family with a call required, whole and streamed; choices auto, none and named; a turn of a tool."""
    await _turns(asker)
    for some in (families()[:FIRST], families()[FIRST:]):
        await asyncio.gather(*(_required(asker, family) for family in some))
        if not asker.calls:  # it knows no tools, and would write as many essays
            return
    two = next(one for one in families() if one["name"] == "two tools")
    chosen = two["tools"][1]["function"]["name"]
    named = {"type": "function", "function": {"name": chosen}}
    for family in (families()[0], families()[6], two):
        for choice in ("auto", "none"):
            case = f"{family['name']}, {choice}"
            said = await asker.ask(family["prompt"], tools=family["tools"], tool_choice=choice, max_tokens=SHORT)
            if isinstance(said, Failure):
                asker.note(f"tools.{choice}", case, None, said.detail)
            elif choice == "none":
                asker.note("tools.none", case, not said.calls, "calls a tool all the same")
            else:
                ended = said.finish in {"tool_calls", "length"}
                asker.note("tools.auto", case, ended or not said.calls, f"finish_reason {said.finish!r}")
    said = await asker.ask(two["prompt"], tools=two["tools"], tool_choice=named, max_tokens=LONG)
    if isinstance(said, Failure):
        asker.note("tools.named", "named", None, said.detail)
    else:
        names = {call.name for call in said.calls}
        asker.note("tools.named", "named", names == {chosen}, f"calls {', '.join(names) or 'none'}")


async def _required(asker: Asker, family: Mapping[str, Any]) -> None:
    name, fields = family["name"], {"tools": family["tools"], "tool_choice": "required", "max_tokens": LONG}

    async def ask(*, stream: bool) -> Said | Failure:
        return await asker.ask(family["prompt"], stream=stream, **fields)

    whole, pieces = await asyncio.gather(ask(stream=False), ask(stream=True))
    for said, way in ((whole, "whole"), (pieces, "streamed")):
        case = f"{name}, {way}"
        if isinstance(said, Failure):
            asker.note("tools.required", case, None, said.detail)
            continue
        cut = said.finish == "length"
        asker.note("tools.required", case, None if cut and not said.calls else bool(said.calls), "no call", _told(said))
        if said.calls and not cut:
            wrong = next(filter(None, (wrong_call(call, family["tools"]) for call in said.calls)), "")
            asker.note("tools.valid", case, not wrong, wrong)
    await _alike(asker, "tools.streamed", name, ask, (whole, pieces))


def _told(said: Said) -> str:
    return json.dumps([(call.name, call.parsed) for call in said.calls], ensure_ascii=False, sort_keys=True)


def wrong_call(call: Call, offered: Sequence[Mapping[str, Any]]) -> str:
    """What is wrong with a call by the tools that were offered; "" where nothing is."""
    from jsonschema import Draft202012Validator

    functions = (one["function"] for one in offered)
    schema = next((one["parameters"] for one in functions if one["name"] == call.name), None)
    if schema is None:
        return f"calls {call.name!r}, which was not offered"
    if call.parsed is None:
        return f"arguments are no JSON: {call.arguments!r}"
    error = next(iter(Draft202012Validator(schema).iter_errors(call.parsed)), None)
    return "" if error is None else f"arguments break the schema: {error.message}"


async def _turns(asker: Asker) -> None:
    """A history with a tool's turn, and one with earlier reasoning: taken, and as many prompt tokens on both sides."""
    family = families()[0]
    call = {"id": "call00001", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}
    turn = [
        {"role": "user", "content": family["prompt"]},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call00001", "content": "4 degrees, rain"},
    ]
    thought = [
        {"role": "user", "content": "Name a river."},
        {"role": "assistant", "content": "The Rhine.", "reasoning_content": "A river in Europe comes to mind first."},
        {"role": "user", "content": "And another?"},
    ]
    for case, messages, fields in (("a tool's turn", turn, {"tools": family["tools"]}), ("reasoning", thought, {})):
        said = await asker.ask(messages, max_tokens=8, **fields)
        if isinstance(said, Failure):
            asker.note("history", case, False, said.detail)
        else:
            asker.note("history", case, True)
            asker.note("prompt.tokens", f"history: {case}", True, said=said.prompt_tokens)


# ---------------------------------------------------------------- streamed and whole


async def _alike(
    asker: Asker,
    promise: str,
    case: str,
    ask: Callable[..., Awaitable[Said | Failure]],
    came: tuple[Said | Failure, Said | Failure],
) -> None:
    """Whether the streamed reply is the whole one; told only where the server gives the whole one twice alike."""
    whole, pieces = came
    if isinstance(whole, Failure) or isinstance(pieces, Failure):
        failed = pieces if isinstance(pieces, Failure) else None
        asker.note(promise, case, None if isinstance(whole, Failure) else False, failed.detail if failed else "")
        return
    wrong = unlike(whole, pieces)
    if not wrong:
        asker.note(promise, case, True)
        return
    again, streamed = await asyncio.gather(ask(stream=False), ask(stream=True))
    steady = isinstance(again, Said) and not unlike(whole, again)
    asker.note(promise, case, False if steady else None, wrong)
    if steady and (isinstance(streamed, Failure) or unlike(whole, streamed)):
        asker.trials[-1] = replace(asker.trials[-1], again=True)


def unlike(whole: Said, pieces: Said) -> str:
    """In what a streamed reply differs from the whole one; "" where in nothing."""
    if [(one.name, one.parsed) for one in whole.calls] != [(one.name, one.parsed) for one in pieces.calls]:
        return f"calls {_told(pieces)}, whole {_told(whole)}"
    for name, one, two in (("text", whole.text, pieces.text), ("reasoning", whole.reasoning, pieces.reasoning)):
        if one != two:
            return f"{name} {_lost(one, two)}: {two!r}, whole {one!r}"
    if whole.finish != pieces.finish:
        return f"finish_reason {pieces.finish!r}, whole {whole.finish!r}"
    if pieces.tokens is None or whole.tokens not in {None, pieces.tokens}:
        return f"usage says {pieces.tokens} tokens, whole {whole.tokens}"
    return ""


def _lost(whole: str, pieces: str) -> str:
    """What happened to a streamed text, by its edits."""
    if "\ufffd" in pieces and "\ufffd" not in whole:
        return "has broken characters"
    edits = difflib.SequenceMatcher(None, whole, pieces, autojunk=False).get_opcodes()
    kinds = {kind for kind, *_where in edits}
    if kinds <= {"equal", "delete"}:
        return "loses a piece"
    return "repeats a piece" if kinds <= {"equal", "insert"} else "differs"


TEXTS: Final = (
    "Write two sentences about the sea.",
    "Count from one to twelve in words.",
    "用中文写两句关于春天的话。",
    "Write a line with five emoji about food.",
    "Schreibe einen Satz mit den Wörtern Äpfel, Öl und Straße.",
    "Write a Python function that adds two numbers.",
)


async def streams(asker: Asker) -> None:
    """Some texts whole and streamed."""
    await asyncio.gather(*(_streamed(asker, text, max_tokens=SHORT) for text in TEXTS))


async def _streamed(asker: Asker, text: str, **fields: Any) -> None:
    async def ask(*, stream: bool) -> Said | Failure:
        return await asker.ask(text, stream=stream, **fields)

    came = await asyncio.gather(ask(stream=False), ask(stream=True))
    await _alike(asker, "stream.text", text, ask, (came[0], came[1]))


# ---------------------------------------------------------------- formats and limits


FORMATS: Final[Mapping[str, dict[str, Any]]] = {
    "number": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
    "choice": {"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}, "required": ["colour"]},
    "list": {
        "type": "object",
        "properties": {"days": {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 2}},
        "required": ["days"],
    },
}
UNASKED: Final = "Tell me a short story about a lighthouse."


async def formats(asker: Asker, thinking: Sequence[Mapping[str, Any]]) -> None:
    """JSON where the prompt asks for prose, as a server must force it; under each way of thinking that there is."""
    jobs: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("any object", {"type": "json_object"}, {"type": "object"})
    ]
    for name, schema in FORMATS.items():
        closed = {**schema, "additionalProperties": False}
        asked = {"name": name, "schema": closed, "strict": True}
        jobs.append((name, {"type": "json_schema", "json_schema": asked}, closed))

    async def one(case: str, asked: Mapping[str, Any], schema: Mapping[str, Any], more: Mapping[str, Any]) -> None:
        words = "".join(f", thinking {'on' if way['enable_thinking'] else 'off'}" for way in more.values())
        prompt = f"{UNASKED} Reply in JSON." if asked["type"] == "json_object" else UNASKED
        said = await asker.ask(prompt, response_format=asked, max_tokens=LONG, **more)
        if isinstance(said, Failure):
            asker.note("format.schema", case + words, None, said.detail)
        elif said.finish == "length" and said.text.lstrip()[:1] in {"", "{"}:
            asker.note("format.schema", case + words, None, "cut before its end")
        else:
            wrong = _wrong_json(said.text, schema)
            asker.note("format.schema", case + words, not wrong, wrong)

    await asyncio.gather(*(one(*job, more) for job in jobs for more in ({}, *thinking)))


def _wrong_json(text: str, schema: Mapping[str, Any]) -> str:
    from jsonschema import Draft202012Validator

    try:
        value = value_of(text)
    except ValueError:
        return f"no JSON: {text!r}"
    error = next(iter(Draft202012Validator(schema).iter_errors(value)), None)
    return "" if error is None else f"breaks the schema: {error.message}"


async def limits(asker: Asker) -> None:
    """stop, max_tokens, n, logprobs, logit_bias, and a parameter that there is not."""
    plain = await asker.ask(TEXTS[0], max_tokens=SHORT)
    if isinstance(plain, Said) and (words := re.findall(r"\w{4,}", plain.text)[3:]):
        stop = words[len(words) // 2]
        kept = partial(_stopped, whole=plain.text, stop=stop)
        await _twice(asker, "limit.stop", TEXTS[0], kept, {"max_tokens": SHORT, "stop": [stop]})
    await _twice(asker, "limit.max_tokens", TEXTS[0], lambda said: (said.tokens or 5) <= 5, {"max_tokens": 5})
    await _twice(asker, "limit.n", TEXTS[1], lambda said: len(at(said.document, "choices") or ()) == 2, {"n": 2})
    await _twice(asker, "limit.logprobs", TEXTS[1], _logprobs_fit, {"logprobs": True, "top_logprobs": 2})
    await _twice(asker, "limit.logit_bias", TEXTS[1], _one_token, {"logit_bias": {"100": 100}})
    said = await asker.ask(TEXTS[1], max_tokens=4, evalkit_made_this_up=1)
    asker.note("unknown", "made up", True, said="refused" if isinstance(said, Failure) else "ignored")


async def _twice(
    asker: Asker, promise: str, prompt: str, kept: Callable[[Said], bool | None], fields: Mapping[str, Any]
) -> None:
    """What is broken is broken twice: a first answer may come from another batch."""
    seen = ""
    for _ in range(2):
        said = await asker.ask(prompt, **{"max_tokens": 4, **fields})
        if isinstance(said, Failure):
            asker.note(promise, prompt, None, said.detail)
            return
        if (found := kept(said)) is not False:
            asker.note(promise, prompt, found)
            return
        seen = f"{said.text!r}, finish_reason {said.finish!r}"
    asker.note(promise, prompt, False, seen)


def _stopped(said: Said, whole: str, stop: str) -> bool:
    """Cut before the stop text, wherever the answer has it."""
    return stop not in said.text and (said.finish == "stop" or not whole.startswith(said.text))


def _logprobs_fit(said: Said) -> bool:
    content = at(said.document, "choices", 0, "logprobs", "content")
    if not isinstance(content, list) or said.tokens is None:
        return False
    nats = [at(one, "logprob") for one in content]
    # The token that ends an answer is counted by some servers and listed by others.
    fits = abs(len(content) - said.tokens) <= 1
    return fits and all(isinstance(value, int | float) and value <= 0 for value in nats)


def _one_token(said: Said) -> bool | None:
    """The one token that was forced, again and again; None where it has no text (a mark, a part of a character)."""
    text, times = said.text, said.tokens or 1
    return None if not text or times == 1 else text == text[: len(text) // times] * times


# ---------------------------------------------------------------- thinking


RIDDLES: Final = ("Is 91 a prime number?", "What is 17 times 23?", "Which weekday comes 100 days after a Monday?")


async def thinking(asker: Asker) -> list[dict[str, Any]]:
    """Whether thinking can be switched and measured out; gives the ways to ask for it, on and off.

    All else is then asked with it off: an answer that is still thinking at its limit says nothing.
    """
    ways: list[dict[str, Any]] = [{"chat_template_kwargs": {"enable_thinking": on}} for on in (True, False)]
    on, off = await asyncio.gather(*(asker.ask(RIDDLES[0], max_tokens=4 * LONG, **way) for way in ways))
    if isinstance(on, Failure) or isinstance(off, Failure) or not (_thinks(on) or _thinks(off)):
        asker.note("thinking.switch", "on and off", None, "no answer thinks")
        return []
    asker.note("thinking.switch", "on", _thinks(on), "thinks not")
    asker.note("thinking.switch", "off", not _thinks(off), "thinks all the same")
    for case, said in (("on", on), ("off", off)):
        left = bool(_THINK.search(said.text)) and bool(said.reasoning)
        asker.note("thinking.tags", case, not left, f"tags are left in the answer: {said.text[:80]!r}")
    await _streamed(asker, RIDDLES[0], max_tokens=4 * LONG, **ways[0])
    for riddle in RIDDLES:
        low, high = await asyncio.gather(
            *(asker.ask(riddle, max_tokens=8 * LONG, reasoning_effort=effort) for effort in ("low", "high"))
        )
        if isinstance(low, Failure) or isinstance(high, Failure):
            asker.note("thinking.effort", riddle, None)
            continue
        longer = (high.tokens or 0) > (low.tokens or 0)
        asker.note("thinking.effort", riddle, longer, f"{high.tokens} tokens at high effort, {low.tokens} at low")
    if not _thinks(off):
        asker.usual = ways[1]
    return ways


def _thinks(said: Said) -> bool:
    return bool(said.reasoning.strip()) or bool(_THINK.search(said.text))


# ---------------------------------------------------------------- marks under load


async def marks(asker: Asker, seed: int = 0) -> None:
    """Requests in flight that carry marks: each answer must hold its own and none of another's."""
    rng = random.Random(seed)  # noqa: S311 - marks, no secrets
    for in_flight, number in WAVES:
        found = rng.sample(range(1_000_000), number)
        wave = [f"{code // 1000:03}-{code % 1000:03}" for code in found]
        slots = asyncio.Semaphore(in_flight)

        async def one(place: int, wave: list[str], slots: asyncio.Semaphore, load: int) -> None:
            async with slots:
                await _marked(asker, f"{load} in flight, {place}", place, wave)

        await asyncio.gather(*(one(place, wave, slots, in_flight) for place in range(number)))


RECORD: Final = {
    "type": "function",
    "function": {
        "name": "record",
        "description": "Records a code.",
        "parameters": {
            "type": "object",
            "properties": {"code": {"type": "string"}},
            "required": ["code"],
            "additionalProperties": False,
        },
    },
}


async def _marked(asker: Asker, case: str, place: int, wave: Sequence[str]) -> None:
    mark, called = wave[place], place % 2 == 1 and asker.calls
    fields: dict[str, Any] = {"tools": [RECORD], "tool_choice": "required"} if called else {}
    words = f"Record the code {mark}." if called else f"Repeat after me: {mark} {mark} {mark}"
    said = await asker.at_once(words, max_tokens=SHORT if called else 16, **fields)
    if isinstance(said, Failure):
        asker.note("load.answered", case, False, said.detail)
        return
    asker.note("load.answered", case, True)
    asker.note("prompt.tokens", f"marks: {case}", True, said=said.prompt_tokens)
    text = " ".join((said.text, said.reasoning, *(call.arguments for call in said.calls)))
    foreign = sorted({*_MARK.findall(text)} & {*wave} - {mark})
    asker.note("load.marks", case, not foreign, f"{mark} was sent, {', '.join(foreign)} came back")
    if not called:
        asker.note("load.echo", case, mark in text, f"{mark} was to be repeated: {said.text!r}")
    elif said.calls and said.finish != "length":
        wrong = wrong_call(said.calls[0], [RECORD])
        asker.note("load.arguments", case, not wrong, wrong)
        if not said.calls[0].arguments.strip():  # no model writes nothing: the parser lost what there was
            asker.trials[-1] = replace(asker.trials[-1], again=True)


# ---------------------------------------------------------------- the sampler


OPEN: Final = (
    "Name any animal, then any city, then any colour.",
    "Write one sentence that nobody has written before.",
    "Write the word yes twelve times.",
    "la la la la la la",
)
ASKED: Final[Mapping[str, tuple[Rule, dict[str, Any]]]] = {
    "temperature": (Rule(temperature=0.3), {"temperature": 0.3}),
    "top_p": (Rule(top_p=0.4), {"temperature": 1.0, "top_p": 0.4}),
    "top_k": (Rule(top_k=3), {"temperature": 1.0, "top_k": 3}),
    "min_p": (Rule(min_p=0.3), {"temperature": 1.0, "min_p": 0.3}),
    "frequency_penalty": (Rule(frequency_penalty=2.0), {"temperature": 1.0, "frequency_penalty": 2.0}),
    "presence_penalty": (Rule(presence_penalty=2.0), {"temperature": 1.0, "presence_penalty": 2.0}),
}
NEUTRAL: Final[dict[str, Any]] = {"top_k": -1, "min_p": 0.0}
"""Switches off what a server would fill in; left out where it refuses them."""
DRAWN_TOKENS: Final = 12
SEEDS: Final = (1, 2)


async def sampler(asker: Asker) -> None:
    """Draws under each parameter, held against the server's own log-probabilities; seeds; the repetition penalty."""
    tried = await asker.ask(OPEN[0], max_tokens=1, temperature=1.0, seed=1, **NEUTRAL)
    neutral = NEUTRAL if isinstance(tried, Said) else {}
    places = Places()

    async def draw(prompt: str, seed: int, fields: Mapping[str, Any]) -> Said | Failure:
        sent = {**neutral, "logprobs": True, "top_logprobs": TOP, "max_tokens": DRAWN_TOKENS, **fields}
        return await asker.ask(prompt, seed=seed, **sent)

    cases = [(prompt, seed) for prompt in OPEN for seed in SEEDS]
    plain = await asyncio.gather(*(draw(prompt, seed, {"temperature": 1.0}) for prompt, seed in cases))
    drawn = [
        place
        for (prompt, _seed), said in zip(cases, plain, strict=True)
        if isinstance(said, Said)
        for place in places.plain(prompt, said.document)
    ]
    _judge(asker, "plain", Rule(), drawn)
    for name, (rule, fields) in ASKED.items():
        said = await asyncio.gather(*(draw(prompt, seed + 10, fields) for prompt, seed in cases))
        drawn = [
            place
            for (prompt, _seed), one in zip(cases, said, strict=True)
            if isinstance(one, Said)
            for place in places.under(prompt, one.document)
        ]
        _judge(asker, name, rule, drawn)
    await _seeds(asker, draw, cases[:3], plain)
    for prompt in OPEN[:2]:
        one, two = await asyncio.gather(
            *(asker.ask(prompt, max_tokens=SHORT, repetition_penalty=penalty) for penalty in (1.0, 2.0))
        )
        known = isinstance(one, Said) and isinstance(two, Said)
        kept = known and (one.text, one.reasoning) != (two.text, two.reasoning)  # type: ignore[union-attr]
        asker.note("sampler.repetition_penalty", prompt, kept if known else None, "changes nothing")


def _judge(asker: Asker, name: str, rule: Rule, drawn: Sequence[Any]) -> None:
    found = held_against(rule, drawn)
    seen = f"{found.tokens} tokens were drawn as with {found.favours} (e-value {found.e_value:.1g})"
    asker.note(f"sampler.{name}", "draws", not found.broken if found.tokens >= len(OPEN) else None, seen)


async def _seeds(
    asker: Asker,
    draw: Callable[[str, int, Mapping[str, Any]], Awaitable[Said | Failure]],
    cases: Sequence[tuple[str, int]],
    before: Sequence[Said | Failure],
) -> None:
    again = [await draw(prompt, seed, {"temperature": 1.0}) for prompt, seed in cases]
    for (prompt, seed), one, two in zip(cases, before, again, strict=False):
        known = isinstance(one, Said) and isinstance(two, Said)
        same = known and one.text == two.text  # type: ignore[union-attr]
        asker.note("sampler.seed", f"{prompt} seed {seed}", same if known else None, "gives another text again")
    texts = [said.text for said in before if isinstance(said, Said)]
    if len(texts) == len(before):
        pairs = [texts[number] != texts[number + 1] for number in range(0, len(texts), 2)]
        asker.note("sampler.seed_varies", "two seeds", any(pairs), "all seeds give the same texts")
