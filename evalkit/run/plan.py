"""What is to be asked: suites times items times repeats, as requests whose keys decide what may be reused."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from evalkit.compare.columns import SuiteSide
from evalkit.config import EndpointConfig, JudgeConfig, Sampling, SuiteChoice, public_dump
from evalkit.config.redact import redacted
from evalkit.config.suite import Suite
from evalkit.errors import ConfigError, DataError, SuiteError, did_you_mean
from evalkit.files import digest
from evalkit.model import Item, Reason, Request
from evalkit.parts import Part, Size, items_of
from evalkit.run import journal, manifest
from evalkit.run.allot import allotted, bank_digest, bank_of
from evalkit.run.manifest import Rechecked, Session, SuiteRecord
from evalkit.scoring.answers import judge
from evalkit.tasks.items import LoadedSuite, LoadOptions, by_logprobs, load_suite
from evalkit.tasks.suites import all_suites, find_pack, find_suite

# Raised when requests are built differently for the same inputs, so that old answers are not taken for new ones.
PROTOCOL_VERSION = 1
SEED_SPACE = 1 << 31


@dataclass(frozen=True, slots=True)
class PlannedSuite:
    """A suite as one side runs it: `parameters` are the request body's fields but for messages and seed.

    Every item is asked `repeats` times, but for those that `by_item` names.
    """

    loaded: LoadedSuite
    repeats: int
    parameters: Mapping[str, Any]
    margin_pt: float
    label: str
    base_seed: int
    by_item: Mapping[str, int] = field(default_factory=dict)

    def asks(self, item: Item) -> int:
        """How many requests an item is."""
        return len(item.prompts) * self.by_item.get(item.id, self.repeats)

    @property
    def name(self) -> str:
        """The suite's name."""
        return self.loaded.suite.name

    @property
    def planned(self) -> int:
        """How many requests there are."""
        return sum(map(self.asks, self.loaded.items))

    @property
    def size(self) -> Size:
        """The items, and how often each is asked, as a part of the plan needs them."""
        items = self.loaded.items
        repeats = np.array([self.by_item.get(item.id, self.repeats) for item in items], dtype=np.int64)
        return items_of([(item.id, item.stratum, item.cluster) for item in items]), repeats


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything one endpoint is to be asked. `served` identifies what answers: model, build, launch settings.

    `notes` say what was asked for and is not in the plan, and why; `overall_margin_pt` is the tolerance that the file
    or its pack names for the mean over suites; `bank` is the digest of the bank that allotted repeats.
    """

    suites: tuple[PlannedSuite, ...]
    served: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    overall_margin_pt: float | None = None
    bank: str = ""
    _bases: dict[str, str] = field(default_factory=dict, repr=False, compare=False)
    _keys: list[str] = field(default_factory=list, repr=False, compare=False, init=False)

    @property
    def loaded(self) -> Iterator[LoadedSuite]:
        """The suites as they were loaded."""
        return (suite.loaded for suite in self.suites)

    def base(self, suite: PlannedSuite) -> str:
        """The digest of all that decides an answer beside prompt, seed and repeat."""
        if suite.name not in self._bases:
            self._bases[suite.name] = digest([PROTOCOL_VERSION, dict(self.served), dict(suite.parameters)])
        return self._bases[suite.name]

    def request(self, suite: PlannedSuite, item: Item, repeat: int) -> Request:
        """The request for one (item, repeat); with items in parts, `repeat` counts through the parts of each repeat."""
        prompt = item.prompts[repeat % len(item.prompts)]
        seed = seed_of(suite.base_seed, suite.name, item.id, repeat // len(item.prompts))
        return Request(
            key=key_of(self.base(suite), prompt.digest, seed, repeat),
            suite=suite.name,
            item=item.id,
            repeat=repeat,
            prompt=prompt,
            parameters=suite.parameters,
            seed=seed,
            continuation=item.doc["continuations"][repeat % len(item.parts)] if item.parts else "",
        )

    def samples(self) -> Iterator[tuple[PlannedSuite, Item, int]]:
        """Every (suite, item, repeat) of the plan, in file order; one entry a request."""
        for suite in self.suites:
            for item in suite.loaded.items:
                for repeat in range(suite.asks(item)):
                    yield suite, item, repeat

    def keyed(self) -> Iterator[Keyed]:
        """Every (key, suite, item, repeat) of the plan, in file order; the keys are computed once a plan."""
        if not self._keys:
            self._keys.extend(self._key(*sample) for sample in self.samples())
        for key, sample in zip(self._keys, self.samples(), strict=True):
            yield key, *sample

    def _key(self, suite: PlannedSuite, item: Item, repeat: int) -> str:
        seed = seed_of(suite.base_seed, suite.name, item.id, repeat // len(item.prompts))
        return key_of(self.base(suite), item.prompts[repeat % len(item.prompts)].digest, seed, repeat)

    @property
    def digest(self) -> str:
        """Names the plan: two plans with the same digest ask the same requests and are scored by the same rules."""
        loaded = attrgetter("prompt_digest", "data_digest", "scorer_id")
        said = [
            [s.name, s.repeats, *([dict(s.by_item)] if s.by_item else []), self.base(s), s.base_seed, *loaded(s.loaded)]
            for s in self.suites
        ]
        return digest(said)


def seed_of(base: int, suite: str, item: str, repeat: int) -> int:
    """The seed of one (item, repeat), the same on every endpoint and whatever else is asked; in [0, 2**31)."""
    hashed = hashlib.sha256(f"{suite}|{item}|{repeat}".encode()).digest()
    return (base + int.from_bytes(hashed[:4], "big")) % SEED_SPACE


def key_of(base: str, prompt_digest: str, seed: int | None, repeat: int) -> str:
    """32 hexadecimal digits that name the answer to one request."""
    return hashlib.sha256(f"{base}|{prompt_digest}|{seed}|{repeat}".encode()).hexdigest()[:32]


Keyed: TypeAlias = tuple[str, PlannedSuite, Item, int]
Missing: TypeAlias = list[tuple[PlannedSuite, Item, int]]  # what is to be asked, in this order: suite, item, repeat


def order(due: Iterable[Keyed], answered: Mapping[str, Any], expected: Mapping[tuple[str, str], float]) -> Missing:
    """The samples of those due that have no answer yet, those expected to take longest first.

    `expected` gives completion tokens by (suite, item), measured on the other side or on an earlier run; without it
    a suite's token limit stands in. Samples of a suite with `order: shared_prefix` (or `as_stored`) stay together, in
    file order, so that servers can reuse what the prompts share (or pictures are read from disk in one pass).
    """
    missing: list[tuple[float, int, PlannedSuite, Item, int]] = []
    for index, (key, suite, item, repeat) in enumerate(due):
        if key in answered:
            continue
        limit = float(suite.parameters.get("max_tokens") or 0)
        together = suite.loaded.suite.order in {"shared_prefix", "as_stored"}
        length = limit if together else expected.get((suite.name, item.id), limit)
        missing.append((-length, index, suite, item, repeat))
    missing.sort(key=lambda entry: (entry[0], entry[1]))
    return [(suite, item, repeat) for _length, _index, suite, item, repeat in missing]


JUDGE_TOKENS = 4096


def identity_of(config: JudgeConfig) -> judge.JudgeIdentity:
    """What decides this judge's grades."""
    parameters = {"max_tokens": JUDGE_TOKENS, **config.sampling.parameters()}
    return judge.JudgeIdentity(config.model, {**parameters, "base_seed": config.sampling.seed})


Loaded = dict[str, LoadedSuite]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A suite with what this side says of it."""

    suite: Suite
    choice: SuiteChoice


def chosen_suites(config: EndpointConfig) -> list[Chosen]:
    """The suites of a side, the pack's first, in their order.

    Raises `ConfigError`: where there are none; `SuiteError`: where a suite or pack does not exist.
    """
    choices: dict[str, SuiteChoice] = {}
    if config.pack is not None:
        with _said_at(config, "pack"):
            pack = find_pack(config.pack, config.suite_folders)
        choices = {entry.name: entry for entry in pack.suites}
    for choice in config.suites:
        known = choices.get(choice.name)
        choices[choice.name] = choice if known is None else _changed(known, choice)
    if not choices:
        raise ConfigError(
            f"{config.where('suites') or config.name}: name at least one suite under `suites:`, or a `pack:`"
        )
    return [_once_if_greedy(config, Chosen(_find(config, choice.name), choice)) for choice in choices.values()]


def _once_if_greedy(config: EndpointConfig, chosen: Chosen) -> Chosen:
    """Without the repeats of a pack where answers repeat themselves; those that the file itself says stand."""
    said = any(one.name == chosen.suite.name and one.repeats is not None for one in config.suites)
    if said or sampling_of(config, chosen).temperature > 0:
        return chosen
    return replace(chosen, choice=chosen.choice.model_copy(update={"repeats": None}))


def overall_margin_pt(config: EndpointConfig) -> float | None:
    """The tolerance of the mean over suites (points): the file's, else its pack's."""
    overall = config.overall
    if overall is None and config.pack is not None:
        overall = find_pack(config.pack, config.suite_folders).overall
    return None if overall is None else overall.margin_pt


def _find(config: EndpointConfig, name: str) -> Suite:
    with _said_at(config, key_of_suite(config, name)):
        return find_suite(name, config.suite_folders)


def key_of_suite(config: EndpointConfig, suite: str) -> str:
    """The key under which the configuration names a suite: an entry of `suites`, else the pack."""
    numbered = (f"suites.{number}" for number, choice in enumerate(config.suites) if choice.name == suite)
    return next(numbered, "pack")


@contextmanager
def _said_at(config: EndpointConfig, key: str) -> Iterator[None]:
    """Puts file, line and key before the body's `SuiteError` or `DataError` of what the configuration names."""
    try:
        yield
    except (SuiteError, DataError) as error:
        # What the message itself says of a key, such as `data: /srv/data does not exist`, is nearer to the mistake.
        named = next((name for name in ("suite_folders", "data") if str(error).startswith(f"{name}: ")), None)
        inside = str(error).partition(":")[0]  # a key of the entry, such as `settings.release`
        place = config.where(named or (f"{key}.{inside}" if inside.startswith("settings.") else key))
        told = str(error) if named else f"{key}{'.' if inside.startswith('settings.') else ': '}{error}"
        raise type(error)(f"{place}: {told}" if place else str(error)) from error


def _changed(known: SuiteChoice, choice: SuiteChoice) -> SuiteChoice:
    """A pack's entry as the endpoint's file changes it: key by key, in `sampling` too.

    A profile in the file stands in for all that the pack says of sampling.
    """
    said = {key: getattr(choice, key) for key in choice.model_fields_set}
    own = choice.sampling
    if "sampling" in said and own.profile is None:
        changes = {key: getattr(own, key) for key in own.model_fields_set}
        said["sampling"] = known.sampling.model_copy(update=changes)
    return known.model_copy(update=said)


def sampling_of(config: EndpointConfig, chosen: Chosen) -> Sampling:
    """How a suite's answers are drawn: the endpoint's sampling, changed by its pack's entry and by `suites:`."""
    return config.sampling.for_suite(chosen.suite.name, chosen.choice.sampling)


def samplings(config: EndpointConfig) -> dict[str, Sampling]:
    """`sampling_of` by suite."""
    return {chosen.suite.name: sampling_of(config, chosen) for chosen in chosen_suites(config)}


def served(config: EndpointConfig) -> dict[str, Any]:
    """What identifies the model that answers: two sides or nights with equal values may share answers."""
    launch = None
    if config.launch is not None:
        ignored = {"port", "ready_seconds", "stop_seconds", "log", "sequential", "health_path", "slots", "threads"}
        ignored |= {"config", "cwd", "program"}
        launch = config.launch.model_dump(mode="json", exclude=ignored)
        launch["env"] = digest(launch.get("env") or {})
        # A key on the command line is none of the model's, and the identity is stored.
        launch = redacted(launch, config.known_secrets())
    identity = {"model": config.model, "build": config.build, "launch": launch, "client_body": "chat"}
    if config.flagscale is not None:
        # What decides the answers, not where the file lies or on which port it serves.
        arguments = {key: value for key, value in config.flagscale.engine_args.items() if key not in {"host", "port"}}
        identity["flagscale"] = digest([config.flagscale.engine, arguments, dict(config.flagscale.env)])
    return identity


def make_plan(config: EndpointConfig, known: Loaded | None = None) -> Plan:
    """Loads the side's suites and plans them; `known` shares loaded suites between sides that ask the same.

    Raises `UsageError`: where a suite, its data or its settings are wrong.
    """
    known = {} if known is None else known
    planned, notes, absent = [], [], dict[str, None]()
    choices = chosen_suites(config)
    _check_data(config, [chosen.suite for chosen in choices])
    for chosen in choices:
        if "judge" in chosen.suite.needs and config.judge is None:
            notes.append(f"{chosen.suite.label} is not run: it needs a judge; name one under `judge:`")
            continue
        settings = {**chosen.choice.settings, "allow_code_execution": config.allow_code_execution}
        options = LoadOptions(
            data=_data(config), limit=chosen.choice.limit, partial=chosen.choice.partial_data, settings=settings
        )
        same = digest([str(chosen.suite.file), options.limit, str(options.data), options.partial, settings])
        if same not in known:
            try:
                with _said_at(config, key_of_suite(config, chosen.suite.name)):
                    known[same] = load_suite(chosen.suite, options)
            except DataError as error:  # all that must be fetched is said at once
                absent[str(error)] = None
                continue
        planned.append(_planned(config, chosen, known[same]))
    if absent:
        raise DataError("\n".join(absent))
    if not planned:
        raise ConfigError(f"{config.where('suites') or config.name}: nothing is left to run: {'; '.join(notes)}")
    planned, serving = [*_by_item(planned, bank_of(config), notes)], served(config)
    return Plan(tuple(planned), serving, tuple(notes), overall_margin_pt(config), bank_digest(config, serving))


def _by_item(planned: list[PlannedSuite], bank: Mapping[str, SuiteSide], notes: list[str]) -> Iterator[PlannedSuite]:
    """The suites with the repeats of each item as the bank's spread allots them, and a note on what that saves."""
    drawn = {one.name: one.repeats for one in planned if one.name in bank and one.parameters.get("temperature") != 0}
    found = allotted(bank, drawn)
    for suite in planned:
        by_item = found.get(suite.name, {})
        changed = replace(suite, by_item={item.id: by_item.get(item.id, suite.repeats) for item in suite.loaded.items})
        if by_item:
            told = f"{changed.planned:,} answers by the spread of the bank's, not {suite.planned:,}"
            notes.append(f"{suite.label}: {told}")
        yield changed if by_item else suite


def _check_data(config: EndpointConfig, suites: Sequence[Suite]) -> None:
    """Refuses a key of a `data:` mapping that no suite or data set goes by; one of a suite that is not run may stand.

    Raises `ConfigError`: naming the key and what was probably meant.
    """
    if not isinstance(config.data, Mapping):
        return
    names = {name for suite in suites for name in (suite.name, *suite.source.names)}
    if names.issuperset(config.data):
        return
    every = all_suites(config.suite_folders).values()  # read only now: it takes a while
    names |= {name for suite in every for name in (suite.name, *suite.source.names)}
    for key in config.data:
        if key not in names:
            place = config.where(f"data.{key}") or config.name
            meant = did_you_mean(key, sorted(names), "; `evalkit suites` lists the suites")
            raise ConfigError(f"{place}: data: no suite or data set is called {key!r}{meant}")


def _data(config: EndpointConfig) -> str | dict[str, str] | None:
    if isinstance(config.data, Mapping):
        return {name: str(folder) for name, folder in config.data.items()}
    return None if config.data is None else str(config.data)


def _own_judge(config: EndpointConfig, judge: JudgeConfig) -> tuple[Reason, ...]:
    """A judge that grades itself is allowed, and said."""
    addresses = {url.rstrip("/") for url in config.urls}
    if judge.base_url.rstrip("/") not in addresses or judge.model != config.model:
        return ()
    return (Reason("note.judges_itself", {"name": config.name}),)


def _label(chosen: Chosen, loaded: LoadedSuite) -> str:
    """How tables call the suite; one that lacks categories says so in its name, lest it be taken for the whole."""
    label = chosen.choice.label or chosen.suite.label
    part = next((note.values for note in loaded.notes if note.code == "note.categories"), None)
    return label if part is None else f"{label} ({part['n']} of {part['all']} categories)"


def parameters_of(config: EndpointConfig, chosen: Chosen, stop: Sequence[str]) -> dict[str, Any]:
    """The request body's fields but for messages and seed; `stop` are the suite's own stop texts."""
    parameters: dict[str, Any] = dict(sampling_of(config, chosen).parameters())
    parameters.setdefault("max_tokens", chosen.suite.max_tokens)
    if stop and "stop" not in parameters:
        parameters["stop"] = list(stop)
    if by_logprobs(chosen.suite):
        parameters |= {"max_tokens": 1, "echo": True, "logprobs": 1, "temperature": 0.0, "top_p": 1.0}
    elif config.logprobs:
        parameters["logprobs"] = True
    return parameters


def margin_pt_of(chosen: Chosen) -> float:
    """The tolerance that a side names for a suite, in percentage points."""
    return float(chosen.suite.margin_pt if chosen.choice.margin_pt is None else chosen.choice.margin_pt)


def judge_id(config: JudgeConfig) -> str:
    """Names a judge as the rule by which replies are scored."""
    return f"judge {config.model} {identity_of(config).digest[:12]} x{config.repeats}"


def _planned(config: EndpointConfig, chosen: Chosen, loaded: LoadedSuite) -> PlannedSuite:
    sampling = sampling_of(config, chosen)
    repeats = chosen.choice.repeats
    if repeats is None:
        # A greedy answer repeated is mostly the same answer: several are asked only where somebody says so.
        repeats = chosen.suite.repeats if sampling.temperature > 0 and not by_logprobs(chosen.suite) else 1
    if config.judge is not None and "judge" in chosen.suite.needs:
        loaded = replace(
            loaded, scorer_id=judge_id(config.judge), notes=(*loaded.notes, *_own_judge(config, config.judge))
        )
    return PlannedSuite(
        loaded=loaded,
        repeats=repeats,
        parameters=parameters_of(config, chosen, loaded.stop),
        margin_pt=margin_pt_of(chosen),
        label=_label(chosen, loaded),
        base_seed=sampling.seed,
    )


def new_session(config: EndpointConfig, plan: Plan) -> Session:
    """The session that begins now: what is to be asked, before the endpoint said anything of itself."""
    return Session(
        name=config.name,
        plan=plan.digest,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        model=config.model,
        served=dict(plan.served),
        versions=manifest.versions(),
        endpoint={},
        config=public_dump(config),
        suites=[suite_record(suite) for suite in plan.suites],
        overall_margin_pt=plan.overall_margin_pt,
        format=manifest.FORMAT,
        nonce=secrets.token_hex(8),
        bank=plan.bank,
    )


def suite_record(suite: PlannedSuite) -> SuiteRecord:
    """What a session says of one suite."""
    described = suite.loaded.suite
    return SuiteRecord(
        suite=suite.name,
        label=suite.label,
        margin_pt=suite.margin_pt,
        p_gold_margin_pt=described.p_gold_margin_pt,
        parameters=redacted(dict(suite.parameters)),
        digests={
            "data": suite.loaded.data_digest,
            "prompts": suite.loaded.prompt_digest,
            "scorer": suite.loaded.scorer_id,
            "protocol": str(PROTOCOL_VERSION),
        },
        repeats=suite.repeats,
        items=len(suite.loaded.items),
        items_in_data=suite.loaded.total_items,
        rows=described.rows,
        origin=described.origin,
        headline=described.headline,
        strata=list(described.strata),
        chance=described.chance,
        gated=described.gated,
        licence=described.licence,
        # Servers refuse pictures by their number and size: what is missing is then no chance sample, and published
        # tables of these suites rest on denominators that shrank.
        complete="judge" in described.needs or any(item.prompt.images for item in suite.loaded.items),
        right_or_wrong=described.right_or_wrong,
        notes=[*suite.loaded.notes, *_sampled_items(described)],
        seed=suite.base_seed,
    )


def _sampled_items(described: Suite) -> Iterator[Reason]:
    """A note on a suite that is a chosen share of its data set by its own description."""
    share = described.options.get("share")
    if isinstance(share, float) and share < 1:
        yield Reason("note.share", {"share": share})


@dataclass(frozen=True, slots=True)
class SideRun:
    """One side, planned: what to ask, where it is stored, what is there already; `damage` is what cannot be read.

    `extents` are those of the journals that were read; `rechecked` is what came of asking for stored answers again;
    `part` is what of the plan is asked now, all of it without.
    """

    config: EndpointConfig
    plan: Plan = field(repr=False)  # asyncio prints what a finished task gave: a plan is megabytes
    folder: Path
    answered: Mapping[str, journal.Place] = field(repr=False)
    damage: tuple[str, ...] = ()
    extents: Sequence[Any] = field(default=(), repr=False)
    rechecked: Rechecked | None = None
    part: Part | None = None

    def due(self) -> Iterator[Keyed]:
        """What of the plan is to be asked, in file order."""
        if self.part is None:
            return self.plan.keyed()
        part, due = self.part, {}
        for suite in self.plan.suites:
            counts = part.repeats(suite.name, *suite.size).tolist()
            due[suite.name] = {
                item.id: n * len(item.prompts) for item, n in zip(suite.loaded.items, counts, strict=True)
            }
        return (one for one in self.plan.keyed() if one[3] < due[one[1].name][one[2].id])

    @property
    def missing(self) -> int:
        """How many of the samples due have no answer."""
        return sum(key not in self.answered for key, *_sample in self.due())


def prepare(config: EndpointConfig, known: Loaded | None = None) -> SideRun:
    """Plans a side and reads what its run folder holds.

    Raises `UsageError`: for a mistake in the configuration, a suite or its data.
    """
    return refreshed(SideRun(config, make_plan(config, known), config.runs / config.name, {}, extents=()))


def refreshed(side: SideRun) -> SideRun:
    """The side with what its folder holds now: another process may have answered since it was planned.

    Raises `RunError`: where a journal cannot be read.
    """
    extents = journal.extents(side.folder)
    if extents == side.extents:
        return side
    found = journal.index(side.folder)
    damage = journal.damage_sentences(found.damage)
    return replace(side, answered=found.replies, damage=damage, extents=extents)
