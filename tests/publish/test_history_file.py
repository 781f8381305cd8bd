"""The history's file: only added to, whole lines only, adding twice changes nothing."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from evalkit.errors import StorageError, UsageError
from evalkit.publish.history import add, night_of, read, to_line


@pytest.fixture
def nights(story):
    return [night_of(one) for one in story]


def test_nights_are_added_in_order(nights, tmp_path):
    path = tmp_path / "runs" / "history.jsonl"
    assert all(add(path, night) for night in nights)
    assert read(path) == nights
    before = path.read_bytes()
    assert not add(path, nights[3])
    assert path.read_bytes() == before
    assert add(path, replace(nights[3], facts={"driver": "1"}))
    assert path.read_bytes().startswith(before)


def test_a_torn_last_line_is_dropped_and_spoils_nothing(nights, tmp_path):
    path = tmp_path / "history.jsonl"
    add(path, nights[0])
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:100])
    assert read(path) == nights[:1]
    assert add(path, nights[1])
    assert read(path) == nights[:2]


def test_a_missing_line_end_is_no_loss(nights, tmp_path):
    path = tmp_path / "history.jsonl"
    add(path, nights[0])
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert read(path) == nights[:1]
    add(path, nights[1])
    assert read(path) == nights[:2]


def test_a_spoiled_line_in_the_middle_is_named_and_nothing_is_added(nights, tmp_path):
    path = tmp_path / "history.jsonl"
    add(path, nights[0])
    path.write_bytes(b"{}\n" + path.read_bytes())
    with pytest.raises(UsageError, match="line 1: "):
        read(path)
    with pytest.raises(UsageError, match="line 1: "):
        add(path, nights[1])


@pytest.mark.parametrize("change", [{"night": "2999-01-01"}, {"created": "2999-01-01T02:00:00+00:00"}])
def test_a_night_that_is_yet_to_come_is_neither_added_nor_read(nights, tmp_path, change):
    path, ahead = tmp_path / "history.jsonl", replace(nights[0], **change)
    words = "lies in the future and would hide later ones: mend its date, or delete the line"
    with pytest.raises(UsageError, match=words):
        add(path, ahead)
    assert not path.exists()
    path.write_bytes(to_line(nights[0]) + to_line(ahead))
    with pytest.raises(UsageError, match=words):
        read(path)
    with pytest.raises(UsageError, match=words):
        add(path, nights[1])


def test_tomorrow_is_a_night_of_another_time_zone(nights, tmp_path):
    tomorrow = (datetime.now(UTC).date() + timedelta(days=1)).isoformat()
    assert add(tmp_path / "history.jsonl", replace(nights[0], night=tomorrow))


def test_no_history_and_no_room(nights, tmp_path):
    with pytest.raises(UsageError, match="there is no history yet"):
        read(tmp_path / "history.jsonl")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        add(tmp_path / "file" / "history.jsonl", nights[0])


def test_nights_added_at_once_are_all_kept(nights, tmp_path):
    path = tmp_path / "history.jsonl"
    threads = [threading.Thread(target=add, args=(path, night)) for night in nights]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(night.night for night in read(path)) == [night.night for night in nights]
