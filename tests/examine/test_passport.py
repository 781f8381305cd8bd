"""A passport is the reference: verdicts as of two live endpoints, nothing believed of a file that was changed."""

import asyncio
import hashlib
import io
import json
import lzma
import random
import re
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from toy import Model, Toy, V

from evalkit.config import EndpointConfig
from evalkit.errors import EndpointError, UsageError
from evalkit.examine import passport, recording
from evalkit.examine.contract import held
from evalkit.examine.divergence import ScoredText
from evalkit.examine.passport import MEMBERS
from evalkit.examine.probe import Plan, neutral_prompts, run_probe, side_of
from evalkit.examine.probe_report import BACKWARD, OTHERWISE, assess
from evalkit.model import Verdict
from evalkit.render.words import check

MUSEUM = Path(__file__).resolve().parents[2] / "benchmarks" / "museum"
sys.path.insert(0, str(MUSEUM))
import run as museum  # noqa: E402
from model import Fault  # noqa: E402

FAULTS = {kind.__module__.rpartition(".")[2]: kind for kind in museum.faults()}
NOW = "2026-01-01T00:00:00+00:00"
PLAN = Plan(neutral_prompts(16), tokens=20, greedy=6)
SAMPLED = Plan(neutral_prompts(40), tokens=24, greedy=2, sampler={"temperature": 0.6, "top_p": 0.95})


def config(server, name="ref"):
    return EndpointConfig.model_validate({"name": name, "base_url": server.url, "model": "toy"})


def side(server, name):
    return side_of(config(server, name))


def recorded(server, home, plan=PLAN, second=None):
    """The passport of a server's model, written and read again."""
    made = asyncio.run(recording.recorded(config(server), plan, second))
    passport.write(made, home / "ref.evalkit")
    return passport.read(home / "ref.evalkit")[0]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("passport")


@pytest.fixture(scope="module")
def made(home):
    """A passport of the faithful toy, and its file's bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        server = Toy("vllm")
        made = recorded(server, home)
        server.close()
    return made, (home / "ref.evalkit").read_bytes()


@pytest.fixture
def broken(tmp_path):
    """Writes a passport's bytes and gives what reading them is refused with."""

    def read(data):
        file = tmp_path / "other.evalkit"
        file.write_bytes(data)
        with pytest.raises(UsageError) as refused:
            passport.read(file)
        assert str(refused.value).startswith(f"{file}: ")
        return str(refused.value)

    return read


# ---------------------------------------------------------------- verdicts


@pytest.mark.parametrize("kind", ["vllm", "sglang", "llama.cpp"])
@pytest.mark.parametrize(
    ("model", "verdict"),
    [
        (Model(), Verdict.EQUIVALENT),
        (Model(noise=0.03), Verdict.EQUIVALENT),
        (Model(noise=0.4), Verdict.DEGRADED),
        (Model(broken=float("-inf")), Verdict.DEGRADED),
    ],
    ids=["faithful", "kernels", "broken", "impossible"],
)
async def test_a_recorded_reference_gives_the_verdict_of_a_live_one(toy, made, kind, model, verdict):
    live = assess(await run_probe(side(toy(kind), "ref"), side(toy(kind, model=model), "cand"), PLAN))
    findings = await recording.probed(made[0], Path("ref.evalkit"), side(toy(kind, model=model), "cand"), PLAN)
    report = assess(findings)
    assert (report.verdict, live.verdict) == (verdict, verdict)
    assert set(live.judged) - set(report.judged) == {BACKWARD}
    for name, one in report.judged.items():
        assert one.verdict is live.judged[name].verdict, name
    if kind == "vllm":  # the kind that was recorded: to the last digit
        for name, one in report.comparisons.items():
            assert one == live.comparisons[name]
    for reason in report.reasons:
        check(reason)
    assert "probe.recorded" in {reason.code for reason in report.reasons}


async def test_how_the_suites_draw_is_judged_as_live(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one, other = toy("vllm"), toy("vllm", defaults={"temperature": 0.2}, faults={"sticky"})
    other.sticky = {"temperature": 0.2, "top_k": -1, "repetition_penalty": 1.0}
    there = await asyncio.to_thread(recorded, one, tmp_path, SAMPLED)
    assert len(there.material.sampled) == 32
    live = assess(await run_probe(side(one, "ref"), side(other, "cand"), SAMPLED))
    now = assess(await recording.probed(there, Path("ref.evalkit"), side(other, "cand"), SAMPLED))
    assert (now.verdict, live.verdict) == (Verdict.DEGRADED, Verdict.DEGRADED)
    assert now.drawn == live.drawn


async def test_a_second_faithful_serving_widens_the_margins_that_are_recorded(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    second = config(toy("vllm", model=Model(noise=0.08)), "again")
    there = await asyncio.to_thread(recorded, toy("vllm"), tmp_path, PLAN, second)
    report, _scope = recording.scope(there)
    assert OTHERWISE in report.noise
    assert report.margins_nats.k3 > 0.004


async def test_another_tokeniser_or_template_is_refused_by_name_before_texts_are_drawn(toy, made):
    class Renumbered(Model):
        def prompt(self, messages):
            return [V - 1 - token for token in super().prompt(messages)]

    for model, what in ((Model(template="greeting"), "chat template"), (Renumbered(), "tokeniser")):
        server = toy("vllm", model=model)
        with pytest.raises(EndpointError, match=f"cand: has another {what} than the reference of ref.evalkit") as found:
            await recording.probed(made[0], Path("ref.evalkit"), side(server, "cand"), PLAN)
        assert found.value.exit_code == 3
        assert not [body for body in server.asked("/v1/completions") if body["max_tokens"] == PLAN.tokens]


async def test_a_reference_that_does_not_repeat_itself_is_none(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = config(toy("vllm", model=Model(noise=0.5)), "again")
    with pytest.raises(EndpointError, match="ref: nothing can be held against it: the reference does not repeat"):
        await recording.recorded(config(toy("vllm")), PLAN, other)


def test_the_contract_is_held_as_by_a_live_reference(made, home):
    live = asyncio.run(museum.sheet(Fault(7), 7))
    passport.write(replace(made[0], contract=live.trials), home / "museum.evalkit")
    there, _sha256 = passport.read(home / "museum.evalkit")
    for kind in (Fault, FAULTS["top_p"], FAULTS["call_ids"], FAULTS["stop_included"]):
        candidate = asyncio.run(museum.sheet(kind(7), 7))
        ours, theirs = recording.contracted(there, candidate, NOW), held(live, candidate, NOW)
        assert (ours.verdict, ours.suites, ours.notes) == (theirs.verdict, theirs.suites, theirs.notes)
        assert ours.verdict is (Verdict.EQUIVALENT if kind is Fault else Verdict.DEGRADED), kind


# ---------------------------------------------------------------- the file


def test_what_is_written_is_what_is_read(made, tmp_path):
    whole = made[0]
    passport.write(whole, tmp_path / "again.evalkit")
    read, sha256 = passport.read(tmp_path / "again.evalkit")
    assert (read.about, read.contract) == (whole.about, whole.contract)
    assert read.plan.prompts == PLAN.prompts
    assert read.material.scores.keys() == whole.material.scores.keys()
    data = (tmp_path / "again.evalkit").read_bytes()
    assert hashlib.sha256(data[:-64]).hexdigest() == sha256 == data[-64:].decode()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:  # any program that reads zip files takes it
        assert archive.testzip() is None


def test_no_address_of_the_reference_leaves_the_house(made):
    with zipfile.ZipFile(io.BytesIO(made[1])) as archive:
        everything = b"".join(archive.read(name) for name in MEMBERS)
    assert b"127.0.0.1" not in everything


@pytest.mark.parametrize("seed", range(5))
def test_no_mutation_is_accepted(made, broken, seed):
    """A hundred a seed: bits flipped, bytes changed, cut, doubled, inserted, swapped."""
    draw, data = random.Random(seed), made[1]
    for _ in range(100):
        at, size = draw.randrange(len(data)), draw.choice((1, 2, 16, 400))
        piece = data[at : at + size]
        changed = draw.choice(
            (
                bytes((data[at] ^ 1 << draw.randrange(8),)) + piece[1:],
                draw.randbytes(len(piece)),
                b"",
                piece * 2,
                draw.randbytes(size) + piece,
                piece[::-1],
                piece.swapcase(),
            )
        )
        mutant = data[:at] + changed + data[at + len(piece) :]
        if mutant != data:
            broken(mutant)
    for cut in (b"", data[:1], data[:64], data[:-1], data[:-64], data + b"\n"):
        broken(cut)


def sealed(data):
    return data[:-64] + hashlib.sha256(data[:-64]).hexdigest().encode()


def packed(made, change=lambda documents: documents, method=zipfile.ZIP_DEFLATED):
    """A passport that somebody wrote on purpose, with a digest that fits."""
    with zipfile.ZipFile(io.BytesIO(made[1])) as archive:
        documents = {name: json.loads(archive.read(name)) for name in MEMBERS}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, document in change(documents).items():
            archive.writestr(name, document if isinstance(document, bytes) else json.dumps(document))
        archive.comment = b"0" * 64
    return sealed(out.getvalue())


def changed(name, *path, value):
    def change(documents):
        at = documents[name]
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value
        return documents

    return change


def test_it_is_read_as_anybody_packs_it(made, tmp_path):
    (tmp_path / "own.evalkit").write_bytes(packed(made))
    assert passport.read(tmp_path / "own.evalkit")[0].about == made[0].about


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda d: {**d, "more.json": {}}, "does not hold just about.json"),
        (lambda d: {f"../{name}": one for name, one in d.items()}, "does not hold just about.json"),
        (lambda d: {**d, "about.json": b"[" * 100_000}, "about.json|nested|recursion|depth|Recursion"),
        (lambda d: {**d, "plan.json": b'{"prompts":' + b"[" * 100_000}, "plan.json: .*recursion"),
        (lambda d: {**d, "contract.json": b"\xff"}, "contract.json: "),
        (changed("about.json", "format", value=2), r"another version of evalkit wrote it \(format 2\)"),
        (changed("about.json", "more", value=1), "at more: this key is not known"),
        (changed("about.json", "name", value="../../elsewhere"), "its name, model or build is none"),
        (changed("about.json", "name", value="ref\x1b[2J"), "its name, model or build is none"),
        (changed("about.json", "evalkit_version", value="1\x1b[2J"), "characters that cannot be printed"),
        (changed("about.json", "fingerprint", value="0" * 64), "its fingerprint is not that of the prompts"),
        (changed("about.json", "requests", value="many"), "about.json: at requests"),
        (changed("plan.json", "prompts", value=[]), "asks for what no probe asks"),
        (changed("plan.json", "tokens", value=1 << 20), "asks for what no probe asks"),
        (changed("plan.json", "at_once", value=0), "asks for what no probe asks"),
        (changed("plan.json", "sampler", value={"temperature": 1.0, "n": 4096.0}), "asks for what no probe asks"),
        (changed("plan.json", "prompts", 0, 0, value={"role": "user", "content": [{"type": "x"}]}), "a message has"),
        (changed("plan.json", "greedy", value=7), "other numbers of texts than of prompts"),
        (changed("material.json", "texts", value=[]), "other numbers of texts than of prompts"),
        (changed("material.json", "scores", value={}), "other scores than those of a reference"),
        (changed("material.json", "texts", 0, "ids", value=[1]), "as many log-probabilities as tokens"),
        (changed("material.json", "texts", 0, "ids", 0, value=-1), "there is no such token"),
        (changed("material.json", "scores", "reference_again", 0, "logprobs", 0, value=float("nan")), "material.json"),
        (changed("contract.json", 0, "kept", value="yes"), "contract.json: at"),
    ],
)
def test_what_somebody_wrote_on_purpose_is_refused_by_name(made, broken, change, why):
    said = broken(packed(made, change))
    assert re.search(why, said), said


def test_no_more_is_unpacked_than_a_passport_may_hold(made, broken):
    big = packed(made, lambda d: {**d, "contract.json": b" " * (passport.MOST_UNPACKED_BYTES + 1)})
    assert len(big) < 1_000_000
    assert "unpacks to more than 64,000,000 bytes" in broken(big)
    lying = big.replace((passport.MOST_UNPACKED_BYTES + 1).to_bytes(4, "little"), (2).to_bytes(4, "little"))
    assert broken(sealed(lying))
    assert "compressed otherwise" in broken(packed(made, method=zipfile.ZIP_LZMA))
    assert "has more than 20,000,000 bytes" in broken(made[1] + b"0" * passport.MOST_BYTES)


def test_what_would_be_too_large_is_not_written(made, tmp_path):
    text = replace(made[0].contract[0], seen="é" * passport.MOST_UNPACKED_BYTES)
    with pytest.raises(UsageError, match="unpacks to more than"):
        passport.write(replace(made[0], contract=(text,)), tmp_path / "big.evalkit")
    assert not list(tmp_path.iterdir())


def test_a_reference_whose_own_texts_are_impossible_is_not_written(made, tmp_path):
    text = ScoredText((float("nan"), *made[0].material.scores["reference_again"][0].logprobs[1:]))
    scores = made[0].material.scores
    scores = {**scores, "reference_again": (text, *scores["reference_again"][1:])}
    with pytest.raises(UsageError):
        passport.write(replace(made[0], material=replace(made[0].material, scores=scores)), tmp_path / "nan.evalkit")


# ---------------------------------------------------------------- real probes, stored


VALIDATION = Path(__file__).resolve().parents[2] / "docs" / "validation"


@pytest.mark.parametrize("name", ["flaggems", "native-again", "damaged", "rope", "truncated", "template"])
def test_stored_probes_of_a_gpu_end_as_they_did_live(made, home, name, monkeypatch):
    monkeypatch.syspath_prepend(str(VALIDATION))
    from stored_probes import read_findings

    with lzma.open(VALIDATION / "probes" / f"{name}.jsonl.xz", "rt") as lines:
        findings = read_findings(map(json.loads, lines))
    live = assess(findings)
    scores = {key: one for key, one in findings.reference.scores.items() if key != "candidate_on_reference"}
    material = replace(findings.reference, scores=scores)
    about = replace(made[0].about, fingerprint=passport.fingerprint(material))
    passport.write(replace(made[0], about=about, plan=findings.plan, material=material), home / f"{name}.evalkit")
    reference = passport.read(home / f"{name}.evalkit")[0]
    if name == "template":
        with pytest.raises(EndpointError, match="another chat template"):
            recording._same_prompts(reference.material.prompts, findings.candidate.prompts, "cand: has another", home)
        return
    now = assess(replace(findings, reference=reference.material))
    assert (now.verdict, now.stops) == (live.verdict, live.stops)
