"""What a serving program does wrong, whatever the model is worth, is found on real servers and said by its name."""

import hashlib
import json
import random
import re
import threading

import pytest

SUITE = {"name": "mmlu_gen_5shot", "partial_data": True, "margin_pt": 20}
SYLLABLES = ("kal", "mor", "tis", "ven", "dru", "ano", "ebi", "uro", "ilo", "spe", "qui", "zan", "hol", "ret", "fum")


def invented_words(seed, count):
    rng = random.Random(seed)
    return ["".join(rng.choices(SYLLABLES, k=3)) for _ in range(count)]


@pytest.fixture
def topics(tmp_path):
    """MMLU with 120 questions that have words of their own."""
    folder = tmp_path / "topics" / "mmlu"
    folder.mkdir(parents=True)
    for split, count in (("test", 40), ("dev", 5)):
        rows = [
            {
                "question": f"{' '.join(invented_words(f'{subject}{split}{n}', 6))}? (hint {'ABCD'[n % 4]})",
                "subject": subject,
                "choices": [f"{letter}{n}" for letter in "ABCD"],
                "answer": n % 4,
            }
            for subject in ("anatomy", "astronomy", "virology")
            for n in range(count)
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder.parent


def asked(messages):
    return re.findall(r"([a-z ]+)\? \(hint (\w)\)", messages[-1]["content"])[-1]


def number_of(messages):
    return int(hashlib.sha256(asked(messages)[0].encode()).hexdigest(), 16)


def explains(messages):
    words, letter = asked(messages)
    given = letter if number_of(messages) % 5 else "A"
    return f"As {words} and {' '.join(invented_words(words, 12))} show:\n\nAnswer: {given}"


class Mixer:
    """Gives two requests that it has in hand each other's replies, so many times."""

    def __init__(self, pairs):
        self._left, self._lock, self._waiting = pairs, threading.Lock(), None

    def __call__(self, messages):
        own = explains(messages)
        if number_of(messages) % 5 == 0:
            return own
        with self._lock:
            if self._waiting is not None:
                slot, self._waiting = self._waiting, None
                slot["reply"], own = own, slot["own"]
                slot["there"].set()
                return own
            if not self._left:
                return own
            self._left -= 1
            slot = self._waiting = {"own": own, "there": threading.Event()}
        return slot["reply"] if slot["there"].wait(10) else own


def told(done):
    return " ".join((done.stdout + done.stderr).split())


def test_requests_that_a_server_mixes_up(endpoint, other_endpoint, config, topics, run_evalkit, tmp_path):
    endpoint.answer, other_endpoint.answer = explains, Mixer(9)
    ref, cand = (
        config(name, one.url, [SUITE], data=str(topics)) for name, one in (("ref", endpoint), ("cand", other_endpoint))
    )
    done = run_evalkit("compare", ref, cand, "--junit", tmp_path / "junit.xml", "--json")
    (suite,) = json.loads(done.stdout)["suites"]
    (row,) = [row for row in suite["behaviour"] if row["name"] == "crossed_answers"]
    (part,) = row["alert"]["values"]["parts"]
    assert part["values"]["side"] == "candidate"
    assert part["values"]["n"] == 18
    assert (row["reference"], row["candidate"]) == (0.0, part["values"]["n"] / 120)
    shown = run_evalkit("report", tmp_path / "runs" / "ref--cand", "--format", "terminal")
    assert "belong to other questions in flight at the time: " in told(shown)
    assert "RoPE" not in told(done) + told(shown)
    assert "the server mixes requests up" in " ".join((tmp_path / "junit.xml").read_text().split())
    chinese = run_evalkit("report", tmp_path / "runs" / "ref--cand", "--format", "markdown", "--language", "zh")
    assert "服务程序混淆了请求" in chinese.stdout


def test_one_reply_that_is_no_text(endpoint, other_endpoint, config, topics, run_evalkit):
    first = threading.Lock()

    def once(messages):
        return "!" * 64 if first.acquire(blocking=False) else explains(messages)

    endpoint.answer, other_endpoint.answer = explains, once
    ref, cand = (
        config(name, one.url, [SUITE], data=str(topics)) for name, one in (("ref", endpoint), ("cand", other_endpoint))
    )
    done = run_evalkit("compare", ref, cand)
    assert "1 of 120 replies of the candidate are no text:" in told(done)
    assert "(one character again and again)" in told(done)


def test_one_replica_of_two(endpoint, other_endpoint, make_endpoint, config, topics, run_evalkit):
    broken = make_endpoint()
    endpoint.answer = other_endpoint.answer = explains
    broken.answer = lambda messages: f"{explains(messages)[:-1]}{'BCDA'['ABCD'.index(asked(messages)[1])]}"
    ref = config("ref", endpoint.url, [SUITE], data=str(topics))
    cand = config("cand", None, [SUITE], data=str(topics), base_urls=[other_endpoint.url, broken.url])
    done = run_evalkit("compare", ref, cand)
    assert re.search(
        rf"of the candidate, (\d+) of \1 answers scored below the other side came from {broken.url}", told(done)
    )
    again = run_evalkit("compare", ref, cand)
    assert f"came from {broken.url}" in told(again)


def test_an_error_message_that_comes_as_a_good_reply(endpoint, other_endpoint, config, topics, run_evalkit):
    def out_of_memory(messages):
        return "Internal server error: CUDA out of memory." if number_of(messages) % 5 == 1 else explains(messages)

    endpoint.answer, other_endpoint.answer = explains, out_of_memory
    ref, cand = (
        config(name, one.url, [SUITE], data=str(topics)) for name, one in (("ref", endpoint), ("cand", other_endpoint))
    )
    done = run_evalkit("compare", ref, cand)
    assert re.search(r"the candidate says one sentence to \d\d of 120 questions and loses by it, first", told(done))
    assert '"Internal server error: CUDA out of memory."' in told(done)
