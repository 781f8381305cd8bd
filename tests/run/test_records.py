"""A journal's records: what is whole is read, and what is damaged, of another shape or out of place is said."""

import random

import google_crc32c
import orjson
import pytest
import zstandard
from stored_run import write_reply

from evalkit.errors import RunError
from evalkit.run import records
from evalkit.run.journal import damage_sentences, index
from evalkit.run.records import MAGIC, Damage, ReplyRecord, framed, read_at, read_records, unpacked

SAID = {
    "record": "reply", "suite": "s", "item": "i", "repeat": 0, "seed": None, "at": 1.5, "seconds": 2, "attempts": 1,
    "address": "",
    "body": {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]},
}  # fmt: skip
FAILED = {**SAID, "record": "failure", "kind": "timeout", "status": None, "detail": "silent"}
del FAILED["body"]
KEY = "0123456789abcdef" * 2


def test_a_record_says_what_it_was_made_of():
    found = unpacked(framed(KEY, orjson.dumps(SAID)))
    assert (found.key, found.item, found.body, found.seconds) == (KEY, "i", SAID["body"], 2)
    assert unpacked(framed(KEY, orjson.dumps(FAILED))).kind == "timeout"


@pytest.mark.parametrize(
    "said",
    [
        [], 1, None, {}, {"record": "reply"}, {**SAID, "record": "other"}, {**SAID, "record": []}, {**SAID, "more": 2},
        {**SAID, "item": 1}, {**SAID, "repeat": "0"}, {**SAID, "seed": 1.5}, {**SAID, "attempts": True},
        {**SAID, "body": []}, {**SAID, "body": {}}, {**SAID, "body": {"choices": [{"message": 1}]}},
        {**SAID, "body": {"error": {"message": "no"}}}, {**FAILED, "kind": "bored"}, {**FAILED, "detail": None},
        {**FAILED, "status": "500"},
    ],
)  # fmt: skip
def test_a_whole_record_of_another_shape_is_none(said):
    assert unpacked(framed(KEY, orjson.dumps(said))) == "it does not say what a record says"


def test_a_record_that_is_no_json_or_of_another_dictionary_is_named():
    assert unpacked(framed(KEY, b"{")) == "it cannot be unpacked"
    whole = framed(KEY, orjson.dumps(SAID))
    frame = zstandard.ZstdCompressor().compress(orjson.dumps(SAID))
    other = whole[:4] + len(frame).to_bytes(4, "little") + whole[8:24] + frame
    other += google_crc32c.value(other).to_bytes(4, "little")
    assert "the dictionary 0, of another version" in unpacked(other)


@pytest.mark.parametrize("place", range(0, 200, 7))
def test_a_flipped_bit_anywhere_is_seen(place):
    whole = framed(KEY, orjson.dumps(SAID))
    place %= len(whole)
    assert isinstance(unpacked(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :]), str)


def write(file, count):
    return [write_reply(file, f"answer {number}", f"{number:032x}") for number in range(count)]


def test_what_is_damaged_is_said_with_its_place_and_the_rest_is_read(tmp_path):
    file = tmp_path / "journal.records"
    offsets = write(file, 9)
    data = bytearray(file.read_bytes())
    data[offsets[2] + 30] ^= 1
    data[offsets[5] : offsets[6]] = b"\0" * (offsets[6] - offsets[5])
    file.write_bytes(data)
    found = index(tmp_path)
    assert [int(key, 16) for key in found.replies] == [0, 1, 3, 4, 6, 7, 8]
    assert [(damage.offset, damage.torn) for damage in found.damage] == [(offsets[2], False), (offsets[5], False)]
    (sentence,) = damage_sentences(found.damage)
    assert f"{file}: is damaged at byte {offsets[2]} and in 1 more place (its checksum does not fit" in sentence
    assert "asked again" in sentence


def test_a_length_that_is_damaged_does_not_hide_what_comes_after(tmp_path):
    file = tmp_path / "journal.records"
    offsets = write(file, 4)
    data = bytearray(file.read_bytes())
    data[offsets[1] + 7] ^= 0x40
    file.write_bytes(data)
    assert [int(key, 16) for key in index(tmp_path).replies] == [0, 2, 3]
    with file.open("rb") as opened:
        assert records.torn_at(opened, len(data)) is None


def test_records_are_found_behind_much_that_is_none(tmp_path):
    file = tmp_path / "journal.records"
    noise = random.Random(1).randbytes(200_000) + MAGIC * 5
    write(file, 1)
    with file.open("ab") as out:
        out.write(noise)
    write_reply(file, "last", KEY)
    found = [record for _offset, record in read_records(file)]
    assert [type(one) for one in found] == [ReplyRecord, Damage, ReplyRecord]
    assert found[1].length == len(noise)


def test_a_reply_is_only_found_where_its_key_is(tmp_path):
    file = tmp_path / "journal.records"
    offsets = write(file, 2)
    assert read_at(file, offsets[1], f"{1:032x}").reply().content == "answer 1"
    with pytest.raises(RunError, match="another record is there"):
        read_at(file, offsets[0], f"{1:032x}")
    with pytest.raises(RunError, match="the file ends within it"):
        read_at(file, 10_000, f"{1:032x}")
