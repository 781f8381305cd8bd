"""What happens before the expensive part of a comparison: the doctor's quick check, and the fidelity probe.

    both endpoints are up  ->  each is looked at  ->  the probe compares them  ->  the suites are asked

What is found there can end the comparison: then nothing is asked, and why is its verdict.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import orjson

from evalkit.compare.validity import DEFAULT_MARGIN, Policy
from evalkit.config import EndpointConfig
from evalkit.config.schema import differences
from evalkit.endpoint.settings import ClientSettings
from evalkit.errors import EndpointError, UsageError
from evalkit.examine import comparability, passport, probe, probe_report, recording, regimes, stored, sweep, texts
from evalkit.examine.checks import Finding, SuiteNeeds
from evalkit.examine.contract import Alone, Sheet, alone, found_before, held, sheet_of, signed
from evalkit.examine.doctor import Diagnosis, Report, between, examine_configured, quick_check, subject_of
from evalkit.files import check_place, write_whole
from evalkit.judging import StoppedError, now
from evalkit.model import Comparison, Message, Probe, Prompt, Reason, Verdict
from evalkit.options import CompareOptions, ContractOptions, PassportOptions, ProbeOptions, RunOptions, SweepOptions
from evalkit.publish import archive
from evalkit.run import Observer
from evalkit.run.execute import Examine, Watch
from evalkit.run.plan import PlannedSuite, SideRun, chosen_suites, make_plan
from evalkit.run.sides import load, load_all
from evalkit.tasks.items import by_logprobs
from evalkit.tasks.suites import find_pack
from evalkit.waits import finished

WORTH_SAMPLES: Final = 2_000
WORTH_TOKENS: Final = 200_000
"""The probe generates ten thousand tokens a side at most, and reads every prompt several times: by itself it runs where
the suites ask for much more. docs/validation.md has what it took on a GPU."""

LONGEST_PROMPT_CHARACTERS: Final = 6_000
DEFAULTS: Final = ProbeOptions()


class Admission:
    """All that is done with the endpoints of one comparison before its suites are asked; `probe` is what was found.

    `home` is the comparison's folder, where the probe keeps its tokens.
    """

    def __init__(self, sides: Sequence[SideRun], options: CompareOptions, home: Path, observer: Observer) -> None:
        self.probe: Probe | None = None
        self._sides, self._options, self._home, self._observer = sides, options, home, observer
        self._turns = any(side.config.launch is not None and side.config.launch.sequential for side in sides)
        self._plans = [side.plan.digest for side in sides]
        self._up: dict[str, ClientSettings] = {}
        self._reports: list[Report] = []
        packs = [find_pack(one.config.pack, one.config.suite_folders) for one in sides if one.config.pack]
        self._wanted = options.probe if options.probe is not None else any(one.probe for one in packs) or None
        self._within = self._look_at_the_probe()
        self._contract = any(one.contract for one in packs) and len(sides) == 2 and all(one.missing for one in sides)
        if self._contract and self._turns:
            observer.notice("the pack's contract is left out, as the servers take turns: run `evalkit contract`")
            self._contract = False

    def ahead(self) -> None:
        """The probe that is asked for by name where the suites do not have both servers up at once.

        Raises `StoppedError`: the candidate is shown to differ; `EndpointError`: an endpoint does not answer.
        """
        if not self._wanted or self._within or not any(side.missing for side in self._sides):
            return
        if len(self._sides) < 2:
            self._observer.notice("--probe needs both endpoints: one side is a stored run")
            return
        for trouble in finished(self._probed([probe.side_of(side.config) for side in self._sides])):
            self._observer.notice(trouble)

    def examiner(self) -> Callable[[Watch], Examine] | None:
        """What looks at each endpoint once it is up and before it is asked; None where nothing is to be done."""
        if not (self._options.doctor or self._within or self._contract):
            return None

        def of(watch: Watch) -> Examine:
            async def examine(side: SideRun, settings: ClientSettings) -> None:
                if self._options.doctor:
                    await self._examine(side, settings, watch)
                self._up[side.config.name] = settings
                if self._contract and len(self._up) == len(self._sides):
                    await self._hold_to_contract()
                if self._within and len(self._up) == len(self._sides):
                    watch.notices.extend(await self._probe_both())

            return examine

        return of

    def _look_at_the_probe(self) -> bool:
        """Whether the probe runs while the servers are up for the suites; takes what an earlier session found."""
        wanted = self._wanted
        if wanted is False or len(self._sides) < 2:
            return False
        self.probe = probe_report.kept(self._home, self._plans)
        if self._turns or not all(side.missing for side in self._sides):
            return False
        return bool(wanted) or (self.probe is None and _worth_it(self._sides[1]))

    async def _hold_to_contract(self) -> None:
        """The contract with the servers that are up; kept as a comparison of its own, in `contract` beside the probe.

        Raises `StoppedError`: the candidate breaks a promise that the reference keeps.
        """
        sheets = await asyncio.gather(*(sheet_of(side.config, self._up[side.config.name]) for side in self._sides))
        made = held(sheets[0], sheets[1], now())
        where = archive.store(made, self._home / "contract", self._observer.notice)
        if made.verdict is Verdict.DEGRADED:
            broken = [row for row in made.suites if row.verdict is made.verdict]
            told = Reason("stopped.contract", {"labels": tuple(row.label for row in broken)})
            raise StoppedError(made.verdict, (told, *(row.reasons[0] for row in broken)), self.probe)
        self._observer.step(f"contract: {made.verdict.value} after {sheets[1].seconds:.0f} s; stored in {where}")

    async def _probe_both(self) -> list[str]:
        """The probe with the servers that are up; where nobody asked for it, its own trouble is only said."""
        up = [probe.side_of(side.config, opened=nullcontext(self._up[side.config.name])) for side in self._sides]
        try:
            return await self._probed(up)
        except EndpointError as error:
            if self._wanted:
                raise
            return [f"the fidelity probe came to nothing: {error}"]

    async def _probed(self, sides: Sequence[probe.Side]) -> list[str]:
        """Runs the probe and keeps what it found; why it could not, where it could not.

        Its prompts are the built-in ones, short and answered at length: suites' own are asked by the suites, and many
        (five shots, an answer of one letter) cost much and say little here. A server that cannot score given tokens is
        no reason to stop, and neither is an open verdict.
        """
        plan = probe.Plan(
            probe.neutral_prompts(DEFAULTS.prompts),
            DEFAULTS.tokens,
            DEFAULTS.greedy,
            at_once=at_once([side.config for side in self._sides]),
            slow_methods=bool(self._wanted),
            sampler=sampler_of(self._sides[0].plan.suites),
        )
        self._observer.step(f"probe: asking both endpoints {len(plan.prompts)} built-in prompts first")
        started = time.perf_counter()
        try:
            findings = await probe.run_probe(sides[0], sides[1], plan, in_turn=self._turns)
        except probe.NotSupportedError as error:
            return [f"{error}; going on with the suites"]
        seconds = time.perf_counter() - started
        more = {"plans": self._plans, "seconds": round(seconds, 1)}
        report, _told = probe_report.keep(findings, self._home, more)
        self.probe = probe_report.as_told(report)
        if report.stops:
            raise StoppedError(report.verdict, (Reason("stopped.probe"), *report.reasons), self.probe)
        where = self._home / probe_report.NAME
        self._observer.step(f"probe: {self.probe.verdict.value} after {seconds:.0f} s; stored in {where}")
        return []

    async def _examine(self, side: SideRun, settings: ClientSettings, watch: Watch) -> None:
        """The doctor's word on a side, and on the pair as soon as both are known; warnings become notices."""
        needs = [needs_of_planned(suite) for suite in side.plan.suites]
        report = await quick_check(subject_of(side.config, settings, needs))
        _raise_or_note(side.config.name, report.findings, watch)
        for other in self._reports:
            _raise_or_note(f"{other.name} and {report.name}", between(other, report), watch)
        self._reports.append(report)


def _worth_it(side: SideRun) -> bool:
    """Whether what is left to ask of a side costs much more than the probe."""
    samples = sum(suite.planned for suite in side.plan.suites)
    tokens = sum(suite.planned * int(suite.parameters.get("max_tokens") or 1) for suite in side.plan.suites)
    left = side.missing / max(1, samples)
    return samples * left >= WORTH_SAMPLES or tokens * left >= WORTH_TOKENS


def _raise_or_note(name: str, findings: Sequence[Finding], watch: Watch) -> None:
    for finding in findings:
        if finding.severity == "problem":
            more = {key: text for key, text in (("why", finding.why), ("fix", finding.fix)) if text}
            told = {"name": name, "check": finding.check, "what": finding.what, **more}
            raise StoppedError(Verdict.INVALID, (Reason("stopped.doctor", told),))
        if finding.severity == "warning":
            why = f" ({finding.why})" if finding.why else ""
            watch.notices.append(f"{name}: {finding.check}: {finding.what}{why}")


def at_once(configs: Sequence[EndpointConfig]) -> int:
    """How many requests at a time both sides take."""
    return min(config.limits.in_flight for config in configs)


def diagnosed(files: Sequence[Path], options: RunOptions, *, data: bool, anyway: bool) -> Diagnosis:
    """All that `evalkit doctor` finds out about one endpoint, or two."""
    configs = load_all(files, options)
    if len(configs) == 2 and not anyway and all(config.suites or config.pack for config in configs):
        one, two = map(comparability.configured, configs)
        # Margins are left to `compare`, whose --margin stands over the files'.
        comparability.refuse_unlike(one, two, Policy(default_margin=DEFAULT_MARGIN))
    needs = [needs_of(config) if data else () for config in configs]
    reports = tuple(finished(examine_configured(*one)) for one in zip(configs, needs, strict=True))
    if len(configs) == 1:
        return Diagnosis(reports)
    across = (*between(*reports), *found_before(_home(configs) / "contract"))
    return Diagnosis(reports, across, differences(*configs))


def probed(
    reference: Path, candidate: Path, options: ProbeOptions, observer: Observer
) -> tuple[probe_report.FidelityReport, dict[str, Any], Path]:
    """All that `evalkit probe` does: what it found, what it stored, and where."""
    asked = RunOptions(overrides=options.overrides)
    if passport.is_passport(reference):
        return _probed_recorded(reference, load(candidate, asked), options, observer)
    configs = load_all((reference, candidate), asked)
    second = None if options.noise is None else load(Path(options.noise), asked, reference=True)
    prompts, source, sampler = prompts_for(configs[0], options, observer)
    greedy = min(options.greedy, len(prompts))
    plan = probe.Plan(prompts, options.tokens, greedy, options.seed, at_once(configs), sampler=sampler)
    home = Path(options.out or _home(configs))
    looks = probe_report.looks_at(home, probe.told_apart(configs[0].name, configs[1].name), plan)
    observer.step(f"asking both endpoints {len(prompts)} {source}, texts of up to {options.tokens} tokens")
    in_turn = any(config.launch is not None and config.launch.sequential for config in configs)
    findings = finished(probe.run_probe(probe.side_of(configs[0]), probe.side_of(configs[1]), plan, in_turn=in_turn))
    if second is not None:
        findings = finished(probe.with_second_serving(findings, probe.side_of(second)))
    return *probe_report.keep(findings, home, _enough(findings, options), looks), home


def _enough(findings: probe.Findings, options: ProbeOptions) -> dict[str, Any]:
    enough = probe_report.enough(findings) if options.enough else None
    return {"enough": None if enough is None else asdict(enough)} if options.enough else {}


def _probed_recorded(
    file: Path, config: EndpointConfig, options: ProbeOptions, observer: Observer
) -> tuple[probe_report.FidelityReport, dict[str, Any], Path]:
    """The probe of a candidate against a passport, which says what is asked."""
    for name in ("prompts", "tokens", "greedy", "neutral", "seed", "noise"):
        if getattr(options, name) != getattr(DEFAULTS, name):
            raise UsageError(f"--{name}: has no effect on a passport: what is asked was fixed when it was made")
    reference, sha256 = passport.read(file)
    home = Path(options.out or config.runs / f"{reference.about.name}--{config.name}")
    looks = probe_report.looks_at(home, probe.told_apart(reference.about.name, config.name), reference.plan)
    observer.step(f"asking {config.name} the {len(reference.plan.prompts)} prompts of {file}")
    plan = replace(reference.plan, at_once=config.limits.in_flight)
    findings = finished(recording.probed(reference, file, probe.side_of(config), plan))
    more = {"passport": sha256, **_enough(findings, options)}
    return *probe_report.keep(findings, home, more, looks), home


def swept(reference: Path, candidate: Path, options: SweepOptions, observer: Observer) -> sweep.Map:
    """All that `evalkit probe --sweep` does."""
    if unknown := [name for name in options.regimes if name not in regimes.names()]:
        raise UsageError(f"there is no regime {unknown[0]!r}: there are {', '.join(regimes.names())}")
    configs = load_all((reference, candidate), RunOptions(overrides=options.overrides))
    if any(config.launch is not None and config.launch.sequential for config in configs):
        raise UsageError("a sweep needs both endpoints at once, and launch.sequential starts one after the other")
    traces = stored.long_answers(configs[0].runs)
    observer.step(f"walking through the regimes of both endpoints, with {len(traces)} long answers of stored runs")
    sides = [probe.side_of(config) for config in configs]
    made = finished(sweep.swept(sides[0], sides[1], options.regimes, options.seed, traces))
    file = Path(options.out or _home(configs)) / "sweep.json"
    write_whole(file, orjson.dumps(made.document(), option=orjson.OPT_INDENT_2))
    observer.step(f"stored in {file}")
    return made


def passport_of(file: Path, options: PassportOptions, observer: Observer) -> Path:
    """All that `evalkit passport make` does; where the passport lies."""
    asked = RunOptions(overrides=options.overrides)
    config = load(file, asked, reference=True)
    second = None if options.beside is None else load(Path(options.beside), asked, reference=True)
    out = Path(options.out or f"{config.name}{passport.SUFFIX}")
    if not passport.is_passport(out):
        raise UsageError(f"--out: {out}: a passport's name ends in {passport.SUFFIX}")
    check_place(out, "--out")
    sampler = {}
    if config.suites or config.pack:
        try:
            sampler = sampler_of(make_plan(config).suites)
        except UsageError as error:
            observer.notice(f"how the suites draw is left out: {error}")
    prompts = probe.neutral_prompts(options.prompts)
    greedy = min(options.greedy, len(prompts))
    plan = probe.Plan(prompts, options.tokens, greedy, options.seed, config.limits.in_flight, sampler=sampler)
    observer.step(f"asking {config.name} {len(prompts)} built-in prompts, and what its API promises")
    passport.write(finished(recording.recorded(config, plan, second)), out)
    return out


def contracted(
    files: Sequence[Path], options: ContractOptions
) -> tuple[tuple[Sheet, ...], tuple[Alone, ...], Comparison | None, Path]:
    """All that `evalkit contract` finds out: of one endpoint what it kept, of two their comparison, and its folder."""
    asked = RunOptions(overrides=options.overrides)
    if passport.is_passport(files[0]):
        return _contracted_recorded(files, options, asked)
    configs = load_all(files, asked)
    sheets = tuple(finished(signed(configs, options.seed)))
    if len(sheets) == 1:
        return sheets, alone(sheets[0]), None, Path()
    return sheets, (), held(sheets[0], sheets[1], now()), Path(options.out or _home(configs) / "contract")


def _contracted_recorded(
    files: Sequence[Path], options: ContractOptions, asked: RunOptions
) -> tuple[tuple[Sheet, ...], tuple[Alone, ...], Comparison, Path]:
    """A candidate's contract against a passport's, with the marks of that one's seed."""
    if len(files) == 1:
        raise UsageError(f"{files[0]}: is a passport, which nothing is asked of: name the candidate's file after it")
    if options.seed:
        raise UsageError("--seed: has no effect on a passport: its marks were fixed when it was made")
    reference, _sha256 = passport.read(files[0])
    config = load(files[1], asked)
    (sheet,) = finished(signed([config], reference.plan.seed))
    home = Path(options.out or config.runs / f"{reference.about.name}--{config.name}" / "contract")
    return (reference.sheet, sheet), (), recording.contracted(reference, sheet, now()), home


def _home(configs: Sequence[EndpointConfig]) -> Path:
    return configs[0].runs / f"{configs[0].name}--{configs[1].name}"


def prompts_for(
    config: EndpointConfig, options: ProbeOptions, observer: Observer
) -> tuple[tuple[tuple[Message, ...], ...], str, dict[str, float]]:
    """Prompts of the configured suites, evenly spread, or the built-in ones; what they are; how the suites draw."""
    if not options.neutral and (config.suites or config.pack):
        try:
            plan = make_plan(config)
        except UsageError as error:
            observer.notice(f"the built-in prompts stand in for the suites': {error}")
        else:
            share = -(-options.prompts // len(plan.suites))
            chosen: list[tuple[Message, ...]] = []
            for suite in plan.suites:
                fitting = [item.prompt.messages for item in suite.loaded.items if fits(item.prompt)]
                chosen += probe.spread(fitting, share)
            if chosen:
                return probe.spread(chosen, options.prompts), "prompts of the suites", sampler_of(plan.suites)
    return probe.neutral_prompts(options.prompts), "built-in prompts (of 64)", {}


def sampler_of(suites: Sequence[PlannedSuite]) -> dict[str, float]:
    """How most of the samples are drawn that are not greedy; nothing where all are."""
    most = sorted(suites, key=lambda suite: suite.planned, reverse=True)
    return next((found for suite in most if (found := texts.sampler_of(suite.parameters))), {})


def fits(prompt: Prompt) -> bool:
    """Text only, and short enough that a few hundred of them are read in minutes."""
    if not prompt.messages or prompt.images:
        return False
    contents = [message["content"] for message in prompt.messages]
    return all(isinstance(text, str) for text in contents) and sum(map(len, contents)) <= LONGEST_PROMPT_CHARACTERS


def needs_of(config: EndpointConfig) -> tuple[SuiteNeeds, ...]:
    """What each configured suite needs; a suite whose data is not on this machine says so. Fetches nothing."""
    if not config.suites and config.pack is None:
        return ()
    needs = []
    for chosen in chosen_suites(config):
        alone = config.model_copy(update={"pack": None, "suites": (chosen.choice,)})
        try:
            with _offline():
                plan = make_plan(alone)
        except UsageError as error:
            needs.append(SuiteNeeds(chosen.suite.name, problem=str(error)))
        else:
            needs.append(needs_of_planned(plan.suites[0]))
    return tuple(needs)


@contextmanager
def _offline() -> Iterator[None]:
    """Keeps the hub's library from fetching, whose variable for that is read once, when it is imported."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def needs_of_planned(suite: PlannedSuite) -> SuiteNeeds:
    """What one planned suite asks of an endpoint."""
    prompts = [item.prompt for item in suite.loaded.items]
    return SuiteNeeds(
        name=suite.name,
        max_tokens=suite.parameters.get("max_tokens"),
        longest_prompt_characters=max(map(_characters, prompts), default=0),
        samples=suite.planned,
        items=len(prompts),
        by_logprobs=by_logprobs(suite.loaded.suite),
        logprobs=bool(suite.parameters.get("logprobs")),
        pictures=any(prompt.images for prompt in prompts),
        stops=bool(suite.parameters.get("stop")),
    )


def _characters(prompt: Prompt) -> int:
    """Characters of text; Chinese ones count for three, because each is about a token."""
    if prompt.text is not None:
        return len(prompt.text)
    total = 0
    for message in prompt.messages:
        content = message["content"]
        parts = [content] if isinstance(content, str) else [part.get("text", "") for part in content]
        total += sum(len(part) + 2 * sum(character >= "\u2e80" for character in part) for part in parts)
    return total
