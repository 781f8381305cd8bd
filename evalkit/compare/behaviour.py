"""What stands beside accuracy: identical texts, length, cut-off, empty, unparsed, refused, looping answers, speed.

Rows are for information and never gate (`validity.py` does that); one that shows a change carries an alert.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evalkit.codec import first_difference
from evalkit.compare.columns import NO_TEXT, ReplyText, Samples, Side
from evalkit.compare.garbage import canned_rows, garbage_rows, replayed_rows
from evalkit.compare.options import option_rows
from evalkit.compare.pair import Aligned
from evalkit.compare.validity import NoiseFloor, Policy, RateChange, rate_change
from evalkit.model import BehaviourRow, Interval, Reason, Status, Value
from evalkit.stats.paired import fold, median
from evalkit.stats.tails import fisher_exact, poisson_lower, ratio_estimate, wilson
from evalkit.stats.variance import log_ratio

SHOWN_BEFORE = 300
SHOWN_AFTER = 1500
SHOWN_END = 600
GAP = "\n[…]\n"

_LOOP_UNIT = 1000  # the longest repeated unit, in characters
_LOOP_LENGTH = 200  # what a loop is at least, in characters
_LOOP_TIMES = 4
_ANCHOR = 32


def ends_in_loop(text: str) -> bool:
    """True where the end of a text repeats one unit (of up to 1,000 characters) four times and over 200 characters.

    The usual end of a reply whose decoder has lost its way; a ruler or a table seldom fills so much at the very end.
    """
    tail = text.rstrip()[-_LOOP_UNIT * (_LOOP_TIMES + 1) :]
    earlier = tail.rfind(tail[-_ANCHOR:], 0, len(tail) - 1)
    if len(tail) < _ANCHOR or earlier < 0:
        return False
    unit = len(tail) - _ANCHOR - earlier
    length = max(_LOOP_LENGTH, _LOOP_TIMES * unit)
    return length + unit <= len(tail) and tail[-length:] == tail[-length - unit : -unit]


def whole_text(reply: ReplyText) -> str:
    """Thinking and answer as one text, in the order in which they were written."""
    return f"{reply.reasoning}\n\n{reply.content}" if reply.reasoning else reply.content


def word_start(text: str, position: int) -> int:
    """Where the word begins that `position` lies in (or at the end of)."""
    while position > 0 and not text[position - 1].isspace():
        position -= 1
    return position


def bounded(one: str, other: str) -> tuple[str, str]:
    """Both texts, each cut to what shows the difference: its surroundings and the end, where the answer is.

    Cuts are marked by "[…]" and made at the same place of both, so that the shown texts still begin to differ at the
    same word. At most about 2,400 characters each.
    """
    shared = first_difference(one, other)
    position = min(len(one), len(other)) if shared is None else shared
    start = max(0, word_start(one, position) - SHOWN_BEFORE)
    if start < len(GAP):
        start = 0
    return _cut(one, start), _cut(other, start)


def _cut(text: str, start: int) -> str:
    head = GAP if start else ""
    stop = start + SHOWN_BEFORE + SHOWN_AFTER
    if len(text) <= stop + SHOWN_END + len(GAP):
        return head + text[start:]
    return f"{head}{text[start:stop]}{GAP}{text[-SHOWN_END:]}"


# Accuracy over some hundred items does not see a wrong chat template or RoPE base; the texts do. With the same weights
# and greedy decoding, other kernels and other floating-point formats left 94 to 100 % of 200 short answers (4 to 12
# tokens, 8 on average) alike, broken stacks 8 to 88 % (measured with SmolLM2-135M on llama.cpp, transformers and
# mistral.rs). Long answers agree less the longer they are, so what is held against that bound is the rate of splits:
# 94 % of 8-token answers is one split in 129 tokens written alike. The mean |difference of log-probability| over the
# shared beginning was 0.0002 to 0.008 nats for faithful stacks, 0.015 to 0.047 with 8 bits somewhere, 0.085 and more
# for broken ones.


FAITHFUL_TOKENS_PER_SPLIT: Final = 8 / -math.log(0.94)
FAITHFUL_NATS: Final = 0.05

_CHARACTERS_PER_TOKEN = 4.0  # where a server does not count tokens
_MOST_SPLITS = 300  # differing replies that are read to see where they split
_LONG_ALPHA = 1e-4  # of three cuts each
_MOST_LOGPROBS = 200  # replies whose log-probabilities are compared

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How many replies to the same (item, repeat) are the same text.

    `interval` is Wilson's at 95 %. For greedy runs with differing texts: `position` is the median number of characters
    before the first difference, `tokens_per_split` how many tokens are written alike per split, and
    `most_tokens_per_split` its upper 95 % limit (how good it may still be); None otherwise. `long` is the prompt length
    (tokens) from which replies part much more often, and how often from there on and below.
    """

    same: int
    pairs: int
    interval: Interval
    position: float | None = None
    tokens_per_split: float | None = None
    most_tokens_per_split: float | None = None
    long: tuple[int, float, float] | None = None

    @property
    def share(self) -> float:
        """Identical replies over all pairs."""
        return self.same / self.pairs


def text_agreement(suite: str, reference: Side, candidate: Side, aligned: Aligned) -> Agreement | None:
    """The agreement of the replies of a suite; None where no pair of replies is stored.

    A reply that is empty on one side alone is another matter than another text.
    """
    left, right = reference.suites[suite], candidate.suites[suite]
    greedy = left.facts.greedy and right.facts.greedy
    one, two = _pairs_with_text(aligned, left.samples.text, right.samples.text, once=greedy)
    empty = (side.samples.status.mask(Status.EMPTY, Status.TOOL_CALL) for side in (left, right))
    together = np.equal(*(mask[rows] for mask, rows in zip(empty, (one, two), strict=True)))
    one, two = one[together], two[together]
    if not one.size:
        return None
    same = left.samples.text[one] == right.samples.text[two]
    interval = wilson(int(same.sum()), one.size)
    bare = Agreement(int(same.sum()), int(one.size), interval)
    if not greedy or same.all():
        return bare
    lengths = _tokens(left.samples.completion_tokens, left.samples.characters)
    chosen = spread(np.flatnonzero(~same), _MOST_SPLITS)
    splits = list(_splits(suite, reference, candidate, one[chosen], two[chosen]))
    if not splits:
        return bare
    positions = np.asarray([shared for shared, _share, _row in splits], dtype=np.float64)
    before = np.asarray([share * lengths[row] for _shared, share, row in splits])
    differing = int((~same).sum())
    alike = float(np.nansum(lengths[one[same]])) + differing * float(np.nanmean(before))
    most = alike / poisson_lower(differing, 0.05)
    long = _long_prompts(~same, left.samples.prompt_tokens[one], lengths[one])
    return Agreement(bare.same, bare.pairs, interval, median(positions), alike / differing, most, long)


def _long_prompts(
    parted: NDArray[np.bool_], prompts: NDArray[np.float64], answers: NDArray[np.float64]
) -> tuple[int, float, float] | None:
    """The longest prompts, a half to an eighth, where replies to them part much more often than to others.

    Not where answers to them are longer, too: these have more places to part at.
    """
    known = ~np.isnan(prompts) & ~np.isnan(answers)
    for share in (0.5, 0.25, 0.125) if known.any() else ():
        cut = float(np.quantile(prompts[known], 1 - share, method="higher"))
        sides = known & (prompts >= cut), known & (prompts < cut)
        cells = int(np.count_nonzero(sides[0])), int(np.count_nonzero(sides[1]))
        hits = int(np.count_nonzero(sides[0] & parted)), int(np.count_nonzero(sides[1] & parted))
        if min(cells) == 0 or np.mean(answers[sides[0]]) > 1.5 * np.mean(answers[sides[1]]):
            continue
        rates = hits[0] / cells[0], hits[1] / cells[1]
        if rates[0] > 2 * rates[1] and fisher_exact(hits, cells) <= _LONG_ALPHA:
            return int(cut), rates[0], rates[1]
    return None


def logprob_distance(suite: str, reference: Side, candidate: Side, aligned: Aligned) -> BehaviourRow | None:
    """The row of the mean |difference| in log-probability (nats) of the tokens before the first different one.

    Over a sample of replies, which are the clusters of its 95 % interval (None for a single one); None where either
    server gave no log-probabilities.
    """
    left, right = reference.suites[suite].samples, candidate.suites[suite].samples
    one, two = _pairs_with_text(aligned, left.text, right.text, once=True)
    chosen = spread(np.arange(one.size), _MOST_LOGPROBS)
    sums: list[float] = []
    tokens: list[int] = []
    for row, other in zip(one[chosen].tolist(), two[chosen].tolist(), strict=True):
        replies = reference.reply(suite, row), candidate.reply(suite, other)
        if replies[0] is None or replies[1] is None or not (replies[0].logprobs and replies[1].logprobs):
            if not sums:
                return None
            continue
        gaps = list(_gaps(replies[0].logprobs, replies[1].logprobs))
        sums.append(math.fsum(gaps))
        tokens.append(len(gaps))
    total = sum(tokens)
    if not total:
        return None
    interval, clusters = None, np.asarray(tokens) > 0
    if np.count_nonzero(clusters) > 1:
        found = ratio_estimate(np.asarray(sums)[clusters], np.asarray(tokens)[clusters], 0.95).interval
        interval = replace(found, low=max(0.0, found.low))
    mean, alert = math.fsum(sums) / total, None
    if interval is not None and interval.low > FAITHFUL_NATS:
        size = {"tokens": total, "replies": len(sums)}
        alert = Reason("alert.logprobs", {"nats": mean, "most": FAITHFUL_NATS, **size})
    return BehaviourRow("logprob_distance", None, mean, "nats", interval, alert)


def _pairs_with_text(
    aligned: Aligned, left: NDArray[np.uint64], right: NDArray[np.uint64], *, once: bool
) -> tuple[Rows, Rows]:
    """Rows of both sides' samples for the cells where both have a stored reply.

    With `once` the first such repeat of every item only: greedy repeats are copies, no further evidence.
    """
    one, two = aligned.reference.row[aligned.both[0]], aligned.candidate.row[aligned.both[1]]
    there = (one >= 0) & (two >= 0)
    there[there] = (left[one[there]] != NO_TEXT) & (right[two[there]] != NO_TEXT)
    one, two = one[there], two[there]
    if once and one.size:
        item = aligned.reference.item[aligned.both[0]][there]
        first = np.r_[True, item[1:] != item[:-1]]
        one, two = one[first], two[first]
    return one, two


def _tokens(completion_tokens: NDArray[np.float64], characters: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isnan(completion_tokens), characters / _CHARACTERS_PER_TOKEN, completion_tokens)


def spread(rows: Rows, most: int) -> Rows:
    """At most so many of the rows, evenly spread: the same ones every time."""
    if rows.size <= most:
        return rows
    return np.asarray(rows[np.linspace(0, rows.size - 1, most).astype(np.int64)])


def _splits(suite: str, reference: Side, candidate: Side, one: Rows, two: Rows) -> Iterator[tuple[int, float, int]]:
    """(characters shared, their share of the reference's reply, reference row) of every differing pair."""
    for row, other in zip(one.tolist(), two.tolist(), strict=True):
        replies: tuple[ReplyText | None, ...] = (reference.reply(suite, row), candidate.reply(suite, other))
        if replies[0] is None or replies[1] is None:
            continue
        left, right = whole_text(replies[0]), whole_text(replies[1])
        shared = first_difference(left, right)
        if shared is not None:
            yield shared, shared / len(left) if left else 0.0, row


def _gaps(left: Sequence[tuple[str, float]], right: Sequence[tuple[str, float]]) -> Iterator[float]:
    for (token, logprob), (other, other_logprob) in zip(left, right, strict=False):
        if token != other:
            return
        if math.isfinite(logprob) and math.isfinite(other_logprob):
            yield abs(other_logprob - logprob)


_LEAST_CHANGE = 0.005  # a rate that moves by less than half a point is no news
_ROUNDING = 1e-9  # scores that vary by less do not vary
_LEAST_STRETCH = 0.05  # nor is a length that is shown to move by less than 5 %
_STATUS_ROWS = (
    ("empty_answers", Status.EMPTY),
    ("unreadable_answers", Status.NO_ANSWER),
    ("refusals", Status.REFUSED),
    ("tool_calls", Status.TOOL_CALL),
    ("reasoning_only_answers", Status.REASONING_ONLY),
    ("ungraded_answers", Status.GRADE_ERROR),
)


def behaviour_of(
    suite: str, reference: Side, candidate: Side, aligned: Aligned, policy: Policy
) -> tuple[tuple[BehaviourRow, ...], tuple[Reason, ...]]:
    """The rows of a suite that both sides ran, and alerts for beside its verdict: the stacks do not write the same."""
    left, right = reference.suites[suite].samples, candidate.suites[suite].samples
    alpha = policy.rules.alert_alpha
    missing = (("failed_requests", Status.FAILED), ("unasked_questions", Status.NOT_ASKED))  # of all that were planned
    masks = [(name, left.status.mask(one), right.status.mask(one)) for name, one in missing]
    unasked = _rates({name: rate_change(aligned, one, two) for name, one, two in masks}, alpha)
    if not (_answered(left).any() and _answered(right).any()):
        return tuple(unasked), ()  # a side that said nothing behaves in no way
    texts = _text_rows(text_agreement(suite, reference, candidate, aligned), policy.noise.get(suite))
    distance = logprob_distance(suite, reference, candidate, aligned)
    if distance is not None:
        texts.append(distance)
    options = option_rows(reference.suites[suite], candidate.suites[suite])
    lengths, rates = _length_rows(left, right, aligned, alpha), _rate_rows(left, right, aligned, alpha)
    texts += _seed_row(aligned)
    garbage = list(garbage_rows(reference.suites[suite], candidate.suites[suite]))
    pairs = _pairs_with_text(aligned, left.text, right.text, once=False)
    garbage += canned_rows(suite, (reference, candidate), pairs, aligned)
    garbage += replayed_rows(suite, (reference, candidate), pairs)
    rows = (*options, *texts, *garbage, *lengths, *rates, *unasked, *_speed_rows(left, right))
    moved = [row.alert for row in options if row.alert][:1]  # one says it
    return rows, (*moved, *(row.alert for row in texts if row.alert))


def _text_rows(agreement: Agreement | None, noise: NoiseFloor | None) -> list[BehaviourRow]:
    if agreement is None:
        return []
    own = noise.text_agreement if noise is not None else None
    alert = _agreement_alert(agreement, own)
    rows = [BehaviourRow("identical_texts", own, agreement.share, "share", agreement.interval, alert)]
    if agreement.position is not None:
        rows.append(BehaviourRow("first_difference", None, agreement.position, "characters"))
    return rows


def _agreement_alert(agreement: Agreement, own: float | None) -> Reason | None:
    """Where greedy replies split more often than those of faithful stacks, and than the reference's own."""
    if agreement.tokens_per_split is None or agreement.most_tokens_per_split is None:
        return None
    if agreement.most_tokens_per_split >= FAITHFUL_TOKENS_PER_SPLIT:
        return None
    if own is not None and agreement.interval.high >= own:
        return None
    splits = {"tokens": agreement.tokens_per_split, "usual": FAITHFUL_TOKENS_PER_SPLIT}
    values: dict[str, Value] = {"share": agreement.share, "pairs": agreement.pairs, **splits}
    if agreement.long is None:
        return Reason("alert.texts", values)
    from_tokens, long, short = agreement.long
    return Reason("alert.texts_long", {**values, "from_tokens": from_tokens, "long": long, "short": short})


def _seed_row(aligned: Aligned) -> Iterator[BehaviourRow]:
    """How alike both sides' answers to one (item, repeat), drawn with one seed, come out beyond what the item says.

    The correlation of scores within items, with its 95 % t interval over items; nothing where repeats never vary.
    """
    one, two = aligned.shared
    known = ~np.isnan(one.value) & ~np.isnan(two.value)
    item, columns = one.item[known], (one.value[known], two.value[known])
    counts = np.bincount(item)
    x, y = (column - (np.bincount(item, weights=column) / np.maximum(counts, 1))[item] for column in columns)
    cross, own, other = (
        np.asarray(np.bincount(item, weights=product)[counts > 1], dtype=np.float64)
        for product in (x * y, x * x, y * y)
    )
    total = float(np.sqrt(own.sum() * other.sum()))
    if total <= _ROUNDING or cross.size < 2:
        return
    # The product of two spreads rises by half the sum of what each rises by.
    scale = (own * (total / own.sum()) + other * (total / other.sum())) / 2
    found = ratio_estimate(cross, scale, 0.95)
    interval = replace(found.interval, low=max(-1.0, found.interval.low), high=min(1.0, found.interval.high))
    yield BehaviourRow("seed_correlation", None, found.point, "correlation", interval)


def _length_rows(left: Samples, right: Samples, aligned: Aligned, alpha: float) -> list[BehaviourRow]:
    unit = "tokens"
    columns = left.completion_tokens, right.completion_tokens
    if np.isnan(columns[0]).all() or np.isnan(columns[1]).all():
        unit, columns = "characters", (left.characters, right.characters)
    items = len(aligned.layout.items)
    sides = zip(aligned.shared, columns, strict=True)
    one, two = (fold(cells.item, cells.column(values), items)[1] for cells, values in sides)
    ratio = log_ratio(one, two)
    if ratio is None:
        return []
    alert, sure = None, log_ratio(one, two, 1 - alpha)
    if sure is not None and (sure.interval.low > 1 + _LEAST_STRETCH or sure.interval.high < 1 - _LEAST_STRETCH):
        low, high = sorted(abs(end - 1) for end in (ratio.interval.low, ratio.interval.high))
        interval = Interval(low, high, ratio.interval.level)
        change: dict[str, Value] = {"change": abs(ratio.ratio - 1), "interval": interval, "n": ratio.n}
        alert = Reason("alert.longer" if ratio.ratio > 1 else "alert.shorter", change)
    both = ~np.isnan(one) & ~np.isnan(two)
    return [
        BehaviourRow("answer_length", float(one[both].mean()), float(two[both].mean()), unit),
        BehaviourRow("answer_length_ratio", None, ratio.ratio, "times", ratio.interval, alert),
    ]


def _rate_rows(left: Samples, right: Samples, aligned: Aligned, alpha: float) -> list[BehaviourRow]:
    masks = [("cut_answers", left.truncated, right.truncated)]
    masks += [(name, left.status.mask(status), right.status.mask(status)) for name, status in _STATUS_ROWS]
    masks.append(("looping_answers", left.loops, right.loops))
    answered = _answered(left), _answered(right)
    return _rates({name: rate_change(aligned, one, two, answered) for name, one, two in masks}, alpha)


def _answered(samples: Samples) -> NDArray[np.bool_]:
    """The samples that have a reply: only of these can be said how the model answers."""
    return ~samples.status.mask(Status.FAILED, Status.NOT_ASKED)


def _rates(changes: Mapping[str, RateChange], alpha: float) -> list[BehaviourRow]:
    """A row for each thing that happened at all."""
    rows = []
    for name, change in changes.items():
        (one, two), alert = change.rates, None
        if abs(change.gap) >= _LEAST_CHANGE and change.p <= alpha:
            values: dict[str, Value] = {"name": name, "reference": one, "candidate": two, "n": change.cells[1]}
            alert = Reason("alert.rose" if change.gap > 0 else "alert.fell", values)
        if any(change.hits):
            rows.append(BehaviourRow(name, one, two, "share", change.ci95, alert))
    return rows


def _speed_rows(left: Samples, right: Samples) -> list[BehaviourRow]:
    speeds = [_tokens_per_second(samples) for samples in (left, right)]
    known = [samples.seconds[~np.isnan(samples.seconds)] for samples in (left, right)]
    latencies = [median(seconds) if seconds.size else None for seconds in known]
    rows = [
        BehaviourRow("speed", speeds[0], speeds[1], "tokens_per_second"),
        BehaviourRow("latency", latencies[0], latencies[1], "seconds"),
    ]
    return [row for row in rows if row.reference is not None or row.candidate is not None]


def _tokens_per_second(samples: Samples) -> float | None:
    known = (samples.completion_tokens > 0) & (samples.seconds > 0)
    if not known.any():
        return None
    return float(samples.completion_tokens[known].sum() / samples.seconds[known].sum())
