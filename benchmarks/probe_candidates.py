"""The fidelity probe held to real servers: thirteen llama.cpp candidates, faithful, broken and between the two.

    python benchmarks/probe_candidates.py [--stages 10x48,24x48,64x128] [--only rope-10k,bf16] [--write docs/probe.md]

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from probe_stages import (
    Candidate,
    Reference,
    Stage,
    ask,
    asked_of_candidate,
)

from evalkit.config import load_config
from evalkit.examine.probe import Findings, Plan, neutral_prompts, open_session, side_of
from evalkit.examine.probe_report import FORWARD, FidelityReport, assess, document
from evalkit.model import Reason, Verdict
from evalkit.render.words import say
from evalkit.resources import data_folder
from evalkit.stats.divergence import LEAST_SEQUENCES

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
    """What the table says of one candidate; sizes are in nats per token, on the reference's texts."""

    name: str
    kind: str
    about: str
    verdict: str
    nll_shift: float | None
    k3: float | None
    mean_abs: float | None
    p99_abs: float | None
    top1: float | None
    times_noise: float | None
    other_prompts: int
    greedy_identical: int
    greedy_compared: int
    tokens: int
    found_after: int | None
    read: int
    generated: int
    cpu_seconds: float
    wall_seconds: float
    reasons: tuple[Reason, ...]

    @property
    def as_it_should_be(self) -> bool:
        """A faithful one is passed, a broken one flagged; of a borderline one nothing is asked but its size."""
        wanted = {"faithful": Verdict.EQUIVALENT.value, "broken": Verdict.DEGRADED.value}
        return self.verdict == wanted.get(self.kind, self.verdict)


def found_after(findings: Findings) -> int | None:
    """How many tokens of the candidate it takes until the verdict is DEGRADED and stays so; None where it is not.

    The prompts are taken one by one in their order, from the least that can be judged.
    """
    found = None
    for count in range(LEAST_SEQUENCES, len(findings.plan.prompts) + 1):
        part = findings.first(count)
        if assess(part).verdict is not Verdict.DEGRADED:
            found = None
        elif found is None:
            found = asked_of_candidate(part)
    return found


def side(folder: Path, name: str, launch: Mapping[str, Any]) -> Any:
    """A side of the probe, from an endpoint's YAML as a user would write it."""
    path = folder / f"{name}.yaml"
    endpoint = {"name": name, "model": "smollm2", "runs": "runs", "launch": {**REFERENCE, **launch}}
    path.write_text(json.dumps(endpoint), encoding="utf-8")
    return side_of(load_config(path))


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found of one candidate; what it was asked before in shorter texts; and the cost of its server."""

    findings: Findings
    tokens_before: int
    cpu_seconds: float
    wall_seconds: float


async def measure(candidate: Candidate, folder: Path, reference: Reference, stages: Sequence[Stage]) -> Measured:
    """Ask one candidate all that `evalkit probe` asks."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    async with open_session(side(folder, candidate.name, candidate.launch), reference.plan) as session:
        findings, tokens_before = await ask(candidate, session, reference, stages)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(findings, tokens_before, cpu, time.perf_counter() - started)


def row_of(candidate: Candidate, measured: Measured, report: FidelityReport) -> Row:
    """What is told of one candidate."""
    findings = measured.findings
    one, asked = report.comparisons[FORWARD], findings.asked[candidate.name]
    judged = report.judged.get(FORWARD)
    return Row(
        name=candidate.name,
        kind=candidate.kind,
        about=candidate.about,
        verdict=report.verdict.value,
        nll_shift=one and one.nll_shift.point,
        k3=one and one.k3.point,
        mean_abs=one and one.mean_abs,
        p99_abs=one and one.p99_abs,
        top1=one.agreement.share if one and one.agreement else None,
        times_noise=judged.times_noise if judged else None,
        other_prompts=report.other_prompts,
        greedy_identical=report.greedy.identical,
        greedy_compared=report.greedy.compared,
        tokens=measured.tokens_before + asked_of_candidate(findings),
        found_after=found_after(findings),
        read=asked.prompt_tokens,
        generated=asked.completion_tokens,
        cpu_seconds=measured.cpu_seconds,
        wall_seconds=measured.wall_seconds,
        reasons=report.reasons,
    )


async def measure_all(
    chosen: Sequence[Candidate], plan: Plan, stages: Sequence[Stage], folder: Path, keep: Path | None
) -> list[Row]:
    """One row a candidate; the reference is asked each prompt once for each length of texts, and stays up."""
    rows = []
    async with open_session(side(folder, "reference", {}), plan) as session:
        reference = Reference(session, plan)
        for candidate in chosen:
            measured = await measure(candidate, folder, reference, stages)
            report = assess(measured.findings)
            rows.append(row_of(candidate, measured, report))
            if keep is not None:
                told = document(report, measured.findings, "", "")
                (keep / f"{candidate.name}.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
            print(
                f"{candidate.name}: {report.verdict.value}",
                *map(say, report.reasons),
                sep="\n  ",
                file=sys.stderr,
                flush=True,
            )
    return rows


HEADER: Final = (
    "| candidate | what is other | kind | verdict | nll shift | k3 | mean \\|Δ\\| | p99 \\|Δ\\| | top-1 | "
    "greedy texts alike | found after (tokens) | asked in all (tokens) | CPU s | wall s |\n"
    "|---|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
)


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.2g}"

    lines = []
    for row in rows:
        top1 = "" if row.top1 is None else f"{row.top1:.1%}"
        alike = f"{row.greedy_identical} of {row.greedy_compared}"
        cells = (row.name, row.about, row.kind, row.verdict, *map(number, (row.nll_shift, row.k3, row.mean_abs)))
        more = (number(row.p99_abs), top1, alike, "" if row.found_after is None else f"{row.found_after:,}")
        cost = (f"{row.tokens:,}", f"{row.cpu_seconds:.0f}", f"{row.wall_seconds:.0f}")
        lines.append("| " + " | ".join((*cells, *more, *cost)) + " |\n")
    return HEADER + "".join(lines)


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
    parser.add_argument(
        "--stages", default="10x48,24x48,64x128,64x256", help="prompts, all told, and longest text in tokens, by stage"
    )
    parser.add_argument("--greedy", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="names of candidates, with commas between them")
    parser.add_argument("--write", type=Path, help="a page with the marks, such as docs/probe.md")
    parser.add_argument("--keep", type=Path, help="a folder for the probe's document of each candidate")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else [one.name for one in CANDIDATES]
    chosen = [one for one in CANDIDATES if one.name in names]
    if len(chosen) < len(names):
        parser.error(f"--only: choose from {', '.join(one.name for one in CANDIDATES)}")
    try:
        stages = [Stage.read(text) for text in options.stages.split(",")]
    except ValueError:
        parser.error("--stages: prompts and tokens of each stage, such as 10x48,24x48")
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
    for weights_type in sorted({str({**REFERENCE, **one.launch}["weights_type"]) for one in chosen} | {"F16"}):
        fetch = (sys.executable, data_folder("standins") / "weights.py", json.dumps({"weights_type": weights_type}))
        subprocess.run(fetch, check=True)
    plan = Plan(neutral_prompts(max(stages).prompts), stages[0].tokens, options.greedy, options.seed, at_once=4)
    with tempfile.TemporaryDirectory() as folder:
        rows = asyncio.run(measure_all(chosen, plan, stages, Path(folder), options.keep))
    text = table(rows)
    print(text, end="")
    if options.write is not None:
        write(options.write, text)
    wrong = [row.name for row in rows if not row.as_it_should_be]
    if wrong:
        print(f"not as it should be: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
