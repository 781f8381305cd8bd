"""What is to be asked: suites times items times repeats, as requests whose keys decide what may be reused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from evalkit.digest import digest
from evalkit.model import Item, Request
from evalkit.tasks.load import LoadedSuite

# Raised when requests are built differently for the same inputs, so that old answers are not taken for new ones.
PROTOCOL_VERSION = 1
SEED_SPACE = 1 << 31


@dataclass(frozen=True, slots=True)
class PlannedSuite:
    """A suite as one side runs it: `parameters` are the request body's fields but for messages and seed."""

    loaded: LoadedSuite
    repeats: int
    parameters: Mapping[str, Any]
    margin_pt: float
    label: str
    base_seed: int

    @property
    def name(self) -> str:
        """The suite's name."""
        return self.loaded.suite.name

    @property
    def parts(self) -> int:
        """How many requests one sample takes: 1, or the number of options where each is asked by itself."""
        return len(self.loaded.items[0].prompts) if self.loaded.items else 1

    @property
    def planned(self) -> int:
        """How many requests there are."""
        return sum(len(item.prompts) for item in self.loaded.items) * self.repeats


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything one endpoint is to be asked. `served` identifies what answers: model, build, launch settings.

    `notes` say what was asked for and is not in the plan, and why.
    """

    suites: tuple[PlannedSuite, ...]
    served: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    _bases: dict[str, str] = field(default_factory=dict, repr=False, compare=False)
    _keys: list[str] = field(default_factory=list, repr=False, compare=False, init=False)

    def base(self, suite: PlannedSuite) -> str:
        """The digest of all that decides an answer beside prompt, seed and repeat."""
        if suite.name not in self._bases:
            self._bases[suite.name] = digest([PROTOCOL_VERSION, dict(self.served), dict(suite.parameters)])
        return self._bases[suite.name]

    def request(self, suite: PlannedSuite, item: Item, repeat: int, expected_tokens: float | None = None) -> Request:
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
            expected_tokens=expected_tokens,
        )

    def samples(self) -> Iterator[tuple[PlannedSuite, Item, int]]:
        """Every (suite, item, repeat) of the plan, in file order; one entry a request."""
        for suite in self.suites:
            for item in suite.loaded.items:
                for repeat in range(suite.repeats * len(item.prompts)):
                    yield suite, item, repeat

    def keyed(self) -> Iterator[tuple[str, PlannedSuite, Item, int]]:
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
        return digest([[s.name, s.repeats, self.base(s), s.base_seed, *_identity(s.loaded)] for s in self.suites])


def _identity(loaded: LoadedSuite) -> tuple[str, str, str]:
    return loaded.prompt_digest, loaded.data_digest, loaded.scorer_id


def seed_of(base: int, suite: str, item: str, repeat: int) -> int:
    """The seed of one (item, repeat), the same on every endpoint and whatever else is asked; in [0, 2**31)."""
    hashed = hashlib.sha256(f"{suite}|{item}|{repeat}".encode()).digest()
    return (base + int.from_bytes(hashed[:4], "big")) % SEED_SPACE


def key_of(base: str, prompt_digest: str, seed: int | None, repeat: int) -> str:
    """32 hexadecimal digits that name the answer to one request."""
    return hashlib.sha256(f"{base}|{prompt_digest}|{seed}|{repeat}".encode()).hexdigest()[:32]


Missing: TypeAlias = list[tuple[PlannedSuite, Item, int]]
"""What is to be asked, in this order: suite, item, repeat."""


def order(plan: Plan, answered: Mapping[str, Any], expected: Mapping[tuple[str, str], float]) -> Missing:
    """The samples that have no answer yet, those expected to take longest first.

    `expected` gives completion tokens by (suite, item), measured on the other side or on an earlier run; without it
    a suite's token limit stands in. Samples of a suite with `order: shared_prefix` (or `as_stored`) stay together, in
    file order, so that servers can reuse what the prompts share (or pictures are read from disk in one pass).
    """
    missing: list[tuple[float, int, PlannedSuite, Item, int]] = []
    for index, (key, suite, item, repeat) in enumerate(plan.keyed()):
        if key in answered:
            continue
        limit = float(suite.parameters.get("max_tokens") or 0)
        together = suite.loaded.suite.order in {"shared_prefix", "as_stored"}
        length = limit if together else expected.get((suite.name, item.id), limit)
        missing.append((-length, index, suite, item, repeat))
    missing.sort(key=lambda entry: (entry[0], entry[1]))
    return [(suite, item, repeat) for _length, _index, suite, item, repeat in missing]
