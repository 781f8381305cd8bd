"""The fidelity probe held to real servers: thirteen llama.cpp candidates, faithful, broken and between the two.

    python benchmarks/probe_candidates.py [--stages 10x48 24x48 64x128] [--only rope-10k bf16] [--write docs/probe.md]

One reference server stays up; the candidates come one after the other and are asked as `evalkit probe` asks, in stages
of so many prompts with texts of so many tokens: one that is DEGRADED on the first prompts is asked no more, one that is
INCONCLUSIVE after the second stage is asked the next, as the verdict advises (a borderline one is not: only its size is
wanted). Longer texts are drawn anew, and the verdict is theirs alone. The third stage is what `evalkit probe` asks by
default. The margin is the reference's own noise; nothing here chooses it. The table goes to stdout, and with --write
between the marks of a page. Needs the `demo` extra. Exits 1 where a faithful candidate is not passed or a broken one
not flagged.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from evalkit.config import load_config
from evalkit.examine.probe import (
    Findings,
    Material,
    Plan,
    Session,
    candidate_part,
    neutral_prompts,
    open_session,
    reference_part,
    side_of,
)
from evalkit.examine.probe_report import FORWARD, FidelityReport, assess, document, enough
from evalkit.model import Verdict
from evalkit.render.words import say
from evalkit.resources import data_folder

BEGIN: Final = "<!-- candidates: written by benchmarks/probe_candidates.py -->"
END: Final = "<!-- /candidates -->"

REFERENCE: Final[Mapping[str, Any]] = {"kind": "llama_cpp", "weights_type": "F16", "threads": 1, "slots": 4}
PLAIN: Final = (
    "{% for m in messages %}"
    "{{ {'user': 'User: ', 'assistant': 'Assistant: '}.get(m['role'], '') + m['content'] + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
NO_SYSTEM: Final = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to serve the same model: what is other than at the reference, and what the probe has to say of it."""

    name: str
    kind: Literal["faithful", "borderline", "broken"]
    about: str
    launch: Mapping[str, Any] = field(default_factory=dict)


CANDIDATES: Final = (
    Candidate("restart", "faithful", "the reference, started again"),
    Candidate("f32", "faithful", "weights as 32-bit floats", {"weights_type": "F32"}),
    Candidate("flash-off", "faithful", "another attention kernel", {"flash_attention": "off"}),
    Candidate("bf16", "faithful", "weights as bfloat16", {"weights_type": "BF16"}),
    Candidate(
        "kv-q8_0", "borderline", "KV cache in 8 bits",
        {"cache_type_k": "q8_0", "cache_type_v": "q8_0", "flash_attention": "on"},
    ),
    Candidate("q4_1", "borderline", "the same weights as a Q4_1 file: activations in 8 bits", {"weights_type": "Q4_1"}),
    Candidate("rope-50k", "broken", "RoPE base 50,000 in place of 100,000", {"rope_freq_base": 50_000}),
    Candidate("rope-10k", "broken", "RoPE base 10,000 in place of 100,000", {"rope_freq_base": 10_000}),
    Candidate("template", "broken", "another chat template (User: / Assistant:)", {"chat_template": PLAIN}),
    Candidate("no-system", "broken", "the default system message is missing", {"chat_template": NO_SYSTEM}),
    Candidate(
        "kv-q4_0", "broken", "KV cache in 4 bits",
        {"cache_type_k": "q4_0", "cache_type_v": "q4_0", "flash_attention": "on"},
    ),
    Candidate(
        "kv-q4_0-bare", "broken", "the same without the rotation that protects it",
        {"cache_type_k": "q4_0", "cache_type_v": "q4_0", "flash_attention": "on", "attention_rotation": False},
    ),
    Candidate("q4_0", "broken", "weights quantised again, to Q4_0", {"weights_type": "Q4_0"}),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """What was found at one candidate; `tokens` were asked of it in all, `found_after` until it was found out."""

    candidate: Candidate
    report: FidelityReport
    tokens: int
    found_after: int | None
    cpu_seconds: float
    wall_seconds: float

    @property
    def as_it_should_be(self) -> bool:
        """A faithful one is passed, a broken one flagged; of a borderline one nothing is asked but its size."""
        wanted = {"faithful": Verdict.EQUIVALENT, "broken": Verdict.DEGRADED}
        return self.report.verdict is wanted.get(self.candidate.kind, self.report.verdict)

    def __str__(self) -> str:
        """The row of the table; sizes are in nats per token, on the reference's texts."""
        about, greedy, one = self.candidate, self.report.greedy, self.report.comparisons[FORWARD]
        sizes = () if one is None else (one.nll_shift.point, one.k3.point, one.mean_abs, one.p99_abs)
        cells = [about.name, about.about, about.kind, self.report.verdict.value]
        cells += [f"{size:.2g}" for size in sizes] or [""] * 4
        cells.append(f"{one.agreement.share:.1%}" if one and one.agreement else "")
        cells.append(f"{greedy.identical} of {greedy.compared}")
        cells.append("" if self.found_after is None else f"{self.found_after:,}")
        cells += [f"{self.tokens:,}", f"{self.cpu_seconds:.0f}", f"{self.wall_seconds:.0f}"]
        return f"| {' | '.join(cells)} |\n"


# ---------------------------------------------------------------- asking, stage by stage


@dataclass(frozen=True, slots=True, order=True)
class Stage:
    """So many prompts are asked, all told, and texts of so many tokens are drawn."""

    prompts: int
    tokens: int

    @classmethod
    def read(cls, text: str) -> Stage:
        """From `24x48`; raises `ValueError` for anything else."""
        prompts, tokens = map(int, text.split("x"))
        return cls(prompts, tokens)


def joined(a: Material, b: Material) -> Material:
    """What an endpoint gave for some prompts and for those that follow."""
    scores = {name: a.scores.get(name, ()) + more for name, more in b.scores.items()}
    return Material(a.prompts + b.prompts, a.texts + b.texts, a.greedy + b.greedy, scores)


def asked_of_candidate(findings: Findings) -> int:
    """Tokens that the candidate drew or scored, its prompts aside."""
    candidate = findings.candidate
    scored = [text for texts in candidate.scores.values() for text in texts if text]
    own = [text for text in (*candidate.texts, *candidate.greedy) if text]
    return sum(len(text.ids) for text in own) + sum(len(text.logprobs) for text in scored)


def piece(plan: Plan, start: int, stage: Stage) -> Plan:
    """The plan for a stage's prompts from one on, with the seeds that these have in the whole."""
    prompts = plan.prompts[start : stage.prompts]
    greedy = max(0, min(plan.greedy - start, len(prompts)))
    return replace(plan, prompts=prompts, tokens=stage.tokens, greedy=greedy, seed=plan.seed + start)


@dataclass(slots=True)
class Reference:
    """The open reference, and what it gave for the prompts that were needed so far, by the length of texts."""

    session: Session
    plan: Plan
    given: dict[int, Material] = field(default_factory=dict)

    async def upto(self, stage: Stage) -> Material:
        """What it gives for a stage; asked only where it was not yet."""
        have = self.given.get(stage.tokens, Material((), (), ()))
        known = len(have.texts)
        if known < stage.prompts:
            more = await reference_part(self.session, await self.session.draw(piece(self.plan, known, stage)))
            have = self.given[stage.tokens] = joined(have, more)
        return have.part(slice(stage.prompts))


async def ask(
    candidate: Candidate, session: Session, reference: Reference, stages: Sequence[Stage]
) -> tuple[Findings, int]:
    """Stage by stage, until the verdict is there: DEGRADED at any, EQUIVALENT from the second on.

    Also the tokens of stages with shorter texts, which the verdict does not use.
    """
    findings: Findings | None = None
    tokens_before = 0
    for number, stage in enumerate(stages, 1):
        if findings is not None and findings.plan.tokens != stage.tokens:
            tokens_before += asked_of_candidate(findings)
            findings = None
        findings = await _asked_further(candidate, session, reference, stage, findings)
        verdict = assess(findings).verdict
        print(f"{candidate.name}: {stage.prompts}x{stage.tokens}: {verdict.value}", file=sys.stderr, flush=True)
        decided = verdict is Verdict.EQUIVALENT or candidate.kind == "borderline"
        if verdict is Verdict.DEGRADED or (number >= 2 and decided):
            break
    if findings is None:
        raise ValueError("there must be a stage")
    return findings, tokens_before


async def _asked_further(
    candidate: Candidate, session: Session, reference: Reference, stage: Stage, findings: Findings | None
) -> Findings:
    """The findings of a stage, from those of the stage before where the texts are of one length."""
    start = len(findings.plan.prompts) if findings else 0
    given = await reference.upto(stage)
    new = given.part(slice(start, stage.prompts))
    own = await session.draw(piece(reference.plan, start, stage))
    async with asyncio.TaskGroup() as group:
        parts = group.create_task(candidate_part(session, own, new))
        backward = group.create_task(reference.session.score(new.prompts, own.texts))
    made, back = parts.result(), backward.result()
    if findings is not None:
        made = joined(findings.candidate, made)
        back = findings.reference.scores["candidate_on_reference"] + back
    asked = {"reference": reference.session.asked(), candidate.name: session.asked()}
    done = replace(reference.plan, prompts=reference.plan.prompts[: stage.prompts], tokens=stage.tokens)
    return Findings(done, given.with_scores(candidate_on_reference=back), made, asked)


# ---------------------------------------------------------------- measuring


def side(folder: Path, name: str, launch: Mapping[str, Any]) -> Any:
    """A side of the probe, from an endpoint's YAML as a user would write it."""
    path = folder / f"{name}.yaml"
    endpoint = {"name": name, "model": "smollm2", "runs": "runs", "launch": {**REFERENCE, **launch}}
    path.write_text(json.dumps(endpoint), encoding="utf-8")
    return side_of(load_config(path))


async def measure(
    candidate: Candidate, folder: Path, reference: Reference, stages: Sequence[Stage]
) -> tuple[Findings, Row]:
    """Ask one candidate all that `evalkit probe` asks: what was found, and what is told of it."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    async with open_session(side(folder, candidate.name, candidate.launch), reference.plan) as session:
        findings, tokens_before = await ask(candidate, session, reference, stages)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    report, fewest = assess(findings), enough(findings)
    found = fewest is not None and report.verdict is Verdict.DEGRADED
    row = Row(
        candidate,
        report,
        tokens=tokens_before + asked_of_candidate(findings),
        found_after=asked_of_candidate(findings.first(fewest.texts)) if found else None,
        cpu_seconds=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        wall_seconds=time.perf_counter() - started,
    )
    print(
        f"{candidate.name}: {report.verdict.value}", *map(say, report.reasons), sep="\n  ", file=sys.stderr, flush=True
    )
    return findings, row


async def measure_all(
    chosen: Sequence[Candidate], plan: Plan, stages: Sequence[Stage], folder: Path, keep: Path | None
) -> list[Row]:
    """One row a candidate; the reference is asked each prompt once for each length of texts, and stays up."""
    rows = []
    async with open_session(side(folder, "reference", {}), plan) as session:
        reference = Reference(session, plan)
        for candidate in chosen:
            findings, row = await measure(candidate, folder, reference, stages)
            rows.append(row)
            if keep is not None:
                told = document(row.report, findings, "", "")
                (keep / f"{candidate.name}.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return rows


HEADER: Final = (
    "| candidate | what is other | kind | verdict | nll shift | k3 | mean \\|Δ\\| | p99 \\|Δ\\| | top-1 | "
    "greedy texts alike | found after (tokens) | asked in all (tokens) | CPU s | wall s |\n"
    "|---|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
)


def write(page: Path, text: str) -> None:
    """Put the table between the marks of a page."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page}: the marks {BEGIN} and {END} are missing")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")


def main() -> int:
    """Measure, print the table, write it where told."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    names = [one.name for one in CANDIDATES]
    stages = [Stage(10, 48), Stage(24, 48), Stage(64, 128), Stage(64, 256)]
    what = "prompts, all told, and longest text in tokens, by stage: 10x48 24x48"
    parser.add_argument("--stages", nargs="+", type=Stage.read, default=stages, help=what)
    parser.add_argument("--greedy", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="candidates")
    parser.add_argument("--write", type=Path, help="a page with the marks, such as docs/probe.md")
    parser.add_argument("--keep", type=Path, help="a folder for the probe's document of each candidate")
    options = parser.parse_args()
    stages, chosen = options.stages, [one for one in CANDIDATES if one.name in options.only]
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
    for weights_type in sorted({str({**REFERENCE, **one.launch}["weights_type"]) for one in chosen} | {"F16"}):
        fetch = (sys.executable, data_folder("standins") / "weights.py", json.dumps({"weights_type": weights_type}))
        subprocess.run(fetch, check=True)
    plan = Plan(neutral_prompts(max(stages).prompts), stages[0].tokens, options.greedy, options.seed, at_once=4)
    with tempfile.TemporaryDirectory() as folder:
        rows = asyncio.run(measure_all(chosen, plan, stages, Path(folder), options.keep))
    text = HEADER + "".join(map(str, rows))
    print(text, end="")
    if options.write is not None:
        write(options.write, text)
    wrong = [row.candidate.name for row in rows if not row.as_it_should_be]
    if wrong:
        print(f"not as it should be: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
