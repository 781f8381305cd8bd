"""Pictures and endpoints that go wrong: counted, said in a sentence, never lost, never sent twice without need."""

import json
import struct
import zlib

import picture_endpoint as own
import pytest
from PIL import Image
from reasons import told_in
from stored_run import journal_records

REFUSAL = {"error": {"message": "At most 3 image(s) may be provided in one prompt.", "code": 400}}


def number_in(received):
    """The number of the row; 1 for the preflight's question, which belongs to none."""
    hint = own.hint_of(own.words(received))
    return int(hint[1:]) if hint != "?" else 1


def bomb():
    """A PNG of 100 bytes that claims 60,000 x 60,000 pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 20)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def test_spoilt_pictures_are_counted_failures(endpoint, other_endpoint, config, invoke, ocrbench, tmp_path):
    whole = own.saved(own.colour(1).resize((200, 200)))
    spoilt = {
        1: None,  # the file is not there
        2: whole[: len(whole) // 2],
        3: bomb(),
        4: own.saved(Image.new("1", (100_000, 1))),
        5: b"<html>404</html>",
        6: b"",
    }
    data = ocrbench(30, spoilt)
    done = invoke("run", config("ref", endpoint.url, ["ocrbench"], data), "--json", "--quiet")
    assert done.code == 3
    (suite,) = json.loads(done.out)["suites"]
    assert (suite["valued"], suite["failures"], suite["mean"]) == (24, {"image": 6}, pytest.approx(1.0))
    assert len(endpoint.asked) == 24
    records = journal_records(tmp_path / "runs/ref")
    said = " | ".join(record["detail"] for record in records if record["record"] == "failure")
    for words in ("cannot be read", "truncated or damaged", "3600000000 pixels", "100000 x 1", "are not a picture"):
        assert words in said, words
    candidate = config("cand", other_endpoint.url, ["ocrbench"], data)
    done = invoke("compare", tmp_path / "ref.yaml", candidate, "--json", "--quiet")
    assert done.code == 3
    (result,) = json.loads(done.out)["suites"]
    assert (result["verdict"], result["n_items"]) == ("INVALID", 24)


def test_one_failed_request_of_sixty_withholds_the_verdict(
    endpoint, other_endpoint, config, invoke, ocrbench, tmp_path
):
    data = ocrbench(60)
    refuse = (400, {"error": {"message": "no"}})
    wrong = [f"hint w{n})" for n in (1, 2, 3)]
    for server in (endpoint, other_endpoint):
        server.answer = lambda text: "nothing" if any(w in text for w in wrong) else own.hint_of(text)
    other_endpoint.spoil = lambda received, number: refuse if "hint w7)" in own.words(received) else None
    suite = {"name": "ocrbench", "partial_data": True, "margin_pt": 10}
    ref, cand = (
        config(name, server.url, [suite], data) for name, server in (("ref", endpoint), ("cand", other_endpoint))
    )
    done = invoke("compare", ref, cand, "--json", "--quiet")
    assert done.code == 3
    (result,) = json.loads(done.out)["suites"]
    assert result["verdict"] == "INVALID"
    assert any("cand: 1 of 60 requests have no answer" in reason for reason in told_in(result["reasons"]))
    other_endpoint.spoil = lambda received, number: None
    done = invoke("compare", ref, cand, "--json", "--quiet", "--stored")
    assert (done.code, json.loads(done.out)["suites"][0]["verdict"]) == (0, "EQUIVALENT")
    assert len(endpoint.asked) == 60
    assert len(other_endpoint.asked) == 61, "only the missing one is asked again"
    again = invoke("compare", ref, cand, "--json", "--quiet")
    assert "of the stored answers of ref, 12 were asked for again" in again.err, "with their pictures"
    assert len(endpoint.asked) == 84


def test_resume_sends_no_picture_that_was_answered(endpoint, config, invoke, ocrbench):
    path = config("ref", endpoint.url, ["ocrbench"], ocrbench(24))
    endpoint.spoil = lambda received, number: (422, {}) if number_in(received) % 3 == 0 else None
    assert invoke("run", path, "--quiet").code == 3
    answered = {own.pictures(one)[0] for one in endpoint.asked if number_in(one) % 3}
    assert len(answered) == 16
    endpoint.spoil = lambda received, number: None
    before = len(endpoint.asked)
    assert invoke("run", path, "--stored", "--quiet").code == 0
    again = [own.pictures(one)[0] for one in endpoint.asked[before:]]
    assert len(again) == len(set(again)) == 8
    assert not answered & set(again)
    preflights = len(endpoint.preflight)
    assert invoke("run", path, "--quiet").code == 0
    assert (len(endpoint.asked), len(endpoint.preflight)) == (before + 8, preflights), "a whole run asks nothing"


def test_faults_lose_nothing(endpoint, config, invoke, ocrbench, tmp_path):
    faults = [(500, {}), "drop", (429, {}), (503, {}), (200, {"choices": []})]
    seen = {}

    def spoil(received, number):
        words = own.words(received)
        seen[words] = seen.get(words, 0) + 1
        return faults[len(words + str(number)) % 5] if seen[words] <= 1 + number % 2 else None

    endpoint.spoil = spoil
    done = invoke("run", config("ref", endpoint.url, ["ocrbench"], ocrbench(24)), "--json", "--quiet")
    assert done.code == 0, done.err
    (suite,) = json.loads(done.out)["suites"]
    assert (suite["valued"], suite["mean"]) == (24, pytest.approx(1.0))
    received = own.reported(tmp_path / "runs" / "ref")
    assert len(received) == 24
    assert {own.pictures(one)[0] for one in received.values()} == {own.pixels_of(own.colour(n)) for n in range(24)}


def test_both_sides_share_every_encoding(endpoint, other_endpoint, config, invoke, ocrbench, monkeypatch):
    from evalkit.endpoint import images

    encoded = []
    real = images.encode
    monkeypatch.setattr(images, "encode", lambda source, limit=None: (encoded.append(source), real(source, limit))[1])
    data = ocrbench(24)
    ref, cand = config("ref", endpoint.url, ["ocrbench"], data), config("cand", other_endpoint.url, ["ocrbench"], data)
    invoke("compare", ref, cand, "--quiet")
    assert len(encoded) == 24
    key = own.words
    assert sorted(endpoint.asked, key=key) == sorted(other_endpoint.asked, key=key)


def seven(tmp_path):
    folder = tmp_path / "data" / "mmmu"
    folder.mkdir(parents=True)
    rows = []
    for n in range(3):
        row = {"id": f"validation_Math_{n}", "question": "All? (hint A)", "options": "['a', 'b']", "answer": "A"}
        row["question_type"] = "multiple-choice"
        for k in range(1, 8 if n == 1 else 2):
            row[f"image_{k}"] = f"{k}.png"
            (folder / f"{k}.png").write_bytes(own.saved(own.colour(k)))
        rows.append(row)
    (folder / "validation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_lower_limit_is_found_beforehand_and_other_suites_run(endpoint, config, invoke, ocrbench, tmp_path):
    data = ocrbench(2)
    seven(tmp_path)
    endpoint.spoil = lambda received, number: (400, REFUSAL) if len(own.pictures(received)) > 3 else None
    done = invoke("run", config("ref", endpoint.url, ["mmmu", "ocrbench"], data), "--json", "--quiet")
    assert done.code == 3
    assert "up to 7 pictures" in done.err
    assert "At most 3 image(s)" in done.err
    assert "--limit-mm-per-prompt '{\"image\": 7}'" in done.err
    suites = {suite["suite"]: suite for suite in json.loads(done.out)["suites"]}
    assert (suites["mmmu"]["counts"], suites["ocrbench"]["valued"]) == ({"not_asked": 3}, 2)
    assert len(endpoint.asked) == 2, "nothing is asked of the suite that cannot be asked whole"
    assert [len(own.pictures(one)) for one in endpoint.preflight] == [7, 1]


@pytest.mark.parametrize("status", [400, 500])
def test_an_endpoint_without_eyes_is_told_in_a_sentence(status, endpoint, config, invoke, ocrbench):
    refusal = (status, {"error": {"message": "image input is not supported", "code": status}})
    endpoint.spoil = lambda received, number: refusal if own.pictures(received) else None
    path = config("ref", endpoint.url, ["ocrbench"], ocrbench(2), limits={"retries": 1})
    done = invoke("run", path, "--quiet")
    assert done.code == 3
    assert "needs an endpoint that takes pictures" in done.err
    assert "image input is not supported" in done.err
    assert not endpoint.asked


def test_an_endpoint_that_refuses_words_too_is_not_blamed_for_pictures(endpoint, config, invoke, ocrbench):
    endpoint.spoil = lambda received, number: (400, {"error": {"message": "seed is not supported"}})
    done = invoke("run", config("ref", endpoint.url, ["ocrbench"], ocrbench(2)), "--quiet")
    assert done.code == 3
    assert "takes pictures" not in done.err
    assert len(endpoint.asked) == 2, "the run itself asks, and keeps what the server says"


def test_another_picture_under_the_same_rows_is_another_data_set(
    endpoint, other_endpoint, config, invoke, ocrbench, tmp_path
):
    first = config("ref", endpoint.url, ["ocrbench"], ocrbench(24))
    assert invoke("run", first, "--quiet").code == 0
    again = config("cand", other_endpoint.url, ["ocrbench"], ocrbench(24, {5: own.saved(own.colour(99))}))
    assert invoke("run", again, "--quiet").code == 0
    done = invoke("compare", tmp_path / "runs" / "ref", tmp_path / "runs" / "cand", "--json", "--quiet")
    (suite,) = json.loads(done.out)["suites"]
    assert (done.code, suite["verdict"]) == (3, "INVALID")
    assert any(
        "the two sides differ in" in reason and "1 of 24 items" in reason for reason in told_in(suite["reasons"])
    )
