"""`evalkit passport` as a user meets it: made once, shown, and in the reference's place of probe and contract."""

import json

import pytest
from toy import Model

SMALL = ("--prompts", "14", "--tokens", "30", "--greedy", "3")


@pytest.fixture
def made(toy, files, run_evalkit, tmp_path):
    """A passport whose reference is gone, in a folder of its own."""
    server = toy("vllm")
    file = tmp_path / "kept" / "ref.evalkit"
    done = run_evalkit("passport", "make", files("ref", server), *SMALL, "-o", file)
    assert done.returncode == 0, done.stderr
    server.close()
    return file


def test_it_is_made_shown_and_stands_for_the_reference(made, toy, files, run_evalkit, tmp_path):
    shown = run_evalkit("passport", "show", made)
    assert shown.returncode == 0
    for part in ("ref: toy", "14 texts, 347 tokens", "k3 0.004", "of 40 promises", "sha256 "):
        assert part in shown.stdout
    told = json.loads(run_evalkit("passport", "show", made, "--json").stdout)
    assert (told["kind"], told["name"], told["scope"]["margins_nats"]["k3"]) == ("passport", "ref", 0.004)
    good, bad = files("good", toy("vllm")), files("bad", toy("vllm", model=Model(noise=0.4)))
    done = run_evalkit("probe", made, good, "--enough")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the reference was not up to score the texts that the candidate wrote" in " ".join(done.stdout.split())
    stored = json.loads((tmp_path / "runs" / "ref--good" / "probe.json").read_bytes())
    assert (stored["passport"], stored["looks"]) == (told["sha256"], [14 * 30])
    done = run_evalkit("probe", made, bad, "--json", "--out", tmp_path / "elsewhere")
    assert done.returncode == 1
    assert json.loads(done.stdout)["verdict"] == "DEGRADED"
    assert (tmp_path / "elsewhere" / "probe.json").is_file()


def test_the_contract_is_held_against_it(made, toy, files, run_evalkit, tmp_path):
    done = run_evalkit("contract", made, files("cand", toy("vllm", faults={"ignores_stop"}), build="b2"), "--json")
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert "stop" in " ".join(one["suite"] for one in found["suites"] if one["verdict"] == "DEGRADED")
    assert [(one["key"], one["candidate"]) for one in found["differences"]] == [("build", "b2")]
    assert (tmp_path / "runs" / "ref--cand" / "contract" / "comparison.json").is_file()
    again = run_evalkit("contract", made, files("same", toy("vllm")))
    assert again.returncode == 0, again.stdout


def test_another_template_is_refused_by_name(made, toy, files, run_evalkit):
    done = run_evalkit("probe", made, files("cand", toy("vllm", model=Model(template="greeting"))))
    assert done.returncode == 3
    assert "cand: has another chat template than the reference of" in done.stderr
    assert "14 of 14 prompts are other tokens there, the first from token 1 on" in " ".join(done.stderr.split())


def test_one_changed_byte_is_refused_by_name(made, toy, files, run_evalkit):
    data = bytearray(made.read_bytes())
    data[len(data) // 2] ^= 1
    made.write_bytes(data)
    server = toy("vllm")
    for command in (("passport", "show"), ("probe",), ("contract",)):
        candidate = () if command[0] == "passport" else (files("cand", server),)
        done = run_evalkit(*command, made, *candidate)
        assert done.returncode == 2, command
        assert f"{made}: was changed or cut off after it was made" in " ".join(done.stderr.split()).replace("\n", "")
    assert server.requests == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("probe", "PASSPORT", "CAND", "--prompts", "10"), "--prompts: has no effect on a passport"),
        (("probe", "PASSPORT", "CAND", "--noise", "CAND"), "--noise: has no effect on a passport"),
        (("contract", "PASSPORT", "CAND", "--seed", "3"), "--seed: has no effect on a passport"),
        (("contract", "PASSPORT"), "is a passport, which nothing is asked of: name the candidate's file"),
        (
            ("compare", "PASSPORT", "CAND"),
            "is a passport: `evalkit probe` and `contract` take one in the reference's place; name its run",
        ),
        (("probe", "CAND", "PASSPORT"), "is a passport: `evalkit probe` and `contract` take one"),
        (("doctor", "PASSPORT"), "is a passport: `evalkit probe` and `contract` take one"),
        (("passport", "show", "CAND"), "is no passport: `evalkit passport make` writes one"),
        (("passport", "show", "absent.evalkit"), "absent.evalkit: cannot be read: No such file"),
        (("passport", "make", "CAND", "-o", "ref.zip"), "--out: ref.zip: a passport's name ends in .evalkit"),
        (("passport", "make", "CAND", "--prompts", "65"), "'--prompts': 65 is not in the range"),
    ],
)
def test_mistakes_are_told_in_one_sentence(made, toy, files, run_evalkit, arguments, said):
    server = toy("vllm")
    names = {"PASSPORT": made, "CAND": files("cand", server)}
    done = run_evalkit(*(names.get(one, one) for one in arguments))
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in " ".join(done.stderr.split())
    assert server.requests == []


def test_a_reference_that_cannot_score_tokens_has_no_passport(toy, files, run_evalkit, tmp_path):
    done = run_evalkit("passport", "make", files("ref", toy("transformers")), *SMALL, cwd=tmp_path)
    assert done.returncode == 3
    assert "ref: the fidelity probe is not supported by" in done.stderr
    assert not list(tmp_path.glob("*.evalkit"))


def test_it_is_written_here_under_the_references_name_with_a_second_serving(toy, files, run_evalkit, tmp_path):
    second = files("again", toy("vllm", model=Model(noise=0.08)))
    more = {"suites": [{"name": "aime24", "partial_data": True}], "data": str(tmp_path / "nothing")}
    done = run_evalkit("passport", "make", files("ref", toy("vllm"), **more), *SMALL, "--beside", second, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "served a second way" in done.stdout
    assert "how the suites draw is left out: " in " ".join(done.stderr.split())
    assert (tmp_path / "ref.evalkit").is_file()
