"""What the calls of evalkit may be told, one frozen class a call.

The command line builds the same classes. Margins here are in percentage points (`margin_pt`), as people write them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from evalkit.errors import UsageError, did_you_mean

LEAST_POINTS: Final = 0.1
"""A smaller margin needs millions of answers; whoever writes one means a fraction."""


def check_points(points: float, where: str) -> float:
    """A tolerance in percentage points, as it is.

    Raises `UsageError`: where it does not lie between 0 and 100, or is so small that a fraction was meant; `where` says
    whose it is.
    """
    if not 0 < points < 100:
        raise UsageError(f"{where}: {points:g} is not between 0 and 100 percentage points")
    if points < LEAST_POINTS:
        raise UsageError(f"{where}: {points:g} percentage points; for {points:.0%} write {points * 100:g}")
    return points


def check_word(word: str, known: Sequence[str], where: str) -> None:
    """Refuses a word that is none of the known ones.

    Raises `UsageError`: with the nearest; `where` says what the word is for.
    """
    if word not in known:
        raise UsageError(f"{where}: {word!r} is not known{did_you_mean(word, known)}")


def check_range(given: float, least: float, most: float, where: str) -> None:
    """Refuses a number that lies outside what it may be, the bounds included.

    Raises `UsageError`: with the bounds; `where` says what the number is.
    """
    if not least <= given <= most:
        bounds = f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
        raise UsageError(f"{where}: must be {bounds}, not {given:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerances:
    """How strictly two means are judged.

    `margin_pt` is the tolerance in percentage points for all suites, `margins_pt` that of single ones; `alpha` is the
    level of each one-sided test.
    """

    margin_pt: float | None = None
    margins_pt: Mapping[str, float] = field(default_factory=dict)
    alpha: float = 0.05

    def __post_init__(self) -> None:
        for name, points in {"margin_pt": self.margin_pt, **self.margins_pt}.items():
            if points is not None:
                check_points(points, name)
        if not 0 < self.alpha < 0.5:
            raise UsageError(f"alpha: {self.alpha:g} is not between 0 and 0.5")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What is asked of an endpoint: `overrides` are KEY=VALUE of its file's keys, `limit` bounds each suite's items."""

    overrides: tuple[str, ...] = ()
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"limit: {self.limit} is fewer than one item")


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeOptions(Tolerances):
    """How strictly to judge two sides, and what the comparison holds.

    The `Tolerances` stand over those of `pack`, all over the sides' own. `overall_margin_pt` is the tolerance of the
    mean over several suites (None: `margin_pt`, the pack's, the sides' own, or 2 points). `on_inconclusive` says
    whether INCONCLUSIVE ends with exit code 4 ("fail") or 0. `flips` bounds the changed items of a suite that are held
    with both replies (None: all); `include_questions` holds those of gated data sets as well. `stored` takes
    stored answers as they are: no server is asked whether they are its own, and scores count whose journal is gone.
    `out` is the folder for the comparison; without it the folder is beside what is compared.

    `policy` names a policy of evalkit's own or is its file (docs/comparing.md): margins below those given here, suites
    that are advisory, and a rule of thumb that is shown beside the verdict.

    `known` is a list of differences that somebody accepts for a time (docs/history.md): they keep their verdict, and
    the exit code is that of all others.

    The last four are about files of other programs, each text as on the command line: `filters` and `metrics` are
    [TASK=]NAME for lm-eval's folders, `dates` says what several runs of a task there are, `headlines` are
    [SUITE=]micro or [SUITE=]macro for score tables.
    """

    pack: str | None = None
    overall_margin_pt: float | None = None
    known: str | Path | None = None
    policy: str | Path | None = None
    on_inconclusive: Literal["fail", "warn", "pass"] = "fail"
    flips: int | None = 40
    include_questions: bool = False
    stored: bool = False
    out: str | Path | None = None
    filters: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    dates: Literal["latest", "repeats"] | None = None
    headlines: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        Tolerances.__post_init__(self)
        if self.overall_margin_pt is not None:
            check_points(self.overall_margin_pt, "overall_margin_pt")
        if self.flips is not None:
            check_range(self.flips, 0, math.inf, "flips")
        check_word(self.on_inconclusive, ("fail", "warn", "pass"), "on_inconclusive")
        if self.dates is not None:
            check_word(self.dates, ("latest", "repeats"), "dates")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOptions(JudgeOptions):
    """A comparison that may ask endpoints: how it is judged, and what is asked before and after.

    `overrides` and `limit` are those of `RunOptions`. `doctor` looks at both endpoints first (two short requests each).
    `probe` compares log-probabilities first, and does not ask a DEGRADED candidate any further; None does so by itself
    where much is to be asked and it costs little. `rerun_on_fail` asks all at once, and the candidate again before a
    comparison fails. `rounds` bounds the rounds in which it is asked otherwise (1: all at once; None: as the pack has).
    `anyway` asks where what the two sides say makes the comparison INVALID whatever is answered. Before stored answers
    are reused a dozen are asked for again, and another server stops the comparison; `again` asks for all anew (the old
    runs are kept under another name).
    """

    overrides: tuple[str, ...] = ()
    limit: int | None = None
    doctor: bool = True
    probe: bool | None = None
    rerun_on_fail: bool = False
    anyway: bool = False
    again: bool = False
    rounds: int | None = None

    def __post_init__(self) -> None:
        JudgeOptions.__post_init__(self)
        if self.rounds is not None:
            check_range(self.rounds, 1, 20, "rounds")
        if self.rerun_on_fail and (self.rounds or 1) > 1:
            raise UsageError("rounds and rerun_on_fail: a night has two looks of its own; say one of them")
        if self.stored and self.again:
            raise UsageError("stored and again: take the stored answers or ask anew, not both")

    @property
    def run(self) -> RunOptions:
        """What is asked of each endpoint."""
        return RunOptions(overrides=self.overrides, limit=self.limit)


_PROBE: Final = (("prompts", 8, 4096), ("tokens", 8, 4096), ("greedy", 0, math.inf), ("seed", 0, math.inf))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeOptions:
    """What a fidelity probe asks: a text of at most `tokens` for each of `prompts`, a greedy one for `greedy` of them.

    `neutral` takes the built-in prompts, not those of the configured suites; `enough` also says how few of the texts
    would have given the same verdict. `noise` is the file of the reference served a second, faithful way: how far that
    lies from it counts as its noise. `out` is the folder for what was found (default: the comparison's).
    """

    overrides: tuple[str, ...] = ()
    prompts: int = 64
    tokens: int = 128
    greedy: int = 16
    neutral: bool = False
    seed: int = 0
    enough: bool = False
    noise: str | Path | None = None
    out: str | Path | None = None

    def __post_init__(self) -> None:
        for name, least, most in _PROBE:
            check_range(getattr(self, name), least, most, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOptions:
    """What a sweep asks: the `regimes` by name, all without any; `seed` draws its prompts and texts.

    `out` is the folder for the map (default: the comparison's).
    """

    overrides: tuple[str, ...] = ()
    regimes: tuple[str, ...] = ()
    seed: int = 0
    out: str | Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractOptions:
    """What a contract asks: `seed` chooses the marks; `out` is the folder for two endpoints' comparison."""

    overrides: tuple[str, ...] = ()
    seed: int = 0
    out: str | Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PassportOptions:
    """What a passport records: texts as `ProbeOptions` has them, of the built-in prompts, and the contract.

    `beside` is the file of the reference served a second, faithful way: how far that lies from it counts as its noise.
    `out` is where the passport is written (default: the reference's name with `.evalkit`, here).
    """

    overrides: tuple[str, ...] = ()
    prompts: int = 64
    tokens: int = 128
    greedy: int = 16
    seed: int = 0
    beside: str | Path | None = None
    out: str | Path | None = None

    def __post_init__(self) -> None:
        for name, least, most in (("prompts", 8, 64), *_PROBE[1:]):
            check_range(getattr(self, name), least, most, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class BisectOptions:
    """Which operators there are (a list, a comma list, @FILE with one a line) and how the candidate's file has them.

    `on` or `off`, one of the two, is KEY or KEY=TEMPLATE: a key of the candidate's file that lists the operators that
    are on, or off; {} in the template stands for the comma list. Each probe asks `prompts` texts of at most `tokens`;
    `at_once` servers run at a time, and the search ends after `most` culprits.
    """

    operators: str | Sequence[str]
    on: str | None = None
    off: str | None = None
    overrides: tuple[str, ...] = ()
    prompts: int = 32
    tokens: int = 64
    at_once: int = 1
    most: int = 16
    out: str | Path | None = None

    def __post_init__(self) -> None:
        for name, least, most in (("prompts", 8, 64), ("tokens", 8, 4096), ("at_once", 1, 64), ("most", 1, math.inf)):
            check_range(getattr(self, name), least, most, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions(Tolerances):
    """What a comparison is planned for.

    `overrides` and `limit` are those of `RunOptions`. `power` is the wanted chance that equal stacks pass, all suites
    and their mean; `items` says how many items a suite has where its description does not. Chances come from
    `comparisons` simulated ones, drawn with `seed`. Each endpoint runs on `gpus` GPUs and generates
    `tokens_per_second` in all, and `tokens_per_answer` on the mean (None: as a stored run tells, else the table of
    priors); the share `failures` of requests is never answered (None: as a stored run tells, else none).
    `overall_margin_pt` is the tolerance of the mean over suites, `rounds` the most rounds (None: as the pack has).
    `design` searches the repeats that reach the power for
    the fewest tokens, at most `most_repeats`, and with `subsets` also asks a part of large suites. `anyway` plans what
    would be INVALID whatever is answered.
    """

    overrides: tuple[str, ...] = ()
    limit: int | None = None
    power: float = 0.9
    items: Mapping[str, int] = field(default_factory=dict)
    comparisons: int = 1000
    seed: int = 0
    most_repeats: int = 64
    tokens_per_second: float = 1000.0
    tokens_per_answer: float | None = None
    gpus: float = 1.0
    failures: float | None = None
    rounds: int | None = None
    overall_margin_pt: float | None = None
    design: bool = False
    subsets: bool = False
    anyway: bool = False

    def __post_init__(self) -> None:
        Tolerances.__post_init__(self)
        if not 0 < self.power < 1:
            raise UsageError(f"power: must lie between 0 and 1, not {self.power:g}")
        if self.failures is not None and not 0 <= self.failures < 0.5:
            raise UsageError(f"failures: a share of requests below 0.5, not {self.failures:g}")
        if self.rounds is not None:
            check_range(self.rounds, 1, 20, "rounds")
        if self.subsets and not self.design:
            raise UsageError("subsets: has no effect without a design")
        if self.overall_margin_pt is not None:
            check_points(self.overall_margin_pt, "overall_margin_pt")
        check_range(self.most_repeats, 1, math.inf, "most_repeats")
        check_range(self.comparisons, 1, math.inf, "comparisons")
        for name in ("tokens_per_second", "tokens_per_answer", "gpus"):
            given = getattr(self, name)
            if given is not None and not 0 < given < math.inf:
                raise UsageError(f"{name}: must be above 0, not {given:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions(Tolerances):
    """How published tables are judged: tolerances by metric (None: 2 points).

    `items` says how many items a metric has where evalkit does not know.
    """

    items: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """How a comparison is rendered: `behaviour` adds the rows beside accuracy (terminal, markdown, latex).

    HTML leaves out questions, answers and replies of gated data sets unless `include_questions`, and where the
    endpoints are and whole paths unless `include_hosts`.
    """

    language: Literal["en", "zh"] = "en"
    behaviour: bool = False
    include_questions: bool = False
    include_hosts: bool = False

    def __post_init__(self) -> None:
        check_word(self.language, ("en", "zh"), "language")
