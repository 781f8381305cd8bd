"""Does sampling obey: temperature, seed, repetition alone and under load, and no hidden server defaults?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from evalkit.endpoint.body import at
from evalkit.endpoint.identity import Native
from evalkit.examine.checks import Patient, Severity, said, shown
from evalkit.examine.replies import NO_ANSWER, QUESTION, REPLY_TOKENS
from evalkit.model import Failure, Reply

OPEN_QUESTION: Final = "Write one sentence with the words river, lantern and Tuesday that nobody has written before."
SAMPLED_TOKENS: Final = 24
HOT: Final = 1.8
"""A temperature at which cut-off tails (top_k, top_p, min_p) show within a few tokens."""
SEEDS: Final = (11, 12, 13)
UNDER_LOAD: Final = 6
NEUTRAL: Final = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}

_OTHERS: Final = (
    "List the months of the year.",
    "What is 12 times 12?",
    "Say good morning in three languages.",
    "Describe a tree in two sentences.",
    "Spell the word 'library' backwards.",
    "Why do cats purr?",
)


async def check_repeatable(patient: Patient) -> None:
    """The greedy answer again alone, then six times among other questions in flight."""
    texts = []
    for _ in range(2):
        reply = await patient.needed("repeatable", NO_ANSWER, QUESTION, max_tokens=REPLY_TOKENS)
        if reply is None:
            return
        texts.append(said(reply))
    if texts[0] == texts[1]:
        await _repeatable_under_load(patient, texts[0])
        return
    patient.facts["temperature 0 repeats"] = "no"
    both = f"{shown(texts[0])}, then {shown(texts[1])}"
    if await _seed_decides(patient):
        patient.found.problem(
            "temperature",
            f"temperature 0 draws answers at random: {both}; the seed decides",
            "the temperature is ignored, or the sampling of an earlier request stays (transformers serve "
            "--continuous-batching): answers come from another distribution than the one that is asked for",
            "restart the server and send only requests with the same sampling to it, or use another one",
        )
    else:
        patient.found.warning(
            "repeatable",
            f"temperature 0 does not repeat, even alone: {both}",
            "the server's own noise is part of every difference; or temperature 0 is not taken as greedy",
            "measure it with `evalkit aa`; ask several repeats; see that no sampling default overrides it",
        )


async def _repeatable_under_load(patient: Patient, alone: str) -> None:
    ours = (patient.chat(QUESTION, max_tokens=REPLY_TOKENS) for _ in range(UNDER_LOAD))
    others = (patient.chat(text, max_tokens=REPLY_TOKENS) for text in _OTHERS)
    outcomes = await asyncio.gather(*(one for pair in zip(ours, others, strict=True) for one in pair))
    replies = [outcome for outcome in outcomes[::2] if isinstance(outcome, Reply)]
    changed = sum(said(reply) != alone for reply in replies)
    lost = [outcome.detail for outcome in outcomes if isinstance(outcome, Failure)]
    patient.facts["temperature 0 repeats"] = f"alone; under load {len(replies) - changed} of {len(replies)}"
    if lost:
        patient.found.warning(
            "load",
            f"{len(lost)} of {len(outcomes)} requests at once got no answer: {lost[0]}",
            "a run asks as many at once as limits.concurrency says",
            "lower limits.concurrency, on both sides",
        )
    if changed:
        patient.found.note(
            "repeatable",
            f"temperature 0 repeats alone, and {changed} of {len(replies)} times not among other requests",
            "which requests share a batch changes the last digits, and sometimes an answer; it is usual on GPUs",
            "ask both sides at the same concurrency; on vLLM, VLLM_BATCH_INVARIANT=1 on the reference; "
            "`evalkit aa` measures it",
        )
    if not lost and not changed:
        patient.found.ok("repeatable", "temperature 0 repeats, alone and under load")


async def _seed_decides(patient: Patient) -> bool:
    """Whether a seed repeats the answer at temperature 0, and others change it: then it is drawn, not the likeliest."""
    texts = []
    for seed in (SEEDS[0], SEEDS[1], SEEDS[0], SEEDS[2]):
        reply = await patient.chat(OPEN_QUESTION, max_tokens=SAMPLED_TOKENS, temperature=0.0, seed=seed)
        if isinstance(reply, Failure):
            return False
        texts.append(said(reply))
    return texts[0] == texts[2] and len(set(texts)) == len(SEEDS)


async def check_seed(patient: Patient) -> None:
    """Temperature 1 with one seed twice, and with two others; the greedy answer; and the seeds again, all at once."""
    asked: list[dict[str, Any]] = [{"temperature": 1.0, "seed": seed} for seed in (SEEDS[0], *SEEDS)]
    texts = []
    for parameters in (*asked, {"temperature": 0.0}):
        why = "sampling with a seed is refused"
        reply = await patient.needed("seed", why, OPEN_QUESTION, max_tokens=SAMPLED_TOKENS, **parameters)
        if reply is None:
            return
        texts.append(said(reply))
    again, same, *others, greedy = texts
    if again != same:
        # The very first answer may come from a cold prompt cache: other last digits, another draw.
        third = await patient.chat(OPEN_QUESTION, max_tokens=SAMPLED_TOKENS, temperature=1.0, seed=SEEDS[0])
        again = said(third) if isinstance(third, Reply) else again
    varied = len({same, *others}) > 1
    sampled = patient.subject.temperature > 0
    if not varied and same == greedy:
        patient.facts["seed"] = "sampling has no effect"
        patient.found.add(
            "temperature",
            Severity.PROBLEM if sampled else Severity.WARNING,
            f"temperature 1 with three seeds gives the greedy answer each time: {shown(greedy)}",
            "sampling parameters are ignored, or those of an earlier request stay (transformers serve does both)",
            "use another server for sampled suites; restarting it before the run helps only if the first stays",
        )
    elif not varied:
        patient.facts["seed"] = "all alike"
        patient.found.add(
            "seed",
            Severity.PROBLEM if sampled else Severity.WARNING,
            f"three seeds give the same answer: {shown(same)}",
            "repeats of an item are copies of one answer; nothing is averaged",
            "see that the server takes `seed` and `temperature` from the request",
        )
    elif again != same:
        patient.facts["seed"] = "not honoured"
        severity = Severity.WARNING if sampled else Severity.NOTE
        patient.found.add("seed", severity, "the same seed gives different answers", _NO_LUCK, _MORE_REPEATS)
    else:
        await _seed_under_load(patient, dict(zip(SEEDS, (same, *others), strict=True)))


_NO_LUCK: Final = "repeats vary all the same, but a run cannot be repeated, and the two sides share no luck"
_MORE_REPEATS: Final = "nothing is lost but precision: allow for more repeats"


async def _seed_under_load(patient: Patient, alone: Mapping[int, str]) -> None:
    """Every seed twice, all at once: a server with one stream of random numbers gives other answers than alone."""
    asked = [*alone, *alone]
    outcomes = await asyncio.gather(
        *(patient.chat(OPEN_QUESTION, max_tokens=SAMPLED_TOKENS, temperature=1.0, seed=seed) for seed in asked)
    )
    replies = [(seed, reply) for seed, reply in zip(asked, outcomes, strict=True) if isinstance(reply, Reply)]
    changed = sum(said(reply) != alone[seed] for seed, reply in replies)
    # A batch's last digits change an answer here and there, and whoever comes first may be alone for a while.
    if len(replies) < len(asked) or changed < len(asked) - 1:
        patient.facts["seed"] = "honoured"
        patient.found.ok("seed", "the same seed repeats the answer, other seeds change it")
    else:
        patient.facts["seed"] = "honoured alone"
        what = f"the same seed repeats the answer alone, and {changed} of {len(asked)} times not among other requests"
        patient.found.note("seed", what, _NO_LUCK, f"{_MORE_REPEATS}, or set limits.concurrency to 1")


async def check_defaults(patient: Patient) -> None:
    """Parameters that the configuration leaves unset: what the server fills in, by its own word or by its answers."""
    unset = {key: value for key, value in NEUTRAL.items() if key not in patient.subject.parameters}
    if not unset:
        patient.found.ok("defaults", "every sampling parameter is set by the configuration")
    elif told := await _told_defaults(patient, unset):
        patient.facts["server defaults"] = ", ".join(f"{key} {value:g}" for key, value in told.items())
        what = f"fills {patient.facts['server defaults']} where requests leave it unset"
        _filled(patient, what, matters=patient.subject.temperature > 0 or "repetition_penalty" in told)
    else:
        await _look_for_defaults(patient, unset)


async def _look_for_defaults(patient: Patient, unset: dict[str, Any]) -> None:
    """Ask with the parameters unset and with values that switch them off; other answers give a default away."""
    names = ", ".join(unset)
    probes: list[dict[str, Any]] = [{"temperature": HOT, "seed": seed} for seed in SEEDS]
    for parameters in ({"temperature": 0.0}, *probes):
        left = await patient.chat(OPEN_QUESTION, max_tokens=SAMPLED_TOKENS, **parameters)
        right = await patient.chat(OPEN_QUESTION, max_tokens=SAMPLED_TOKENS, **parameters, **unset)
        if isinstance(left, Failure):
            patient.found.failed("defaults", left, "sampling is refused", Severity.WARNING)
            return
        if isinstance(right, Failure):
            what = f"does not take {names} ({right.detail}): whether it has defaults for them cannot be seen"
            patient.found.note("defaults", what, _OTHER_FILLING)
            return
        if said(left) == said(right):
            continue
        if not patient.facts.get("seed", "honoured").startswith("honoured") and parameters["temperature"] > 0:
            what = f"whether the server fills in {names} cannot be seen: it does not honour seeds"
            patient.found.note("defaults", what, _OTHER_FILLING, "set them in the configuration")
            return
        sent = ", ".join(f"{key} {value:g}" for key, value in unset.items())
        what = f"answers otherwise when {sent} are sent, which should change nothing: it has defaults of its own"
        # What shows at temperature 0 is a penalty, and matters at any temperature.
        _filled(patient, what, matters=patient.subject.temperature > 0 or parameters["temperature"] == 0)
        return
    patient.found.ok("defaults", f"no hidden defaults seen for {names}")


_OTHER_FILLING: Final = "two servers may fill unset parameters differently"


def _filled(patient: Patient, what: str, *, matters: bool) -> None:
    serious = "the other side may fill in others: the two would sample from different distributions"
    patient.found.add(
        "defaults",
        Severity.WARNING if matters else Severity.NOTE,
        what,
        serious if matters else "at temperature 0 it changes nothing",
        "set top_k, min_p and repetition_penalty under sampling: (-1, 0 and 1 are off), the same on both sides",
    )


async def _told_defaults(patient: Patient, unset: dict[str, Any]) -> dict[str, float]:
    """llama.cpp tells its defaults under /props; only those that are not off."""
    async with Native(patient.subject.settings) as native:
        props = await native.get("/props")
    names = {"top_k": "top_k", "min_p": "min_p", "repetition_penalty": "repeat_penalty"}
    told = {key: at(props, "default_generation_settings", "params", names[key]) for key in unset}
    return {
        key: float(value)
        for key, value in told.items()
        if isinstance(value, int | float) and not _is_off(key, float(value))
    }


def _is_off(key: str, value: float) -> bool:
    return value <= 0 if key in {"top_k", "min_p"} else value == 1.0
