"""What an API promises: every fault of the museum is found and named, and a faithful server breaks nothing."""

import asyncio
import json
import re
import sys
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer

import evalkit
from evalkit import CompareOptions, Comparison
from evalkit.config import EndpointConfig
from evalkit.examine import promises
from evalkit.examine.asker import Asker, Call, Said, Trial, value_of
from evalkit.examine.contract import Sheet, alone, catalogue, held
from evalkit.examine.promises import FAMILIES, unlike, wrong_call
from evalkit.model import Verdict
from evalkit.render.words import check, say

MUSEUM = Path(__file__).resolve().parents[2] / "benchmarks" / "museum"
sys.path.insert(0, str(MUSEUM))
import faithful as servers  # noqa: E402
import run as museum  # noqa: E402
from model import Fault, Model  # noqa: E402

FAULTS = {kind.__module__.rpartition(".")[2]: kind for kind in museum.faults()}
CONFIG = EndpointConfig.model_validate({"name": "a", "base_url": "http://127.0.0.1:1/v1", "model": "m"})


@pytest.fixture(scope="module")
def faithful():
    return asyncio.run(museum.sheet(Fault(7), 7))


def test_a_faithful_server_keeps_every_promise(faithful):
    assert [one for one in alone(faithful) if one.broken] == []
    assert faithful.requests <= 400
    told = {one.promise for one in faithful.trials if one.kept is not None}
    assert told == set(catalogue()), "every promise of the catalogue is asked"


class ByTheLetter(Fault):
    """As vLLM 0.32: only tools that are `strict` are held to their schema, and a call that is cut comes streamed only."""

    def reply(self, fields, reply, in_flight):
        (choice, *_more), tools = reply["choices"], fields.get("tools") or [{"function": {}}]
        for call in choice["message"].get("tool_calls") or ():
            if not all(one["function"].get("strict") for one in tools):
                call["function"]["arguments"] = '"gaben"'
        if (
            choice["message"].get("tool_calls")
            and tools[0]["function"].get("name") == FAMILIES[2]["tools"][0]["function"]["name"]
        ):
            call["function"]["arguments"] = call["function"]["arguments"][:-1]
            choice["finish_reason"] = "length"
            if not fields.get("stream"):
                choice["message"] = {"role": "assistant", "content": ""}
        return reply


def test_a_server_that_does_as_the_protocol_says_by_the_letter_breaks_nothing():
    sheet = asyncio.run(museum.sheet(ByTheLetter(7), 7))
    assert [one for one in alone(sheet) if one.broken] == []
    assert not sheet.of("tools.streamed").keys() & {FAMILIES[2]["name"]}, "half a call says nothing"


class NoTools(Fault):
    """A server that drops what it does not know."""

    def request(self, fields):
        return {key: value for key, value in fields.items() if key not in {"tools", "tool_choice"}}


def test_a_server_without_tools_is_not_asked_for_all_of_them(faithful):
    candidate = asyncio.run(museum.sheet(NoTools(7), 7))
    assert {one.case for one in candidate.trials if one.promise == "tools.required"} == {
        f"{family['name']}, {way}" for family in FAMILIES[:3] for way in ("whole", "streamed")
    }
    assert "tools.required" in museum.found(held(faithful, candidate, "2026-01-01T00:00:00+00:00"))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, kind in FAULTS.items() if museum.put_aside(kind)])
def test_faults_are_found_and_named(name, faithful):
    """Those that were put aside; `benchmarks/museum/run.py` has all."""
    candidate = asyncio.run(museum.sheet(FAULTS[name](7), 7))
    comparison = held(faithful, candidate, "2026-01-01T00:00:00+00:00")
    assert comparison.verdict is Verdict.DEGRADED
    assert museum.found(comparison) & set(FAULTS[name].expected), museum.found(comparison)


@pytest.mark.slow
@pytest.mark.parametrize("kind", servers.FAITHFUL)
def test_faithful_variants_are_not_degraded(kind, faithful):
    comparison = held(faithful, asyncio.run(museum.sheet(kind(8), 7)), "2026-01-01T00:00:00+00:00")
    assert museum.found(comparison) == set()
    assert comparison.verdict is not Verdict.DEGRADED


def test_the_commands_say_what_is_kept_and_what_is_broken(run_process, tmp_path):
    async def both():
        async with (
            TestServer(Model(Fault(), thinks=True).app()) as one,
            TestServer(Model(FAULTS["top_p"]()).app()) as two,
        ):
            for name, server in (("ref", one), ("cand", two)):
                text = f"name: {name}\nbase_url: {server.make_url('/v1')}\nmodel: toy\nruns: {tmp_path}/runs\n"
                (tmp_path / f"{name}.yaml").write_text(text)
            run = asyncio.to_thread
            return (
                await run(run_process, "contract", str(tmp_path / "cand.yaml")),
                await run(run_process, "contract", str(tmp_path / "ref.yaml"), str(tmp_path / "cand.yaml"), "--json"),
            )

    single, pair = asyncio.run(both())
    assert single.returncode == 3
    assert "broken" in single.stdout and "top_p is drawn as asked" in single.stdout
    assert pair.returncode == 1
    document = json.loads(pair.stdout)
    assert "sampler.top_p" in {one["suite"] for one in document["suites"] if one["verdict"] == "DEGRADED"}
    assert (tmp_path / "runs" / "ref--cand" / "contract" / "comparison.json").is_file()


PACK = "about: a few minutes\nrounds: 1\ncontract: true\nsuites:\n  - {name: codes, margin_pt: 5}\n"


@pytest.mark.slow
@pytest.mark.parametrize("fault", [Fault, FAULTS["top_p"]])
def test_a_pack_with_a_contract_holds_both_to_it_before_its_suites(fault, tmp_path):
    (tmp_path / "pack.yaml").write_text(PACK)

    async def both():
        one, two = Model(thinks=True), Model(fault(3), thinks=True)
        async with TestServer(one.app()) as reference, TestServer(two.app()) as candidate:
            files = []
            for name, server in (("ref", reference), ("cand", candidate)):
                files.append(tmp_path / f"{name}.yaml")
                about = f"name: {name}\nbase_url: {server.make_url('/v1')}\nmodel: toy\nruns: {tmp_path}/runs\n"
                files[-1].write_text(f"{about}suite_folders: [{MUSEUM}]\npack: {tmp_path}/pack.yaml\n")
            made = await asyncio.to_thread(evalkit.compare, *files, CompareOptions(probe=False))
            asked = two.requests
            return made, asked, await asyncio.to_thread(evalkit.doctor, *files, data=False, anyway=True)

    made, asked, diagnosis = asyncio.run(both())
    stored = evalkit.load_comparison(tmp_path / "runs" / "ref--cand" / "contract")
    broken = [one for one in diagnosis.document()["between"] if one["check"] == "contract"]
    if fault is Fault:
        assert (made.verdict, stored.verdict, broken) == (Verdict.EQUIVALENT, Verdict.EQUIVALENT, [])
        assert asked > 550, "the contract's requests and the suite's"
    else:
        assert (made.verdict, stored.verdict, made.value.suites) == (Verdict.DEGRADED, Verdict.DEGRADED, ())
        assert made.value.reasons[0].code == "stopped.contract"
        assert asked < 450, "the suite is not asked"
        assert "top_p is drawn as asked" in broken[0]["what"] and diagnosis.exit_code == 3


def test_an_option_without_effect_is_refused(run_evalkit, tmp_path):
    (tmp_path / "a.yaml").write_text("name: a\nbase_url: http://127.0.0.1:1/v1\nmodel: m\n")
    done = run_evalkit("contract", str(tmp_path / "a.yaml"), "--out", str(tmp_path))
    assert done.returncode == 2
    assert "--out" in done.stderr


# ---------------------------------------------------------------- one promise


def sheet(*trials):
    return Sheet(CONFIG, "2026-01-01T00:00:00", trials, 1, 1, 1.0)


def trial(promise, case, kept):
    """A trial that was kept (True), broken (False), refused, or of which nothing can be told (None)."""
    if kept == "refused":
        return Trial(promise, case, None, "HTTP 400", refused=True)
    return Trial(promise, case, kept, "seen")


def verdict(promise, reference, candidate):
    """The row of a promise whose cases were kept (True) or broken on either side."""
    sides = [
        sheet(*(trial(promise, str(number), kept) for number, kept in enumerate(side)))
        for side in (reference, candidate)
    ]
    comparison = held(*sides, "2026-01-01T00:00:00+00:00")
    for reason in (*comparison.reasons, *comparison.notes, *(one for row in comparison.suites for one in row.reasons)):
        check(reason)
        assert say(reason, "zh")
    return comparison.suites[0].verdict if comparison.suites else comparison.verdict


@pytest.mark.parametrize(
    ("promise", "reference", "candidate", "expected"),
    [
        ("limit.n", [True], [False], Verdict.DEGRADED),
        ("limit.n", [False], [False], Verdict.EQUIVALENT),
        ("limit.n", [False], [True], Verdict.EQUIVALENT),
        ("limit.n", [True], ["refused"], Verdict.DEGRADED),
        ("limit.n", [True], [None], Verdict.INVALID),
        ("tools.valid", [True] * 4, ["refused", "refused", True, None], Verdict.DEGRADED),
        ("limit.n", [None], [True], Verdict.INVALID),
        ("tools.valid", [True] * 4, [False, True, True, True], Verdict.INCONCLUSIVE),
        ("tools.valid", [True] * 4, [False, False, True, True], Verdict.DEGRADED),
        ("tools.valid", [True, True, False], [False, False, True], Verdict.INCONCLUSIVE),
        ("load.echo", [True] * 20, [False] * 6 + [True] * 14, Verdict.INCONCLUSIVE),
        ("load.echo", [True] * 20, [False] * 8 + [True] * 12, Verdict.DEGRADED),
    ],
)
def test_what_makes_a_promise_a_broken_one(promise, reference, candidate, expected):
    assert verdict(promise, reference, candidate) is expected


def test_a_contract_makes_no_card(tmp_path, run_evalkit):
    comparison = held(*(sheet(Trial("limit.n", "a", True)),) * 2, "2026-01-01T00:00:00+00:00")
    Comparison(comparison).store(tmp_path)
    done = run_evalkit("card", str(tmp_path), "--style", "evalkit", "--chip", "x")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "a contract, whose promises are no accuracy" in done.stderr


def test_a_broken_promise_leads_to_where_it_is_made():
    one, two = (sheet(Trial("load.marks", "8 in flight", kept, "another's")) for kept in (True, False))
    (row,) = held(one, two, "2026-01-01T00:00:00+00:00").suites
    assert say(row.reasons[0]).endswith(
        "first 8 in flight: another's (look at batching and at request ids, not at the model)"
    )
    assert {told["lead"] for told in catalogue().values()} > {"sampler", "template", "parser", "batching"}


def test_prompts_that_are_counted_otherwise_are_a_difference():
    one, two = (sheet(Trial("prompt.tokens", "a", True, said=said)) for said in ("7", "8"))
    assert held(one, two, "2026-01-01T00:00:00+00:00").verdict is Verdict.DEGRADED
    assert held(one, one, "2026-01-01T00:00:00+00:00").verdict is Verdict.EQUIVALENT


def test_nothing_that_could_be_told_is_no_pass():
    assert verdict("limit.n", [None], [None]) is Verdict.INVALID


# ---------------------------------------------------------------- readings


def test_there_are_sixteen_families_of_tools_with_names_of_their_own():
    names = [family["name"] for family in FAMILIES]
    assert len(set(names)) == len(names) >= 16


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ('{"city": "Oslo"}', ""),
        ('{"city": "ZoÃ«"}', "mangled"),
        ('{"city": "Zo\\\\u00eb"}', "mangled"),
        ('{"city": "Zoë \\u00eb C:\\\\tmp"}', ""),
        ('no text but {"city": "Oslo"}', "no JSON"),
        ("", "no JSON"),
        ('{"city": 3}', "break the schema"),
        ('{"city": "Oslo", "x": 1}', "break the schema"),
        ("{}", "break the schema"),
        ("[]", "break the schema"),
    ],
)
def test_calls_are_held_against_their_schema(arguments, said):
    found = wrong_call(Call("get_weather", arguments), FAMILIES[0]["tools"])
    assert said in found and bool(said) == bool(found)


def test_a_tool_that_was_not_offered_is_wrong():
    assert "not offered" in wrong_call(Call("rm", "{}"), FAMILIES[0]["tools"])


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        ({"text": "one three"}, "loses a piece"),
        ({"text": "one two two three"}, "repeats a piece"),
        ({"text": "one tw\ufffd three"}, "broken characters"),
        ({"text": "eins zwei drei"}, "differs"),
        ({"finish": "length"}, "finish_reason"),
        ({"tokens": None}, "usage"),
        ({"calls": (Call("a", "{}"),)}, "calls"),
        ({"reasoning": "hm"}, "reasoning"),
        ({}, ""),
    ],
)
def test_in_what_a_stream_differs(pieces, said):
    whole = {"text": "one two three", "reasoning": "", "calls": (), "finish": "stop", "prompt_tokens": 1, "tokens": 3}
    found = unlike(Said(**whole, document={}), Said(**{**whole, **pieces}, document={}))
    assert said in found and bool(said) == bool(found)


@pytest.mark.parametrize(
    ("pieces", "drifts"),
    [
        ({"text": "one three"}, False),
        ({"text": "one tw\ufffd three"}, False),
        ({"text": "one five six"}, True),
        ({"finish": "length"}, False),
        ({"calls": ()}, False),
        ({"calls": (Call("a", ""),)}, False),
        ({"calls": (Call("a", '{"b": 2}'),)}, True),
    ],
)
def test_another_continuation_is_told_from_a_spoilt_one(pieces, drifts):
    whole = {"text": "one two three", "reasoning": "", "finish": "stop", "prompt_tokens": 1, "tokens": 3}
    calls = {"calls": (Call("a", '{"b": 1}', "id"),)}
    one = Said(**whole, **calls, document={})
    assert promises._drifts(one, Said(**{**whole, **calls, **pieces}, document={})) is drifts


async def test_what_is_asked_too_late_is_left_out_and_holds_nothing_against_a_server():
    asker = Asker(museum_subject())
    asker.until = 0.0
    await promises.limits(asker)
    assert (asker.left > 5, asker.requests) == (True, 0)
    assert asker.trials == []
    await asker.close()
    slow = Sheet(CONFIG, "2026-01-01T00:00:00", (Trial("limit.n", "a", True),), 1, 1, 1.0, left=7)
    comparison = held(sheet(Trial("limit.n", "a", True)), slow, "2026-01-01T00:00:00+00:00")
    assert [say(note) for note in comparison.notes if note.code == "contract.left"] == [
        "a is slow: after 1 requests the time was spent, and 7 were left out"
    ]


def test_the_page_of_faults_has_a_row_for_every_file_of_the_museum():
    page = (Path(__file__).resolve().parents[2] / "docs" / "faults.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| \[(\w+)\]\((\S+)\)", page, re.MULTILINE))
    assert {name: rows.get(name) for name in FAULTS} == {name: kind.source for name, kind in FAULTS.items()}
    files = {folder: {path.stem for path in (MUSEUM / folder).glob("*.py")} for folder in ("faults", "regime_faults")}
    assert files["regime_faults"] <= set(rows) <= files["faults"] | files["regime_faults"]


@pytest.mark.parametrize("silent", [(True, False), (False, True), (True, True)])
def test_a_side_that_answers_nothing_makes_the_contract_invalid(silent):
    sides = [
        Sheet(CONFIG, "2026-01-01T00:00:00", (Trial("load.answered", "greeting", None, "refused"),), 1, 0, 1.0, False)
        if quiet
        else sheet(Trial("load.answered", "a", True))
        for quiet in silent
    ]
    comparison = held(*sides, "2026-01-01T00:00:00+00:00")
    assert (comparison.verdict, comparison.exit_code, comparison.suites) == (Verdict.INVALID, 3, ())
    assert say(comparison.reasons[0]) == "a answers nothing: refused"


@pytest.mark.parametrize("text", ["[" * 5000, '{"a":' * 3000, "NaN", "", "[" * 60 + "]" * 59])
def test_what_is_no_document_is_refused_however_deep(text):
    with pytest.raises(ValueError):
        value_of(text)
    assert wrong_call(Call("get_weather", text), FAMILIES[0]["tools"])


@pytest.mark.parametrize(
    ("text", "tokens", "kept"),
    [("abababab", 4, True), ("abab", 1, None), ("", 4, None), ("abcd", 4, False), ("\ufffd" * 4, 4, True)],
)
def test_a_forced_token_comes_again_and_again_or_cannot_be_told(text, tokens, kept):
    wrong = promises._forced(Said(text, "", (), "length", 9, tokens, {}))
    assert (None if wrong is None else not wrong) is kept


async def test_a_server_that_answers_nothing_is_left_after_the_first_group():
    asker = Asker(museum_subject())
    await promises.thinking(asker)
    assert not asker.answered
    await asker.close()


def museum_subject():
    from evalkit.endpoint.settings import ClientSettings
    from evalkit.examine.checks import Subject

    return Subject("a", ClientSettings(("http://127.0.0.1:1/v1",), "m"))
