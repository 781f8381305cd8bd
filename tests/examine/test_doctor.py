"""The doctor finds what it is for, on toy servers that misbehave in one way each, and is content with a good one."""

import re
import tomllib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import orjson
import pytest
from loopback import holds, says
from toy import END, Model

from evalkit.endpoint.settings import ClientSettings
from evalkit.examine import checks, doctor, sampling, serving
from evalkit.examine.checks import Severity, Subject, SuiteNeeds
from evalkit.model import FailureKind
from evalkit.resources import data_folder

CATALOGUE = tomllib.loads((data_folder("reports") / "findings.toml").read_text(encoding="utf-8"))
NEUTRAL = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}


def subject(server, name="ref", **more):
    settings = ClientSettings((server.url,), more.pop("model", "toy"), stall_seconds=5.0, connect_seconds=2.0)
    return Subject(name, settings, more.pop("parameters", {}), **more)


def found(report, check):
    return [one for one in report.findings if one.check == check]


def severities(report, check):
    return [one.severity.value for one in found(report, check)]


@pytest.mark.parametrize("kind", ["vllm", "sglang", "llama.cpp"])
async def test_a_good_server_has_no_problem(toy, kind):
    server = toy(kind, sees="", defaults={})
    report = await doctor.examine(subject(server, parameters={"temperature": 0.7, **NEUTRAL}))
    assert not report.problems
    assert {one.severity for one in report.findings} <= {Severity.OK, Severity.NOTE}, report.findings
    checks = {one.check for one in report.findings if one.severity is Severity.OK}
    assert checks >= {
        "reachable",
        "model",
        "software",
        "context",
        "reply",
        "template",
        "stop",
        "n",
        "clock",
        "logprobs",
    }
    assert checks >= {"repeatable", "seed", "defaults", "prompt_logprobs"}
    assert report.requests < 120
    assert report.facts["seed"] == "honoured"


async def test_the_software_is_named_with_its_version(toy):
    names = {}
    for kind in ("vllm", "sglang", "llama.cpp", "transformers"):
        (finding,) = found(await doctor.quick_check(subject(toy(kind))), "software")
        names[kind] = finding.what
    assert names["vllm"] == "vLLM 0.24.0"
    assert names["sglang"] == "SGLang 0.5.9"
    assert names["llama.cpp"] == "llama.cpp, build b6000-toy"
    assert names["transformers"].startswith("not recognised")


async def test_transformers_serve_is_seen_through(toy):
    """What endpoints.md saw: logprobs and n ignored, stop text kept, the first request's sampling stays."""
    server = toy("transformers", faults={"no_logprobs", "no_n", "keeps_stop", "sticky", "drops_images"})
    sampled = SuiteNeeds("aime24", stops=True, pictures=True)
    report = await doctor.examine(
        subject(server, parameters={"temperature": 0.6}, suites=(sampled,), wants_logprobs=True)
    )
    told = {one.check: one for one in report.problems}
    assert "`logprobs` is ignored" in told["logprobs"].what
    assert "the stop text is left in the answer" in told["stop"].what
    assert "three seeds gives the greedy answer each time" in told["temperature"].what
    assert "accepted and not read" in told["pictures"].what
    assert [one.what for one in found(report, "n")] == ["`n: 2` gives 1 choice: the field is ignored"]
    (unsupported,) = found(report, "prompt_logprobs")
    assert "cannot be had" in unsupported.what
    assert "base_url" not in unsupported.what, "an address beside the API that is not there is no wrong base_url"
    assert all(one.why and one.fix for one in (*report.problems, *found(report, "n")))


class Endless(Model):
    """Talks until its tokens are used up: a drawn answer is never too short to look into."""

    def logprobs(self, ids):
        values = super().logprobs(ids).copy()
        values[END] = -40.0
        return values


async def test_continuous_batching_that_began_with_a_sampled_request_is_seen_through(toy):
    """`transformers serve --continuous-batching` after somebody else's first request: hot for ever, and no `stop`."""
    server = toy(
        "transformers", model=Endless(), faults={"no_logprobs", "no_n", "ignores_stop", "sticky", "reject_unknown"}
    )
    server.sampling({"temperature": 1.5})
    report = await doctor.examine(subject(server))
    (hot,) = report.problems
    assert hot.check == "temperature"
    assert "temperature 0 draws answers at random" in hot.what
    assert "an earlier request stays" in hot.why
    assert hot.fix
    assert "repeatable" not in {one.check for one in report.findings}
    assert ["`stop` is ignored" in one.what for one in found(report, "stop")] == [True], found(report, "stop")
    assert "`n: 2` gives 1 choice" in found(report, "n")[0].what


@pytest.mark.parametrize(
    ("faults", "severity"), [(set(), "ok"), ({"keeps_stop"}, "warning"), ({"ignores_stop"}, "warning")]
)
async def test_stop_texts_are_judged_though_no_answer_comes_twice(toy, faults, severity):
    report = await doctor.examine(subject(toy("vllm", model=Endless(), faults={"random", *faults})))
    assert severities(report, "stop") == [severity], found(report, "stop")


async def test_fields_that_a_strict_server_refuses(toy):
    """docs/doctor.md advises top_k: -1; a run with it would get a 422 for every item of `transformers serve`."""
    server = toy("transformers", faults={"reject_unknown"})
    for check in (doctor.quick_check, doctor.examine):
        report = await check(subject(server, parameters={"temperature": 0.0, "top_k": -1}))
        (refused,) = report.problems
        assert refused.check == "fields"
        assert "requests with top_k get no answer, and without do" in refused.what
        assert "Unexpected fields" in refused.what
        assert "sampling:" in refused.fix
    assert not (await doctor.examine(subject(server))).problems
    taken = await doctor.examine(subject(toy("vllm"), parameters={"top_k": -1}))
    assert not found(taken, "fields")


async def test_a_list_of_models_that_is_broken_or_of_other_models_is_no_end(toy):
    """`transformers serve` lists the hub's cache: a 500 where there is none, and never a model out of a folder."""
    server = toy("transformers", faults={"no_list"})
    broken = await doctor.quick_check(subject(server))
    assert severities(broken, "reachable") == ["note"]
    assert "its list of models is broken (HTTP 500" in found(broken, "reachable")[0].what
    assert severities(broken, "reply") == ["ok"]
    assert broken.requests == len(server.requests) == 3
    elsewhere = toy("transformers")
    elsewhere.pages["/v1/models"] = b'{"data": [{"id": "org/cached"}]}'
    other = await doctor.quick_check(subject(elsewhere))
    assert severities(other, "model") == ["note"]
    assert "served all the same: another name is refused" in found(other, "model")[0].what
    assert severities(other, "reply") == ["ok"]
    wrong = await doctor.quick_check(subject(elsewhere, model="org/other"))
    assert [one.check for one in wrong.problems] == ["model"]
    dead = toy("transformers", faults={"no_list"}, name="another")
    assert [one.check for one in (await doctor.quick_check(subject(dead))).problems] == ["reachable"]


@pytest.mark.parametrize(
    ("faults", "check", "severity", "words"),
    [
        ({"ignores_stop"}, "stop", "warning", "`stop` is ignored"),
        ({"keeps_stop"}, "stop", "warning", "the stop text is left in the answer"),
        ({"no_n"}, "n", "note", "gives 1 choice"),
        ({"no_logprobs"}, "logprobs", "note", "is ignored"),
        ({"ignores_seed"}, "seed", "note", "the same seed gives different answers"),
        ({"always_greedy"}, "temperature", "warning", "gives the greedy answer each time"),
        ({"random"}, "repeatable", "warning", "does not repeat, even alone"),
        ({"noisy"}, "repeatable", "note", "not among other requests"),
        ({"leaks_template"}, "template", "problem", "<|im_end|>"),
        ({"swallows"}, "reasoning", "problem", "all of it counts as reasoning"),
        ({"thinks_aloud"}, "reasoning", "note", "stands in the answer itself"),
        ({"no_usage"}, "usage", "warning", "do not say how many tokens"),
        ({"reject_unknown"}, "defaults", "note", "does not take top_k, min_p, repetition_penalty"),
    ],
)
async def test_each_fault_is_found(toy, faults, check, severity, words):
    report = await doctor.examine(subject(toy("vllm", faults=faults)))
    assert (severity, True) in [(one.severity.value, words in one.what) for one in found(report, check)], (
        report.findings
    )


async def test_seeds_that_are_lost_among_other_requests(toy):
    """`transformers serve` has one stream of random numbers, and each request that comes in sets its seed."""
    server = toy("vllm")
    draw, seeded = server.draw, []

    def at_once(prompt, body, tokens, seed):
        seeded.append(seed)
        late = sum(one in sampling.SEEDS for one in seeded) > len(sampling.SEEDS) + 1
        return draw(prompt, body, tokens, None if late else seed)

    server.draw = at_once
    report = await doctor.examine(subject(server, parameters={"temperature": 0.6, **NEUTRAL}))
    (finding,) = found(report, "seed")
    assert "repeats the answer alone, and 6 of 6 times not among other requests" in finding.what
    assert (finding.severity, report.facts["seed"]) == (Severity.NOTE, "honoured alone")
    assert finding.fix


async def test_a_sampled_run_takes_ignored_sampling_harder(toy):
    hot = {"temperature": 0.6, **NEUTRAL}
    greedy = await doctor.examine(subject(toy("vllm", faults={"always_greedy"}), parameters=hot))
    assert severities(greedy, "temperature") == ["problem"]
    unseeded = await doctor.examine(subject(toy("vllm", faults={"ignores_seed"}), parameters=hot))
    assert severities(unseeded, "seed") == ["warning"]


@pytest.mark.parametrize(
    ("defaults", "parameters", "severity"),
    [
        ({"top_k": 3}, {"temperature": 0.6}, "warning"),
        ({"top_k": 3}, {}, "note"),
        ({"repetition_penalty": 1.5}, {}, "warning"),
        ({"top_k": 3}, {"temperature": 0.6, **NEUTRAL}, "ok"),
        ({}, {"temperature": 0.6}, "ok"),
    ],
)
async def test_server_defaults_show_in_the_answers(toy, defaults, parameters, severity):
    report = await doctor.examine(subject(toy("vllm", defaults=defaults), parameters=parameters))
    assert severities(report, "defaults") == [severity], found(report, "defaults")


async def test_llama_cpp_tells_its_defaults_itself(toy):
    report = await doctor.examine(subject(toy("llama.cpp"), parameters={"temperature": 0.5, "min_p": 0.0}))
    (finding,) = found(report, "defaults")
    assert finding.severity is Severity.WARNING
    assert "fills top_k 40 where requests leave it unset" in finding.what


@pytest.mark.parametrize(
    ("template", "words"),
    [("plain", "there are hardly any marks of a chat around it"), (None, "a longer message does not reach the model")],
)
async def test_templates_that_lose_what_is_asked(toy, template, words):
    class Literal(Model):
        def prompt(self, messages):
            return [5, 6, 7, 8, 9, 10]

    report = await doctor.examine(subject(toy("vllm", model=Model(template=template) if template else Literal())))
    assert any(words in one.what for one in found(report, "template")), found(report, "template")


async def test_a_broken_model_is_seen_by_its_answer(toy):
    class Stuck(Model):
        def logprobs(self, ids):
            values = super().logprobs(ids).copy()
            values[:] = -9.0
            values[20] = -0.1
            return values

    report = await doctor.quick_check(subject(toy("vllm", model=Stuck())))
    assert any("one word over and over" in one.what for one in report.problems)


async def test_room_for_answers_and_prompts(toy):
    server = toy("vllm", context=4096)
    suites = (
        SuiteNeeds("aime24", max_tokens=38_912),
        SuiteNeeds("musr", max_tokens=4_000, longest_prompt_characters=9_000),
        SuiteNeeds("mmlu", max_tokens=64, longest_prompt_characters=9_000),
    )
    report = await doctor.quick_check(subject(server, suites=suites))
    told = {one.what.partition(":")[0]: one.severity.value for one in found(report, "max_tokens")}
    assert told == {"aime24": "problem", "musr": "warning"}
    configured = await doctor.quick_check(subject(server, parameters={"max_tokens": 5_000}))
    assert severities(configured, "max_tokens") == ["problem"]


async def test_another_model_and_no_server_end_it_early(toy, unused_tcp_port):
    server = toy("vllm")
    report = await doctor.examine(subject(server, model="other"))
    assert [one.check for one in report.problems] == ["model"]
    assert "it serves 'toy'" in report.problems[0].what
    assert len(server.requests) == report.requests == 2, "one for the name, and one for a name that nothing has"
    settings = ClientSettings((f"http://127.0.0.1:{unused_tcp_port}/v1",), "toy")
    down = await doctor.examine(Subject("down", settings))
    assert [one.check for one in down.findings] == ["reachable"]
    assert "start the server" in down.problems[0].fix


def several(*urls, **more):
    settings = ClientSettings(urls, more.pop("model", "toy"), stall_seconds=5.0, connect_seconds=2.0)
    return Subject("ref", settings, **more)


async def test_one_address_of_several_may_be_gone(toy, unused_tcp_port):
    gone, server = f"http://127.0.0.1:{unused_tcp_port}/v1", toy("vllm")
    report = await doctor.quick_check(several(gone, server.url))
    assert (severities(report, "addresses"), severities(report, "reply")) == (["warning"], ["ok"])
    assert gone in found(report, "addresses")[0].what
    assert report.problems == ()
    assert report.urls == (gone, server.url)
    both = await doctor.quick_check(several(gone, gone + "/"))
    assert [one.check for one in both.findings] == ["reachable"]


async def test_all_addresses_serve_the_model_and_with_the_same_software(toy):
    one, same, other = toy("vllm"), toy("vllm"), toy("vllm", name="other")
    alike = await doctor.quick_check(several(one.url, same.url))
    assert found(alike, "addresses") == []
    apart = await doctor.quick_check(several(other.url, one.url))
    (problem,) = found(apart, "addresses")
    assert (problem.severity, "it serves 'other'" in problem.what) == (Severity.PROBLEM, True)
    assert severities(apart, "model") == ["ok"]
    assert [page["model"] for path, page in other.requests if "completions" in path] == []
    mixed = await doctor.quick_check(several(one.url, toy("sglang").url))
    assert "differ in owned_by" in found(mixed, "addresses")[0].what


@pytest.mark.parametrize("examination", [doctor.quick_check, doctor.examine])
async def test_a_server_that_hangs_is_asked_once(serve, examination, monkeypatch):
    """Sixty questions of ten minutes each would be a night."""
    monkeypatch.setattr("evalkit.examine.checks.SLOW_SECONDS", 0.05)
    waits = []
    monkeypatch.setattr("evalkit.examine.checks.announce", waits.append)

    async def behave(request):
        return await (says(b'{"data": [{"id": "toy"}]}') if request.method == "GET" else holds())(request)

    server = await serve(behave)
    report = await examination(Subject("ref", ClientSettings((server.url,), "toy", stall_seconds=0.2)))
    assert [(one.check, one.severity) for one in report.problems] == [("reply", Severity.PROBLEM)]
    assert report.requests == len(waits) == 1
    assert waits[0].startswith("waiting for ref to answer a short question, for 0.2 s at most; the first answer")


async def test_pages_that_hang_are_not_waited_for_as_answers_are(serve, monkeypatch):
    monkeypatch.setattr("evalkit.endpoint.identity.PAGE_SECONDS", 0.1)
    report = await doctor.quick_check(Subject("ref", ClientSettings(((await serve(holds())).url,), "toy")))
    assert [one.what.partition(" sent ")[2] for one in report.problems] == ["nothing for 0.1 s"]


async def test_a_web_page_in_place_of_the_api_is_said_with_its_fix(serve):
    server = await serve(says(b"<!doctype html><title>Welcome</title>"))
    (problem,) = (await doctor.quick_check(subject(server))).problems
    assert "is an HTML page titled 'Welcome'" in problem.what
    assert "base_url" in problem.fix


async def test_a_certificate_that_is_not_trusted_is_no_server_to_be_started(serve):
    server = await serve(says())
    url = server.url.replace("http:", "https:")
    (problem,) = (await doctor.quick_check(Subject("ref", ClientSettings((url,), "toy")))).problems
    assert "does it speak plain http" in problem.what
    assert problem.fix == "correct base_url (http or https), or tls: ca_file"


async def test_a_server_without_a_list_of_models_is_asked_all_the_same(serve):
    body = {"model": "m", "choices": [{"message": {"content": "Yes."}, "finish_reason": "stop"}]}
    body["usage"] = {"prompt_tokens": 9, "completion_tokens": 2}

    async def behave(request):
        answer = says(orjson.dumps(body)) if request.method == "POST" else says(b"{}", 404)
        return await answer(request)

    report = await doctor.quick_check(subject(await serve(behave)))
    assert severities(report, "reachable") == ["note"]
    assert severities(report, "reply") == ["ok"]


@pytest.mark.parametrize(("minutes", "severity"), [(0, "ok"), (10, "warning"), (-600, "warning")])
async def test_a_clock_that_is_off(serve, minutes, severity):
    date = format_datetime(datetime.now(UTC) + timedelta(minutes=minutes), usegmt=True)
    server = await serve(says(b'{"data": [{"id": "toy"}]}', Date=date))
    report = await doctor.quick_check(subject(server))
    assert severities(report, "clock") == [severity]


async def test_a_date_that_is_none_is_no_finding(serve):
    server = await serve(says(b'{"data": [{"id": "toy"}]}', Date="Mon, 99999999999999999999 Jan 2026 00:00:00 GMT"))
    assert severities(await doctor.quick_check(subject(server)), "clock") == []


async def test_a_quick_check_is_quick(toy):
    server = toy("vllm")
    report = await doctor.quick_check(subject(server))
    assert not report.problems
    assert len(server.requests) == report.requests == 2


# ---------------------------------------------------------------- pictures


async def test_a_drawn_word_must_come_back(toy, monkeypatch):
    monkeypatch.setattr(serving, "WORDS", ("COMPASS",))
    monkeypatch.setattr(serving.random, "randint", lambda low, high: 47)
    wanted = (SuiteNeeds("ocrbench", pictures=True),)
    reads = await doctor.examine(subject(toy("vllm", sees="compass 47"), suites=wanted))
    assert severities(reads, "pictures") == ["ok"]
    guesses = await doctor.examine(subject(toy("vllm", sees="a compass"), suites=wanted))
    assert severities(guesses, "pictures") == ["problem"]
    refuses = await doctor.examine(subject(toy("vllm"), suites=wanted))
    assert severities(refuses, "pictures") == ["problem"]
    unasked = await doctor.examine(subject(toy("vllm")))
    assert severities(unasked, "pictures") == ["note"]


def test_the_drawn_word_is_large_and_black_on_white():
    from io import BytesIO

    from PIL import Image

    picture = Image.open(BytesIO(serving.drawn("HARBOUR 12"))).convert("L")
    black = sum(picture.histogram()[:64]) / (picture.width * picture.height)
    assert picture.size == (640, 200)
    assert 0.03 < black < 0.4
    left, _top, right, _bottom = picture.point(lambda value: 255 * (value < 64)).getbbox()
    assert 0 < left < right < picture.width, "nothing is cut off"


# ---------------------------------------------------------------- two stacks


async def two(toy, one, other, check=doctor.quick_check):
    reports = [await check(subject(one, "ref")), await check(subject(other, "cand"))]
    return doctor.between(*reports)


async def test_one_server_under_two_names(toy):
    server = toy("vllm")
    (finding,) = [f for f in await two(toy, server, server) if f.check == "two servers"]
    assert finding.severity is Severity.PROBLEM
    other = toy("vllm")
    assert not [f for f in await two(toy, server, other) if f.check == "two servers"]
    metrics = b"# HELP x\nprocess_start_time_seconds 1.70000012345e+09\n"
    server.pages["/metrics"] = other.pages["/metrics"] = metrics
    (behind,) = [f for f in await two(toy, server, other) if f.check == "two servers"]
    assert "began at the very same moment" in behind.what
    created = b'vllm:late_created{engine="0"} 1.7000009e+09\nhttp_requests_created 1.70000012%de+09\n'
    server.pages["/metrics"], other.pages["/metrics"] = metrics + created % 5671, metrics + created % 5672
    assert not [f for f in await two(toy, server, other) if f.check == "two servers"], "started together, by one script"
    other.pages["/metrics"] = metrics + created % 5671 + b"newer_created 1.7000099e+09\n"
    assert [f for f in await two(toy, server, other) if f.check == "two servers"], "a gateway, later"
    launched = [
        await doctor.quick_check(subject(one, name, launched=True)) for one, name in ((server, "a"), (other, "b"))
    ]
    assert not [f for f in doctor.between(*launched) if f.check == "two servers"], "evalkit started both: they are two"
    in_turn = [await doctor.quick_check(subject(server, name, launched=True)) for name in ("a", "b")]
    assert not [f for f in doctor.between(*in_turn) if f.check == "two servers"], "one port, one after the other"


async def test_stacks_that_differ(toy):
    one = toy("vllm")
    other = toy("vllm", model=Model(template="greeting", noise=1.0), context=2048, faults={"ignores_seed"})
    told = {f.check: f for f in await two(toy, one, other, doctor.examine)}
    assert told["template"].severity is Severity.PROBLEM
    assert re.search(r"of a greeting 6 \| 13", told["template"].what)
    assert told["context"].what == "4096 tokens | 2048 tokens"
    assert told["seed"].what == "honoured | not honoured"
    assert told["greedy reply"].severity is Severity.NOTE
    same = await two(toy, toy("vllm"), toy("vllm"), doctor.examine)
    assert same == ()


# ---------------------------------------------------------------- this machine


def test_the_disk_must_hold_what_is_planned(tmp_path, monkeypatch):
    def disk(free):
        monkeypatch.setattr(checks.shutil, "disk_usage", lambda path: type("U", (), {"free": free})())
        suites = (SuiteNeeds("a", max_tokens=4000, samples=1_000_000),)
        return checks.check_disk(tmp_path / "not" / "there", suites).severity

    assert disk(10**12) is Severity.OK
    assert disk(2 * 10**9) is Severity.WARNING
    assert disk(10**9) is Severity.PROBLEM
    assert disk(10**6) is Severity.PROBLEM


@pytest.mark.parametrize(
    ("needs", "needed"),
    [
        # 1,430 items of MMLU by log-likelihood, four options each, and over chat in a few words.
        (SuiteNeeds("a", max_tokens=1, samples=4 * 1430, items=1430, by_logprobs=True), "0.00 GB"),
        (SuiteNeeds("a", max_tokens=64, samples=1430, items=1430), "0.00 GB"),
        (SuiteNeeds("a", max_tokens=32_768, samples=10_000, items=500), "0.09 GB"),
        (SuiteNeeds("a", max_tokens=32_768, samples=10_000, items=500, logprobs=True), "1.73 GB"),
    ],
)
def test_what_a_suite_takes_on_disk_depends_on_what_is_stored_of_it(tmp_path, needs, needed):
    assert f"about {needed} needed" in checks.check_disk(tmp_path, [needs]).what


def test_missing_data_is_said_by_suite():
    suites = (SuiteNeeds("a"), SuiteNeeds("b", problem="b.jsonl is not there"))
    warning, ok = checks.check_data(suites)
    assert warning.what == "b: b.jsonl is not there"
    assert ok.what == "the data of 1 suite is here"


def test_a_build_that_is_not_told_is_said_so():
    from evalkit.examine.serving import _software

    found = checks.Findings()
    _software(found, {"llama_cpp_build": "b0-unknown"})
    assert [one.what for one in found] == ["llama.cpp (build not told)"]


def test_the_catalogue_has_every_code_that_a_check_says_and_no_other():
    source = "".join(path.read_text() for path in Path(checks.__file__).parent.glob("*.py"))
    said = {code for code in CATALOGUE if f'"{code}"' in source}
    assert said == set(CATALOGUE)
    named = set(re.findall(r'(?:\.say|finding)\(\s*"([^"]+)"', source))
    assert len(named) > 40
    assert named <= CATALOGUE.keys()


@pytest.mark.parametrize("code", sorted(CATALOGUE.keys() - {"failed"}))
def test_a_finding_that_is_amiss_says_what_and_why(code):
    told = CATALOGUE[code]
    assert told.keys() <= {"severity", "what", "why", "fix"}
    assert told["what"]
    severity = Severity(told.get("severity", "ok"))
    assert severity not in {Severity.PROBLEM, Severity.WARNING} or told["why"]
    assert severity is not Severity.PROBLEM or told["fix"]


def test_the_fixes_of_failures_are_for_kinds_that_there_are():
    assert CATALOGUE["failed"].keys() <= {*FailureKind, "tls"}
