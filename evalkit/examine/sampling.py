"""Does sampling obey: temperature, seed, repetition alone and under load, and no hidden server defaults?"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from evalkit.endpoint.body import at
from evalkit.endpoint.identity import Native
from evalkit.examine.checks import Patient, Severity, said, shown
from evalkit.examine.probe import neutral_prompts
from evalkit.examine.replies import NO_ANSWER, QUESTION, REPLY_TOKENS
from evalkit.model import Failure, Reply

OPEN_QUESTION: Final = "Write one sentence with the words river, lantern and Tuesday that nobody has written before."
SAMPLED_TOKENS: Final = 24
HOT: Final = 1.8  # a temperature at which cut-off tails (top_k, top_p, min_p) show within a few tokens
SEEDS: Final = (11, 12, 13)
UNDER_LOAD: Final = 6
NEUTRAL: Final = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}


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
    code = "temperature.drawn" if await _seed_decides(patient) else "repeatable.never"
    patient.found.say(code, one=shown(texts[0]), other=shown(texts[1]))


async def _repeatable_under_load(patient: Patient, alone: str) -> None:
    ours = (patient.chat(QUESTION, max_tokens=REPLY_TOKENS) for _ in range(UNDER_LOAD))
    others = (patient.chat(messages, max_tokens=REPLY_TOKENS) for messages in neutral_prompts(UNDER_LOAD))
    outcomes = await asyncio.gather(*(one for pair in zip(ours, others, strict=True) for one in pair))
    replies = [outcome for outcome in outcomes[::2] if isinstance(outcome, Reply)]
    changed = sum(said(reply) != alone for reply in replies)
    lost = [outcome.detail for outcome in outcomes if isinstance(outcome, Failure)]
    patient.facts["temperature 0 repeats"] = f"alone; under load {len(replies) - changed} of {len(replies)}"
    if lost:
        patient.found.say("load", lost=len(lost), n=len(outcomes), detail=lost[0])
    if changed:
        patient.found.say("repeatable.alone", changed=changed, n=len(replies))
    if not lost and not changed:
        patient.found.say("repeatable")


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
    matters = Severity.PROBLEM if sampled else Severity.WARNING
    if not varied and same == greedy:
        patient.facts["seed"] = "sampling has no effect"
        patient.found.say("temperature.greedy", matters, text=shown(greedy))
    elif not varied:
        patient.facts["seed"] = "all alike"
        patient.found.say("seed.alike", matters, text=shown(same))
    elif again != same:
        patient.facts["seed"] = "not honoured"
        patient.found.say("seed.ignored", Severity.WARNING if sampled else Severity.NOTE)
    else:
        await _seed_under_load(patient, dict(zip(SEEDS, (same, *others), strict=True)))


async def _seed_under_load(patient: Patient, alone: Mapping[int, str]) -> None:
    """Every seed twice, all at once: a server with one stream of random numbers gives other answers than alone."""
    asked = [*alone, *alone]
    outcomes = await asyncio.gather(
        *(patient.chat(OPEN_QUESTION, max_tokens=SAMPLED_TOKENS, temperature=1.0, seed=seed) for seed in asked)
    )
    replies = [(seed, reply) for seed, reply in zip(asked, outcomes, strict=True) if isinstance(reply, Reply)]
    changed = sum(said(reply) != alone[seed] for seed, reply in replies)
    # A batch's last digits change an answer here and there, and whoever comes first may be alone for a while.
    alike = len(replies) < len(asked) or changed < len(asked) - 1
    patient.facts["seed"] = "honoured" if alike else "honoured alone"
    patient.found.say("seed" if alike else "seed.alone", changed=changed, n=len(asked))


async def check_defaults(patient: Patient) -> None:
    """Parameters that the configuration leaves unset: what the server fills in, by its own word or by its answers."""
    unset = {key: value for key, value in NEUTRAL.items() if key not in patient.subject.parameters}
    if not unset:
        patient.found.say("defaults.all_set")
    elif told := await _told_defaults(patient, unset):
        patient.facts["server defaults"] = ", ".join(f"{key} {value:g}" for key, value in told.items())
        what = f"fills {patient.facts['server defaults']} where requests leave it unset"
        matters = patient.subject.temperature > 0 or "repetition_penalty" in told
        patient.found.say("defaults.filled" if matters else "defaults.idle", what=what)
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
            patient.found.say("defaults.refused", names=names, detail=right.detail)
            return
        if said(left) == said(right):
            continue
        if not patient.facts.get("seed", "honoured").startswith("honoured") and parameters["temperature"] > 0:
            patient.found.say("defaults.unseen", names=names)
            return
        sent = ", ".join(f"{key} {value:g}" for key, value in unset.items())
        what = f"answers otherwise when {sent} are sent, which should change nothing: it has defaults of its own"
        # What shows at temperature 0 is a penalty, and matters at any temperature.
        matters = patient.subject.temperature > 0 or parameters["temperature"] == 0
        patient.found.say("defaults.filled" if matters else "defaults.idle", what=what)
        return
    patient.found.say("defaults", names=names)


async def _told_defaults(patient: Patient, unset: dict[str, Any]) -> dict[str, float]:
    """llama.cpp tells its defaults under /props; only those that are not off."""
    async with Native(patient.subject.settings) as native:
        props = await native.get("/props")
    told: dict[str, float] = {}
    for key in unset:
        name = "repeat_penalty" if key == "repetition_penalty" else key
        value = at(props, "default_generation_settings", "params", name)
        if isinstance(value, int | float) and not (value == 1.0 if key == "repetition_penalty" else value <= 0):
            told[key] = float(value)
    return told
