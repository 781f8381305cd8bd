"""Replies that are no answers: no text at all, one sentence instead of the answers to many questions, the other side's.

No text is one character or line again and again, special tokens, the prompt, bytes, a foreign script. Such a reply is
a fault of the serving program (a kernel that gives NaN, a wrong detokeniser), not a weak answer, so the first one is
said, with its item; a rate would hide it. So it would a server's error message that comes as a good reply.
"""

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evalkit.compare.columns import NO_TEXT, Samples, Side, SuiteSide
from evalkit.compare.pair import Aligned
from evalkit.model import BehaviourRow, Prompt, Reason, Reply, Value
from evalkit.resources import toml_file
from evalkit.stats.tails import binomial_upper

Ints: TypeAlias = NDArray[np.int64]

_RUN: Final = 200  # of one character at the end of a reply, however it began
_LEAST: Final = 16  # characters, of a reply that is nothing but repetition
_LINES: Final = 4
_FOREIGN: Final = 0.2  # of a reply's letters: a few foreign words are no garbage
_LETTERS: Final = 4
_SHOWN: Final = 3
_QUESTIONS: Final = 3  # that one sentence lost
_ALPHA: Final = 1e-3  # of equal chances for either side to say it
_WORDS: Final = 6  # of a sentence: a short answer is the answer to many questions
_UNSPACED: Final = re.compile("[\u2e80-\uffdc]")  # letters without spaces between words, two of them to a word
_LINE: Final = 120  # characters of it that are told
_UNDECODABLE: Final = "\N{REPLACEMENT CHARACTER}"
_TOKENS: Final = re.compile(r"(?i)\s*(?:(?:<(?:unk|pad|bos|eos|mask|/?s)>|\[(?:unk|pad|mask)\]|<\|endoftext\|>)\s*)+")
# A proxy's page, or a line that begins with "error" and names what only a server has.
_ERROR: Final = re.compile(
    r"(?is)\s*(?:<!doctype html>\s*)?<html[^>]{0,80}>\s*(?:<head>\s*)?<title>\s*[45]\d\d\b"
    r"|\W{0,3}(?:error|exception)\b(?=.{0,300}\Z).*?\b(?:time(?:d |-)?out|upstream|worker|gateway|overloaded"
    r"|unavailable|connection (?:refused|reset)|out of memory|cuda|backend|internal server)\b"
)
_LOOKED: Final = 60  # replies that are alike, whose ids are looked at
_LONG_ID: Final = 16  # characters; a server that counts its replies gives shorter ids
_QUOTED: Final = 80  # characters of a prompt's end that no answer repeats by chance


@cache
def _scripts() -> dict[str, re.Pattern[str]]:
    return {name: re.compile(f"[{ranges}]") for name, ranges in toml_file("compare/scripts.toml").items()}


def garbage_of(reply: Reply, prompt: Prompt) -> str:
    """What makes a reply garbage, as a word: `one_character`, ... or a script that it is in; "" for any other.

    The others are `one_line`, `special_tokens`, `error_message`, `undecodable` and `prompt` (its end, word for word). A
    script is named where the prompt has no letter of it; whether other answers use it is for the comparison to say.
    """
    for text in (reply.content, reply.reasoning):
        word = _repeated(text) or _not_said(text, prompt)
        if word := word or ("" if text.isascii() else _strange(text, prompt, reply.finish_reason)):
            return word
    return ""


def _repeated(text: str) -> str:
    end = text.rstrip()[-_RUN:]
    if len(end) == _RUN and len(set(end)) == 1:
        return "one_character"
    dense = "".join(text.split())
    if len(dense) < _LEAST:
        return ""
    if dense.count(dense[0]) == len(dense):
        return "one_character"
    first, *others = [line.strip() for line in text.splitlines() if line.strip()]
    if len(others) < _LINES - 1 or not first.startswith(others.pop()):  # the last line may be cut
        return ""
    return "one_line" if all(line == first for line in others) else ""


def _not_said(text: str, prompt: Prompt) -> str:
    """What stands in the place of an answer: special tokens, a server's error, the end of the prompt."""
    if _TOKENS.fullmatch(text):
        return "special_tokens"
    if _ERROR.match(text):
        return "error_message"
    quoted = len(said := text.strip()) >= _QUOTED and _text_of(prompt).rstrip().endswith(said)
    return "prompt" if quoted else ""


def _strange(text: str, prompt: Prompt, finish_reason: str | None) -> str:
    whole = text.rstrip(_UNDECODABLE) if finish_reason == "length" else text  # a token limit may cut a character
    asked = _text_of(prompt)
    if _UNDECODABLE in whole and _UNDECODABLE not in asked:
        return "undecodable"
    letters = sum(map(str.isalpha, text))
    for name, pattern in _scripts().items():
        own = len(pattern.findall(text))
        if own >= _LETTERS and own >= _FOREIGN * letters and not pattern.search(asked):
            return name
    return ""


def _text_of(prompt: Prompt) -> str:
    """All text of a prompt."""
    pieces = [prompt.text or ""]
    for message in prompt.messages:
        content = message.get("content") or ""
        parts = [content] if isinstance(content, str) else [str(part.get("text", "")) for part in content]
        pieces += parts
    return "\n".join(pieces)


def is_garbage(samples: Samples, other: Samples) -> NDArray[np.bool_]:
    """Which replies of a side are garbage: a script is only where the other side answers nowhere in it."""
    used = other.garbage.counts()
    return samples.garbage.mask(
        *(word for word in samples.garbage.names if word and not (word in _scripts() and word in used))
    )


def garbage_rows(reference: SuiteSide, candidate: SuiteSide) -> Iterator[BehaviourRow]:
    """The row of garbage replies, where there are any; its alert names the items of which the other side has none."""
    left, right = reference.samples, candidate.samples
    masks = is_garbage(left, right), is_garbage(right, left)
    if not (masks[0].any() or masks[1].any()):
        return
    items = _items(left, masks[0]), _items(right, masks[1])
    parts = [*_told("reference", left, masks[0], set(items[1])), *_told("candidate", right, masks[1], set(items[0]))]
    alert = Reason("alert.garbage", {"parts": tuple(parts)}) if parts else None
    one, two = (len(found) / max(1, _answered(samples)) for found, samples in zip(items, (left, right), strict=True))
    yield BehaviourRow("garbage_answers", one, two, "share", None, alert)


def _items(samples: Samples, mask: NDArray[np.bool_]) -> list[str]:
    return [samples.items.name[item] for item in samples.item[mask].tolist()]


def _answered(samples: Samples) -> int:
    return int((samples.text != NO_TEXT).sum())


def _told(side: str, samples: Samples, mask: NDArray[np.bool_], others: set[str]) -> Iterator[Reason]:
    words = zip(_items(samples, mask), samples.garbage.rows(np.flatnonzero(mask)), strict=True)
    alone = [Reason("garbage.item", {"item": item, "kind": kind}) for item, kind in words if item not in others]
    if alone:
        yield Reason(
            "garbage.side", {"side": side, "n": len(alone), "all": _answered(samples), "items": tuple(alone[:_SHOWN])}
        )


def canned_rows(
    suite: str, sides: tuple[Side, Side], rows: tuple[Ints, Ints], aligned: Aligned
) -> Iterator[BehaviourRow]:
    """The row of sentences that a side says to questions which it loses by them, and the other side hardly ever says.

    `rows` are those of both sides' samples (reference first) that have replies to the same (item, repeat).
    """
    told: list[Reason] = []
    shares = [0.0, 0.0]
    samples = [side.suites[suite].samples for side in sides]
    for number, name in enumerate(("reference", "candidate")):
        own, other = samples[number].rows(rows[number]), samples[1 - number].rows(rows[1 - number])
        item = aligned.codes[number][own.item]
        for said in _lost_by(own, other, aligned.layout.cluster[item]):
            first = int(np.flatnonzero(said)[0])
            reply = sides[number].reply(suite, int(rows[number][first]))
            line = "" if reply is None else " ".join((reply.content or reply.reasoning).split())
            if len(line.split()) + len(_UNSPACED.findall(line)) // 2 >= _WORDS:
                shares[number] += float(said.mean())
                size = {"n": len(set(item[said].tolist())), "all": len(set(item.tolist()))}
                line = line if len(line) <= _LINE else line[: _LINE - 1] + "…"
                about: dict[str, Value] = {"side": name, **size, "item": aligned.layout.items[item[first]]}
                # It may be the text of a question, stuck in a cache.
                about |= {} if sides[number].suites[suite].facts.gated else {"text": line}
                told.append(Reason("canned.side", about))
    if told:
        alert = Reason("alert.canned", {"parts": tuple(told[:_SHOWN])})
        yield BehaviourRow("canned_answers", shares[0], shares[1], "share", None, alert)


def replayed_rows(suite: str, sides: tuple[Side, Side], rows: tuple[Ints, Ints]) -> Iterator[BehaviourRow]:
    """The row of replies that both sides have with one id, where there are several: a cache gave one side the other's.

    `rows` are as in `canned_rows`; only replies that are alike are looked at.
    """
    texts = [side.suites[suite].samples.text[own] for side, own in zip(sides, rows, strict=True)]
    alike = np.flatnonzero(texts[0] == texts[1])
    looked = alike[:: 1 + alike.size // _LOOKED]
    found = [[side.reply(suite, int(row)) for row in own[looked]] for side, own in zip(sides, rows, strict=True)]
    ids = {one.reply_id for one, two in zip(*found, strict=True) if one and two and one.reply_id == two.reply_id}
    n = sum(len(one) >= _LONG_ID for one in ids)
    if n >= _QUESTIONS:
        alert = Reason("alert.replayed", {"n": n, "all": int(looked.size)})
        yield BehaviourRow("replayed_answers", n / looked.size, n / looked.size, "share", None, alert)


def _lost_by(own: Samples, other: Samples, question: Ints) -> Iterator[NDArray[np.bool_]]:
    """Where a side says a text that lost several questions, is seldom right, and is seldom said by the other side."""
    lost = own.value < other.value
    by = set(zip(own.text[lost].tolist(), question[lost].tolist(), strict=True))
    for text, losses in Counter(text for text, _question in by).most_common():
        if losses < _QUESTIONS:
            return
        said = own.text == text
        here, there = (len(set(question[side.text == text].tolist())) for side in (own, other))
        seldom = 4 * there <= here and binomial_upper(here, here + there, 0.5) <= _ALPHA
        if seldom and 2 * np.count_nonzero(own.value[said] > 0) <= np.count_nonzero(said & lost):
            yield said
