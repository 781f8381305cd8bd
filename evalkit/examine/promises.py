"""What an API promises, asked of one endpoint: tools, formats, streams, limits, thinking, pictures, load.

Each group asks some requests and leaves a `Trial` for each promise that a reply keeps or breaks. Which promises there
are, what they are called and how strictly they are held stands in `reports/contract.toml`; what a verdict needs, in
`contract.py`; the sampler, in `draws.py`. No promise here asks what a model knows.
"""

import asyncio
import base64
import difflib
import io
import json
import random
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any, Final

from evalkit.endpoint.body import at
from evalkit.examine.asker import LATE, Asker, Call, Said, asked, away, value_of
from evalkit.examine.draws import TOP
from evalkit.model import Failure, FailureKind

SHORT, LONG = 48, 112  # token limits of an answer, and of a tool call or a JSON document
_THINK: Final = re.compile(r"</?think(?:ing)?>")
_ESCAPED: Final = re.compile(r"\\u[0-9a-fA-F]{4}|&(?:#\d+|quot|amp);")
_MARK: Final = re.compile(r"\d{3}-\d{3}")
FIRM: Final = 2  # so many broken cases make a firm promise a broken one, or one that is broken whenever it is asked
DOUBTS: Final = 4  # broken cases of a promise that are asked again
FAMILIES: Final[Sequence[dict[str, Any]]] = asked()["tools"]
TEXTS: Final[Sequence[str]] = asked()["texts"]
RIDDLES: Final[Sequence[str]] = asked()["riddles"]
FIRST: Final = 3  # families that are asked before a server is taken for one that knows no tools
WAVES: Final = ((2, 4), (8, 72), (32, 60), (64, 64))  # requests in flight at once, and requests, of each wave of marks

CHOICES: Final[Mapping[str, Callable[[Said], str]]] = {
    "auto": lambda said: "another finish_reason" if said.calls and said.finish not in {"tool_calls", "length"} else "",
    "none": lambda said: "calls a tool all the same" if said.calls else "",
}


async def tools(asker: Asker) -> None:
    """Every family with a call required, whole and streamed; choices auto, none and named; a turn of a tool."""
    await _turns(asker)
    several: list[bool] = []
    for some in (FAMILIES[:FIRST], FAMILIES[FIRST:]):
        for family, replies in zip(some, await asyncio.gather(*(_required(asker, one) for one in some)), strict=True):
            if len(family["tools"]) > 1:  # and as many things are asked for
                several += [len(said.calls) > 1 for said in replies if isinstance(said, Said) and said.calls]
        if not asker.calls:  # it knows no tools, and would write as many essays
            return
    if several:
        how = {0: "one at a time", len(several): "at once"}.get(sum(several))
        asker.note("tools.parallel", "calls", None if how is None else True, said=how)
    two = next(one for one in FAMILIES if len(one["tools"]) > 1)
    for family in (FAMILIES[0], FAMILIES[6], two):
        for choice, wrong in CHOICES.items():
            case, fields = f"{family['name']}, {choice}", {"tools": family["tools"], "tool_choice": choice}
            said = await asker.ask(family["prompt"], max_tokens=SHORT, **fields)
            asker.hold(f"tools.{choice}", case, said, wrong)
    chosen = two["tools"][1]["function"]["name"]
    fields = {"tools": two["tools"], "tool_choice": {"type": "function", "function": {"name": chosen}}}
    other = f"calls others than {chosen}, or none"
    for case in ("whole", "streamed"):
        said = await asker.ask(two["prompt"], stream=case == "streamed", max_tokens=LONG, **fields)
        asker.hold(
            "tools.named", case, said, lambda one: "" if {call.name for call in one.calls} == {chosen} else other
        )


async def _required(asker: Asker, family: Mapping[str, Any]) -> tuple[Said | Failure, Said | Failure]:
    name, fields = family["name"], {"tools": family["tools"], "tool_choice": "required", "max_tokens": LONG}

    async def ask(*, stream: bool) -> Said | Failure:
        return await asker.ask(family["prompt"], stream=stream, **fields)

    whole, pieces = await asyncio.gather(ask(stream=False), ask(stream=True))
    for said, way in ((whole, "whole"), (pieces, "streamed")):
        case = f"{name}, {way}"
        asker.hold(
            "tools.required", case, said, lambda one: "" if one.calls else None if one.finish == "length" else "no call"
        )
        if isinstance(said, Said) and said.calls and said.finish != "length":
            wrong = next(filter(None, (wrong_call(call, family["tools"]) for call in said.calls)), "")
            asker.note("tools.valid", case, not wrong, wrong)
            ids = [call.id for call in said.calls]
            asker.note("tools.ids", case, all(ids) and len({*ids}) == len(ids), f"ids {', '.join(ids)}")
    asker.counted(f"tools: {name}", whole)
    if not (isinstance(whole, Said) and whole.finish == "length"):  # a call that is cut is none yet, or half of one
        await _alike(asker, "tools.streamed", name, ask, (whole, pieces))
    return whole, pieces


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
    if error is not None:
        return f"arguments break the schema: {error.message}"
    values = json.dumps(call.parsed, ensure_ascii=False)
    return f"characters are mangled: {call.arguments}" if mangled(values) else ""


def mangled(text: str) -> bool:
    """Whether characters were decoded wrongly on their way: as Latin-1, cut, or escaped twice."""
    try:
        wrong = text.encode("latin-1").decode("utf-8") != text
    except UnicodeError:
        wrong = False
    return wrong or "\ufffd" in text or bool(_ESCAPED.search(text))


async def _turns(asker: Asker) -> None:
    """Histories with a tool's turn, earlier reasoning, a system's message, parts: taken, and counted alike."""
    for case, history in asked()["histories"].items():
        said = await asker.ask(history["messages"], max_tokens=8, tools=history.get("tools"))
        asker.counted(f"history: {case}", said)
        if isinstance(said, Failure):
            # Some models know no system's message: two endpoints must do the same.
            asker.failed("history", case, said, kept=None if "system" in case else False)
        else:
            asker.note("history", case, True)


async def _alike(
    asker: Asker, promise: str, case: str, ask: Callable[..., Awaitable[Said | Failure]], came: Sequence[Said | Failure]
) -> None:
    """Whether streamed replies are the whole one, which comes first; told only where that comes alike three times."""
    whole, pieces = came[0], [one for one in came[1:] if isinstance(one, Said)]
    failed = next((one for one in came if isinstance(one, Failure)), None)
    if isinstance(whole, Failure) or failed is not None:
        asker.failed(promise, case, failed or LATE, kept=None if failed is whole else False)
        return
    wrong = next(((one, found) for one in pieces if (found := unlike(whole, one))), None)
    asker.doubts[promise] += wrong is not None
    if wrong is None or asker.doubts[promise] > DOUBTS:
        asker.note(promise, case, True if wrong is None else None, "as with others before")
        return
    more = await asyncio.gather(*(ask(stream=stream) for stream in (False, False, True, True)))
    steady = all(isinstance(one, Said) and not unlike(whole, one) for one in more[:2])
    asker.note(promise, case, False if steady else None, wrong[1])
    spoilt = sum(isinstance(one, Failure) or bool(unlike(whole, one)) for one in (*pieces, *more[2:]))
    # Where two tokens are as likely as each other, another continuation may come by chance; nothing else does.
    if steady and spoilt >= FIRM and not _drifts(whole, wrong[0]):
        asker.trials[-1] = replace(asker.trials[-1], again=True)


def _drifts(whole: Said, pieces: Said) -> bool:
    """Whether a streamed reply reads like another answer, not like the whole one spoilt."""
    if len(whole.calls) != len(pieces.calls) or any(call.parsed is None for call in pieces.calls):
        return False
    texts = ((whole.text, pieces.text), (whole.reasoning, pieces.reasoning))
    changed = [_lost(one, two) for one, two in texts if one != two]
    calls = [[(call.name, call.parsed) for call in one.calls] for one in (whole, pieces)]
    return "differs" in changed or (not changed and calls[0] != calls[1])


def unlike(whole: Said, pieces: Said) -> str:
    """In what a streamed reply differs from the whole one; "" where in nothing."""
    if [(one.name, one.parsed) for one in whole.calls] != [(one.name, one.parsed) for one in pieces.calls]:
        return f"calls {_told(pieces)}, whole {_told(whole)}"
    for name, one, two in (("text", whole.text, pieces.text), ("reasoning", whole.reasoning, pieces.reasoning)):
        if one != two:
            return f"{name} {_lost(one, two)}: {two!r}, whole {one!r}"
    if whole.finish != pieces.finish:
        return f"finish_reason {pieces.finish!r}, whole {whole.finish!r}"
    for ours, theirs in ((whole.tokens, pieces.tokens), (whole.prompt_tokens, pieces.prompt_tokens)):
        if theirs is None or ours not in {None, theirs}:
            return f"usage says {theirs} tokens, whole {ours}"
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


async def streams(asker: Asker) -> None:
    """Some texts whole and streamed."""
    await asyncio.gather(*(_streamed(asker, text, max_tokens=SHORT) for text in TEXTS))


async def _streamed(asker: Asker, text: str, **fields: Any) -> None:
    async def ask(*, stream: bool) -> Said | Failure:
        return await asker.ask(text, stream=stream, **fields)

    came = await asyncio.gather(ask(stream=False), ask(stream=True), ask(stream=True))
    asker.counted(text, came[0])
    await _alike(asker, "stream.text", text, ask, came)


async def formats(asker: Asker, thinking: Sequence[Mapping[str, Any]]) -> None:
    """JSON where the prompt asks for prose, as a server must force it; under each way of thinking, and streamed."""
    jobs: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("any object", {"type": "json_object"}, {"type": "object"})
    ]
    for name, schema in asked()["schemas"].items():
        form = {"name": name, "schema": schema, "strict": True}
        jobs.append((name, {"type": "json_schema", "json_schema": form}, schema))
    ways: dict[str, Mapping[str, Any]] = {"": {}, ", streamed": {"stream": True}}
    for way in thinking:
        ways[f", thinking {'on' if way['chat_template_kwargs']['enable_thinking'] else 'off'}"] = way

    async def one(case: str, form: Mapping[str, Any], schema: Mapping[str, Any], more: Mapping[str, Any]) -> None:
        prompt = asked()["unasked"] + " Reply in JSON." * (form["type"] == "json_object")
        said = await asker.ask(prompt, response_format=form, max_tokens=LONG, **more)
        asker.hold("format.schema", case, said, partial(_wrong_json, schema=schema))

    await asyncio.gather(
        *(one(name + words, form, schema, more) for name, form, schema in jobs for words, more in ways.items())
    )


def _wrong_json(said: Said, schema: Mapping[str, Any]) -> str | None:
    from jsonschema import Draft202012Validator

    text = said.text
    if said.finish == "length" and text.lstrip()[:1] in {"", "{"}:
        return None  # cut before its end
    try:
        value = value_of(text)
    except ValueError:
        return f"no JSON: {text!r}"
    error = next(iter(Draft202012Validator(schema).iter_errors(value)), None)
    return "" if error is None else f"breaks the schema: {error.message}"


ABSENT: Final = "\u2603\u2603"  # no answer has it


async def limits(asker: Asker) -> None:
    """stop, max_tokens, n, logprobs, logit_bias, whole and streamed, and a parameter that there is not."""
    plain = await asker.ask(TEXTS[0], max_tokens=SHORT)
    if isinstance(plain, Said) and (words := re.findall(r"\w{4,}", plain.text)[3:]):
        stop = words[len(words) // 2]
        kept = partial(_stopped, whole=plain.text, stop=stop)
        # Whichever of several a server forgets, one of the two shows it.
        for case, stops in (("whole", [stop, ABSENT]), ("streamed", [ABSENT, stop])):
            await _twice(asker, "limit.stop", case, kept, {"max_tokens": SHORT, "stop": stops})
    for case in ("whole", "streamed"):
        await _twice(asker, "limit.max_tokens", case, _within, {"max_tokens": 5})
        await _twice(asker, "limit.logprobs", case, _logprobs_fit, {"logprobs": True, "top_logprobs": TOP})
    await _twice(asker, "limit.n", "whole", _two, {"n": 2})
    await _twice(asker, "limit.logit_bias", "whole", _forced, {"logit_bias": {"100": 100}})
    said = await asker.ask(TEXTS[1], max_tokens=4, evalkit_made_this_up=1)
    if said is not LATE:
        asker.note("unknown", "made up", True, said="refused" if isinstance(said, Failure) else "ignored")


async def _twice(
    asker: Asker, promise: str, case: str, wrong: Callable[[Said], str | None], fields: Mapping[str, Any]
) -> None:
    """What is broken is broken twice: a first answer may come from another batch."""
    for last in (False, True):
        said = await asker.ask(TEXTS[0], stream=case == "streamed", **{"max_tokens": 6, **fields})
        if last or isinstance(said, Failure) or not wrong(said):
            asker.hold(promise, case, said, wrong)
            return


def _stopped(said: Said, whole: str, stop: str) -> str:
    """Cut before the stop text, wherever the answer has it."""
    kept = stop not in said.text and (said.finish == "stop" or not whole.startswith(said.text))
    return "" if kept else f"{said.text!r} was to end before {stop!r}, finish_reason {said.finish!r}"


def _within(said: Said) -> str:
    tokens = said.tokens or 5
    kept = tokens < 5 or (tokens == 5 and said.finish == "length")
    return "" if kept else f"{tokens} tokens of 5, finish_reason {said.finish!r}"


def _two(said: Said) -> str:
    choices = at(said.document, "choices")
    found = len(choices) if isinstance(choices, list) else 0
    return "" if found == 2 else f"{found} choices of 2"


def _logprobs_fit(said: Said) -> str:
    content = at(said.document, "choices", 0, "logprobs", "content")
    if not isinstance(content, list) or said.tokens is None:
        return "there are none"
    # The token that ends an answer is counted by some servers and listed by others.
    if abs(len(content) - said.tokens) > 1:
        return f"{len(content)} of {said.tokens} tokens have one"
    nats = [at(one, "logprob") for one in content]
    if not all(isinstance(value, int | float) and value <= 0 for value in nats):
        return f"no log-probability: {nats}"
    listed = [at(one, "top_logprobs") for one in content]
    least = min(len(top) if isinstance(top, list) else 0 for top in listed) if listed else TOP
    return "" if least >= TOP else f"{least} alternatives of {TOP}"


def _forced(said: Said) -> str | None:
    """The one token that was forced, again and again; None where it has no text (a mark, a part of a character)."""
    text, times = said.text, said.tokens or 1
    if not text or times == 1:
        return None
    return "" if text == text[: len(text) // times] * times else f"{text!r} is not one token {times} times"


async def thinking(asker: Asker) -> list[dict[str, Any]]:
    """Whether thinking can be switched and measured out; gives the ways to ask for it, on and off.

    All else is then asked with it off: an answer that is still thinking at its limit says nothing.
    """
    ways: list[dict[str, Any]] = [{"chat_template_kwargs": {"enable_thinking": on}} for on in (True, False)]
    on = await asker.ask(RIDDLES[0], max_tokens=4 * LONG, **ways[0])
    off = on if isinstance(on, Failure) or not _thinks(on) else await asker.ask(RIDDLES[0], max_tokens=LONG, **ways[1])
    if isinstance(on, Failure) or isinstance(off, Failure) or off is on:
        asker.failed("thinking.switch", "on", off if isinstance(off, Failure) else THOUGHTLESS)
        return []
    asker.note("thinking.switch", "on", True)
    asker.note("thinking.switch", "off", not _thinks(off), "thinks all the same")
    for case, said in (("on", on), ("off", off)):
        left = bool(_THINK.search(said.text)) and bool(said.reasoning)
        asker.note("thinking.tags", case, not left, f"tags are left in the answer: {said.text[:80]!r}")
        asker.hold("thinking.answer", case, said, _unanswered)
    await _streamed(asker, RIDDLES[0], max_tokens=4 * LONG, **ways[0])
    for riddle in RIDDLES:
        efforts = [asker.ask(riddle, max_tokens=8 * LONG, reasoning_effort=effort) for effort in ("low", "high")]
        low, high = await asyncio.gather(*efforts)
        if isinstance(low, Failure) or isinstance(high, Failure):
            asker.failed("thinking.effort", riddle, low if isinstance(low, Failure) else THOUGHTLESS)
            continue
        longer = (high.tokens or 0) > (low.tokens or 0)
        asker.note("thinking.effort", riddle, longer, f"{high.tokens} tokens at high effort, {low.tokens} at low")
        asker.hold("thinking.answer", riddle, low, _unanswered)
    if not _thinks(off):
        asker.usual = ways[1]
    return ways


THOUGHTLESS: Final = Failure(FailureKind.BAD_REQUEST, "no answer thinks")


def _unanswered(said: Said) -> str | None:
    return None if said.finish != "stop" else "" if said.text.strip() else "ends without an answer after its thoughts"


def _thinks(said: Said) -> bool:
    return bool(said.reasoning.strip()) or bool(_THINK.search(said.text))


PICTURES: Final = 10


async def pictures(asker: Asker) -> None:
    """One to ten pictures in a prompt, which two endpoints must count as as many tokens; a server may take none."""
    for number in range(1, PICTURES + 1):
        urls = [f"data:image/png;base64,{base64.b64encode(_square(shade)).decode()}" for shade in range(number)]
        parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        text = {"type": "text", "text": "What is there to see?"}
        said = await asker.ask([{"role": "user", "content": [*parts, text]}], max_tokens=1)
        case = f"{number} picture{'s' * (number > 1)}"
        if isinstance(said, Failure):  # more than so many, it will not take either
            asker.failed("prompt.pictures", case, said)
            return
        asker.note("prompt.pictures", case, True, said=said.prompt_tokens)


@cache
def _square(shade: int) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (112, 84), (20 * shade, 120, 240 - 20 * shade)).save(out, "PNG")
    return out.getvalue()


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


async def _marked(asker: Asker, case: str, place: int, wave: Sequence[str]) -> None:
    mark, called = wave[place], place % 2 == 1 and asker.calls
    fields: dict[str, Any] = {"tools": [asked()["record"]], "tool_choice": "required"} if called else {}
    words = f"Record the code {mark}." if called else f"Repeat after me: {mark} {mark}"
    limit = SHORT if called else 12
    said = await asker.at_once(words, max_tokens=limit, **fields)
    if isinstance(said, Failure) and away(said):
        said = await asker.ask(words, max_tokens=limit, **fields)  # with fewer in flight, and later
    if isinstance(said, Failure):
        asker.failed("load.answered", case, said, kept=False)
        return
    asker.note("load.answered", case, True)
    text = " ".join((said.text, said.reasoning, *(call.arguments for call in said.calls)))
    foreign = sorted({*_MARK.findall(text)} & {*wave} - {mark})
    asker.note("load.marks", case, not foreign, f"{mark} was sent, {', '.join(foreign)} came back")
    if not called:
        asker.note("load.echo", case, mark in text, f"{mark} was to be repeated: {said.text!r}")
    elif said.calls and said.finish != "length":
        wrong = wrong_call(said.calls[0], [asked()["record"]])
        asker.note("load.arguments", case, not wrong, wrong)
        if not said.calls[0].arguments.strip():  # no model writes nothing: the parser lost what there was
            asker.trials[-1] = replace(asker.trials[-1], again=True)
