"""A comparison in rounds as a user runs it: it stops where it is decided, goes on where it was, and is never longer."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading

import commands
import pytest

from evalkit.run import journal, manifest, records

SUITES = [
    {"name": "mmlu_gen_5shot", "repeats": 4, "partial_data": True, "margin_pt": 20},
    {"name": "aime24", "repeats": 8, "partial_data": True, "margin_pt": 25},
]
SAMPLED = {"temperature": 0.7}


def luck(body, side=""):
    """A number that follows from question, seed and side: a server that samples, and says the same again."""
    text = f"{side}|{body['seed']}|{body['messages'][-1]['content']}"
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % 1000


def sampling_server(server, chance, side=""):
    """Has a server give the right answer with this chance, anew for each repeat."""

    def answered(body, _number):
        right = re.findall(r"\(hint (\w+)\)", body["messages"][-1]["content"])[-1]
        wrong = "0" if right.isdigit() else "ABCD"["ABCD".index(right) - 1]
        given = right if luck(body, side) < 1000 * chance else wrong
        text = f"\\boxed{{{given}}}" if right.isdigit() else f"Answer: {given}"
        message = {"role": "assistant", "content": text}
        usage = {"prompt_tokens": 9, "completion_tokens": 7}
        return 200, {"model": "loopback", "choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}

    server.spoil = answered


@pytest.fixture
def two(endpoint, other_endpoint, config):
    """Two files whose servers sample: (reference, candidate)."""
    sampling_server(endpoint, 0.7, "one")
    sampling_server(other_endpoint, 0.7, "two")
    return [
        config(name, server.url, SUITES, sampling=SAMPLED, overall={"margin_pt": 15})
        for name, server in (("ref", endpoint), ("cand", other_endpoint))
    ]


QUICK = ("--rounds", 4, "--no-doctor", "--no-probe")


def verdict_of(done):
    """Verdict, exit code and look of a comparison printed as JSON."""
    document = json.loads(done.stdout)
    return document["verdict"], document["exit_code"], document["rounds"]["look"]


def test_equal_servers_are_asked_until_that_is_shown_and_no_further(
    two, endpoint, other_endpoint, run_evalkit, tmp_path
):
    junit = tmp_path / "junit.xml"
    done = run_evalkit("compare", *two, *QUICK, "--junit", junit)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "look 2 of 4" in " ".join(done.stdout.split())
    assert "look 1 of 4: INCONCLUSIVE, alpha left 0.0" in done.stderr
    assert '<property name="look" value="2 of 4" />' in junit.read_text()
    assert len(endpoint.requests) == len(other_endpoint.requests) == 60 * 2 + 30 * 4
    document = json.loads((tmp_path / "runs" / "ref--cand" / "comparison.json").read_text())
    assert document["rounds"]["decided"] == {"mmlu_gen_5shot": 2, "aime24": 2}
    assert [suite["coverage"] for suite in document["suites"]] == [1.0, 1.0], "what was not asked yet is not missing"
    assert document["macro"]["ci90"]["level"] > 0.95


def test_what_is_stored_is_looked_at_again_from_the_first_look_and_nothing_is_asked(
    two, endpoint, other_endpoint, run_evalkit, tmp_path
):
    first = run_evalkit("compare", *two, *QUICK, "--json")
    before = len(endpoint.requests), len(other_endpoint.requests)
    for again in (two, [tmp_path / "runs" / name for name in ("ref", "cand")]):
        more = ("--stored",) if again is two else ()
        done = run_evalkit("compare", *again, "--json", *more)
        assert verdict_of(done) == verdict_of(first) == ("EQUIVALENT", 0, 2), done.stderr
    assert (len(endpoint.requests), len(other_endpoint.requests)) == before
    alone = manifest.latest(tmp_path / "runs" / "cand")
    assert alone.part.rounds == {"mmlu_gen_5shot": 2, "aime24": 2}


def test_a_worse_server_is_asked_one_round(two, endpoint, other_endpoint, run_evalkit):
    sampling_server(endpoint, 0.9, "one")
    sampling_server(other_endpoint, 0.3, "two")
    done = run_evalkit("compare", *two, *QUICK, "--json")
    assert verdict_of(done) == ("DEGRADED", 1, 1), done.stderr
    assert len(endpoint.requests) == 60 + 30 * 2


def test_an_open_comparison_may_stop_early_goes_on_later_and_is_never_made_longer(
    two, endpoint, other_endpoint, config, run_evalkit
):
    narrow = ("--margin", 3, "--no-doctor", "--no-probe", "--stored")
    early = run_evalkit("compare", *two, "--rounds", 4, *narrow)
    assert early.returncode == 4
    assert "a new comparison of new answers" in " ".join(early.stdout.split())
    whole = len(endpoint.requests)
    assert whole == 60 * 4 + 30 * 8
    fewer = run_evalkit("compare", *two, "--rounds", 2, *narrow, "--json")
    assert verdict_of(fewer) == ("INCONCLUSIVE", 4, 2)
    assert "needed.round" in fewer.stdout
    longer = run_evalkit("compare", *two, "--rounds", 6, *narrow)
    assert longer.returncode == 2
    assert "--rounds 6:" in longer.stderr
    assert "fixed 4 rounds before the first look" in longer.stderr
    more = [{**SUITES[0], "repeats": 6}, SUITES[1]]
    for server, name in ((endpoint, "ref"), (other_endpoint, "cand")):
        config(name, server.url, more, sampling=SAMPLED)
    refused = run_evalkit("compare", *two, *narrow)
    assert refused.returncode == 2
    assert "before the first look: mmlu_gen_5shot 240 and 240, now 360 and 360: " in refused.stderr
    assert len(endpoint.requests) == whole


def test_a_damaged_design_does_not_let_the_looks_begin_anew(two, endpoint, run_evalkit, tmp_path):
    narrow = ("--margin", 3, "--no-doctor", "--no-probe", "--stored")
    assert run_evalkit("compare", *two, "--rounds", 4, *narrow).returncode == 4
    asked, design = len(endpoint.requests), tmp_path / "runs" / "ref--cand" / "rounds.json"
    design.write_bytes(design.read_bytes()[:40])
    for sides in (two, [tmp_path / "runs" / name for name in ("ref", "cand")]):
        more = narrow if sides is two else ("--margin", 3)
        refused = run_evalkit("compare", *sides, *more)
        assert refused.returncode == 2, refused.stdout
        assert "rounds.json: cannot be read" in refused.stderr
        assert "--again" in refused.stderr
    assert len(endpoint.requests) == asked


def test_no_other_door_judges_looked_at_answers_once_more(two, endpoint, other_endpoint, config, run_evalkit, tmp_path):
    narrow = ("--margin", 3, "--no-doctor", "--no-probe", "--stored")
    assert run_evalkit("compare", *two, "--rounds", 4, *narrow).returncode == 4
    whole, runs = len(endpoint.requests), [tmp_path / "runs" / name for name in ("ref", "cand")]

    def write(suites):
        for server, name in ((endpoint, "ref"), (other_endpoint, "cand")):
            config(name, server.url, suites, sampling=SAMPLED)

    def refused(sides, told, *more):
        done = run_evalkit("compare", *sides, *more)
        assert done.returncode == 2, done.stdout
        for words in ("rounds.json fixed the answers of both sides before the first look", told, "--again"):
            assert words in done.stderr

    write([SUITES[0], {**SUITES[1], "repeats": 6}])
    refused(two, "aime24 240 and 240, now 180 and 180", *narrow)
    write(SUITES[:1])
    refused(two, "aime24 240 and 240, now none", *narrow)
    assert len(endpoint.requests) == whole
    write([{**SUITES[0], "repeats": 6}, SUITES[1]])
    for side in two:
        assert run_evalkit("run", side, "--quiet").returncode == 0
        refused((runs[0], two[1]), "mmlu_gen_5shot 240 and 240, now 360 and", *narrow)
    refused(runs, "mmlu_gen_5shot 240 and 240, now 360 and 360", "--margin", 3)
    refused(runs, "mmlu_gen_5shot 240 and 240, now 360 and 360", "--out", tmp_path / "other")
    elsewhere = [shutil.copytree(run, tmp_path / "elsewhere" / run.name) for run in runs]
    noted = run_evalkit("compare", *elsewhere)
    assert "answers of cand were looked at before" in " ".join((noted.stdout + noted.stderr).split())
    write(SUITES)
    assert run_evalkit("compare", *two, *narrow, "--json").returncode == 4, "the comparison as it was fixed"


def test_answers_that_are_new_are_no_second_look(two, other_endpoint, config, run_evalkit):
    narrow = ("--margin", 3, "--no-doctor", "--no-probe", "--stored")
    assert run_evalkit("compare", *two, "--rounds", 4, *narrow).returncode == 4
    config("cand", other_endpoint.url, SUITES, sampling=SAMPLED, build="another")
    done = run_evalkit("compare", *two, *narrow, "--rounds", 2, "--json")
    assert json.loads(done.stdout)["rounds"]["most"] == 2, done.stderr
    assert "note.looked" not in done.stdout
    config("cand", other_endpoint.url, SUITES, sampling=SAMPLED)
    assert run_evalkit("compare", *two, *narrow).returncode == 2, "these were looked at"


def test_one_suite_after_another_is_fixed_by_itself_and_not_forgotten(
    two, endpoint, other_endpoint, config, run_evalkit
):
    narrow = ("--margin", 3, "--no-doctor", "--no-probe", "--stored", "--rounds", 2)
    for suites, code in ((SUITES[:1], 4), (SUITES[1:], 4), ([{**SUITES[0], "repeats": 6}], 2), (SUITES, 2)):
        for server, name in ((endpoint, "ref"), (other_endpoint, "cand")):
            config(name, server.url, suites, sampling=SAMPLED)
        done = run_evalkit("compare", *two, *narrow)
        assert done.returncode == code, done.stderr
        assert code == 4 or "aime24 240 and 240, now none" in done.stderr or "mmlu_gen_5shot none, now" in done.stderr


def test_a_bank_is_whole_at_every_look_and_only_the_candidate_is_asked_in_rounds(
    two, endpoint, other_endpoint, run_evalkit, tmp_path
):
    assert run_evalkit("run", two[0], "--quiet").returncode == 0
    before = len(endpoint.requests)
    for reference in (two[0], tmp_path / "runs" / "ref"):
        done = run_evalkit("compare", reference, two[1], *QUICK, "--stored", "--json")
        assert done.returncode == 0, done.stderr
        suite = json.loads(done.stdout)["suites"][0]
        assert (suite["k_reference"], suite["coverage"]) == (4, 1.0)
        assert suite["k_candidate"] < 4
    assert len(endpoint.requests) == before
    assert len(other_endpoint.requests) < before


def test_what_two_looks_find_invalid_is_asked_no_further(two, endpoint, other_endpoint, run_evalkit):
    sampling_server(other_endpoint, 0.05, "two")  # far below chance
    done = run_evalkit("compare", *two, *QUICK, "--json")
    assert verdict_of(done) == ("INVALID", 3, 2), done.stderr


def test_a_pack_that_samples_is_asked_in_its_rounds_and_a_list_of_suites_at_once(
    two, endpoint, other_endpoint, config, run_evalkit, tmp_path
):
    done = run_evalkit("compare", *two, "--no-doctor", "--no-probe", "--json")
    assert json.loads(done.stdout)["rounds"] is None
    assert not (tmp_path / "runs" / "ref--cand" / "rounds.json").exists()
    (tmp_path / "mine" / "packs").mkdir(parents=True)
    pack = {"overall": {"margin_pt": 15}, "rounds": 2, "suites": SUITES}
    (tmp_path / "mine" / "packs" / "two.yaml").write_text(json.dumps(pack))
    for server, name in ((endpoint, "one"), (other_endpoint, "other")):
        path = config(name, server.url, (), sampling=SAMPLED, pack="two", suite_folders=[str(tmp_path / "mine")])
        two.append(path)
    done = run_evalkit("compare", *two[2:], "--no-doctor", "--no-probe", "--json")
    assert json.loads(done.stdout)["rounds"]["most"] == 2, done.stderr


def test_a_number_of_rounds_that_is_none_is_refused(two, run_evalkit, endpoint, tmp_path):
    for more, told in ((["0"], "must be from 1 to 20, not 0"), (["3", "--rerun-on-fail"], "a night has two looks")):
        wrong = run_evalkit("compare", *two, "--rounds", *more)
        assert wrong.returncode == 2
        assert told in wrong.stderr
    assert not endpoint.requests


@pytest.mark.slow
@pytest.mark.parametrize("at", [75, 130, 200])
def test_kill_9_inside_and_between_rounds_changes_no_verdict_and_asks_nothing_twice(
    two, endpoint, other_endpoint, run_evalkit, tmp_path, at
):
    arguments = [*map(str, two), *map(str, QUICK), "--stored", "--json"]
    reached, answered = threading.Event(), other_endpoint.spoil

    def until(body, number):
        if number >= at:
            reached.set()
            threading.Event().wait(60)
        return answered(body, number)

    other_endpoint.spoil = until
    child = subprocess.Popen(
        [sys.executable, "-m", "evalkit", "compare", *arguments],
        env=commands.surroundings(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert reached.wait(120)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    runs = tmp_path / "runs"
    kept = {name: journal.index(runs / name).replies.keys() for name in ("ref", "cand")}
    other_endpoint.spoil = answered
    done = run_evalkit("compare", *two, *QUICK, "--stored", "--json")
    assert verdict_of(done) == ("EQUIVALENT", 0, 2), done.stderr
    for name, before in kept.items():
        replies = [
            record.key
            for path in journal.files(runs / name)
            for _offset, record in records.read_records(path)
            if isinstance(record, records.ReplyRecord)
        ]
        assert len(replies) == len(set(replies)) == 60 * 2 + 30 * 4, "nothing that was kept is asked again"
        assert before <= set(replies)
