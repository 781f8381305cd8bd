"""What came back survives crashes, torn lines, full disks and second processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import orjson
import pytest

from evalkit.errors import RunError, StorageError
from evalkit.model import Failure, FailureKind, Prompt, Reply, Request, Usage
from evalkit.run import journal
from evalkit.run.records import FailureRecord, ReplyRecord, packed, read_at, unpacked


def key(number: int) -> str:
    return f"{number:032x}"


def request(number: int = 0) -> Request:
    return Request(key=key(number), suite="s", item=f"i{number}", repeat=0, prompt=Prompt("d"), parameters={}, seed=1)


def body(text: str = "hello", tokens: int = 3) -> bytes:
    message = {
        "choices": [{"message": {"content": text}, "finish_reason": "stop"}],
        "usage": {"completion_tokens": tokens},
    }
    return orjson.dumps(message)


def reply(text: str = "hello") -> Reply:
    return Reply(text, "", "stop", Usage(1, 3), "m", 0.5, raw=body(text))


def test_a_reply_is_read_back_as_it_came(tmp_path):
    with journal.Journal(tmp_path) as out:
        out.append(packed(request(1), reply("héllo\n\u2028 x"), 10.0))
    found = journal.index(tmp_path)
    replies, failures = found.replies, found.failures
    record = read_at(replies[key(1)].file, replies[key(1)].offset, key(1))
    assert record.reply().content == "héllo\n\u2028 x"
    assert orjson.dumps(record.body) == body("héllo\n\u2028 x")
    assert replies[key(1)].completion_tokens == 3
    assert not failures


def test_the_first_reply_counts_and_beats_a_failure(tmp_path):
    failure = Failure(FailureKind.STALL, "silent")
    with journal.Journal(tmp_path) as out:
        out.append(packed(request(1), failure, 1.0))
        out.append(packed(request(1), reply("one"), 2.0))
        out.append(packed(request(1), reply("two"), 3.0))
        out.append(packed(request(2), failure, 4.0))
    found = journal.index(tmp_path)
    replies, failures = found.replies, found.failures
    assert read_at(replies[key(1)].file, replies[key(1)].offset, key(1)).reply().content == "one"
    assert list(failures) == [key(2)]


def test_a_record_says_all_that_a_request_and_its_outcome_say():
    asked = request(7)
    address = "http://node1:8000/v1"
    got = unpacked(packed(asked, replace(reply("x"), attempts=2, address=address), 10.0000042))
    assert got == ReplyRecord(key(7), orjson.loads(body("x")), 0.5, "s", "i7", 0, 1, 10.000004, 2, address)
    failure = Failure(FailureKind.SERVER_ERROR, "it broke", status=500, attempts=9, seconds=1.25, address=address)
    got = unpacked(packed(asked, failure, 11.0))
    assert got == FailureRecord(key(7), "server_error", "it broke", 500, 1.25, "s", "i7", 0, 1, 11.0, 9, address)


def test_what_failed_is_dated_by_its_first_attempt_and_stands_among_what_was_asked_with_it():
    failure = Failure(FailureKind.TIMEOUT, "late", attempts=9, since_seconds=120.5)
    assert unpacked(packed(request(7), failure, 1000.0)).at == 879.5


@pytest.mark.parametrize("cut", [1, 10, 40, 200])
def test_a_torn_last_record_is_dropped_and_the_next_one_is_whole(tmp_path, cut):
    with journal.Journal(tmp_path) as out:
        out.append(packed(request(1), reply(), 1.0))
        out.append(packed(request(2), reply("x y z" * 99), 1.0))
    path = tmp_path / journal.NAME
    whole = path.read_bytes()[: len(packed(request(1), reply(), 1.0))]
    path.write_bytes(path.read_bytes()[: max(len(whole) + 1, path.stat().st_size - cut)])
    found = journal.index(tmp_path)
    assert list(found.replies) == [key(1)]
    assert [damage.torn for damage in found.damage] == [True]
    assert journal.damage_sentences(found.damage) == ()
    with journal.Journal(tmp_path) as out:
        out.append(packed(request(3), reply(), 1.0))
    assert path.read_bytes() == whole + packed(request(3), reply(), 1.0)
    assert journal.index(tmp_path).damage == ()


def test_shards_of_other_machines_are_read_too(tmp_path):
    with journal.Journal(tmp_path / "other") as out:
        out.append(packed(request(1), reply(), 1.0))
    with journal.Journal(tmp_path) as out:
        out.append(packed(request(2), reply(), 1.0))
    (tmp_path / "other" / journal.NAME).rename(tmp_path / "journal-node2.records")
    assert sorted(journal.index(tmp_path).replies) == [key(1), key(2)]


def test_a_second_process_is_refused_with_a_sentence(tmp_path):
    with journal.Journal(tmp_path), pytest.raises(RunError, match=rf"is in use by process {os.getpid()} on"):
        journal.Journal(tmp_path)
    journal.Journal(tmp_path).close()


def test_a_refused_write_stops_the_run_with_a_sentence(tmp_path):
    out = journal.Journal(tmp_path)
    out.append(packed(request(1), reply(), 1.0))
    deadline = time.monotonic() + 60
    while not (tmp_path / journal.NAME).stat().st_size and time.monotonic() < deadline:
        time.sleep(0.01)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, out._descriptor)
    out.append(packed(request(2), reply(), 1.0))
    with pytest.raises(StorageError, match=r"No space left on device.*run again"):
        while time.monotonic() < deadline:
            out.append(packed(request(3), reply(), 1.0))
            time.sleep(0.01)
    with pytest.raises(StorageError):
        out.close()
    os.close(full)
    assert list(journal.index(tmp_path).replies) == [key(1)]


def test_a_record_is_in_the_file_soon_and_alone(tmp_path):
    with journal.Journal(tmp_path) as out:
        for number in (1, 2):
            out.append(packed(request(number), reply(), 1.0))
            deadline = time.monotonic() + 60
            while len(journal.index(tmp_path).replies) < number and time.monotonic() < deadline:
                time.sleep(0.001)
            assert list(journal.index(tmp_path).replies) == [key(n) for n in range(1, number + 1)]


def test_a_disk_that_is_slow_holds_the_run_up_before_memory_fills(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "MOST_WAITING_BYTES", 10_000)
    free = threading.Event()
    waiting = []
    write = journal.Journal._write

    def slow(self, data):
        waiting.append(len(data))
        free.wait(60)
        write(self, data)

    monkeypatch.setattr(journal.Journal, "_write", slow)
    record = packed(request(1), reply(os.urandom(1500).hex()), 1.0)
    with journal.Journal(tmp_path) as out:
        done = threading.Event()

        def run():
            for _ in range(20):
                out.append(record)
            done.set()

        thread = threading.Thread(target=run)
        thread.start()
        assert not done.wait(0.3), "20 records are six times what may wait"
        assert out._waiting_bytes <= 10_000 + len(record)
        free.set()
        assert done.wait(60)
        thread.join()
    assert (tmp_path / journal.NAME).read_bytes() == record * 20
    assert len(waiting) >= 3


def test_a_disk_that_fails_lets_a_waiting_run_go(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "MOST_WAITING_BYTES", 100)

    def full(self, data):
        time.sleep(0.05)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal.Journal, "_write", full)
    out = journal.Journal(tmp_path)
    with pytest.raises(StorageError, match="No space left"):
        for _ in range(100):
            out.append(packed(request(1), reply(os.urandom(150).hex()), 1.0))
    with pytest.raises(StorageError):
        out.close()


def test_kill_9_loses_at_most_what_was_not_yet_written(tmp_path):
    writer = tmp_path / "writer.py"
    writer.write_text(
        "import sys, time\n"
        "from pathlib import Path\n"
        "from evalkit.model import Prompt, Reply, Request, Usage\n"
        "from evalkit.run import journal\n"
        "from evalkit.run.records import packed\n"
        "out = journal.Journal(Path(sys.argv[1]))\n"
        'raw = b\'{"choices":[{"message":{"content":"x"}}]}\'\n'
        "for n in range(1_000_000):\n"
        "    request = Request(f'{n:032x}', 's', 'i', n, Prompt('d'), {})\n"
        "    out.append(packed(request, Reply('x', '', 'stop', Usage(), None, 0.0, raw=raw), 0.0))\n"
        "    if n % 100 == 0:\n"
        "        time.sleep(0.002)\n"
        "        print(n, flush=True)\n"
    )
    child = subprocess.Popen([sys.executable, str(writer), str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    last = 0
    for line in child.stdout:
        last = int(line)
        if last >= 5000:
            break
    child.send_signal(signal.SIGKILL)
    child.wait()
    kept = journal.index(tmp_path / "run").replies
    assert len(kept) > 0
    assert list(kept) == [key(n) for n in range(len(kept))], "what is there is a prefix without gaps"
    journal.Journal(tmp_path / "run").close()


def test_a_folder_is_held_from_one_journal_to_the_next(tmp_path):
    with journal.held([tmp_path / "a", tmp_path / "b", tmp_path / "a"]):
        journal.Journal(tmp_path / "a").close()
        for taken in (journal.held([tmp_path / "b"]), journal.held([tmp_path / "c", tmp_path / "a"])):
            with pytest.raises(RunError, match="is in use by process"), taken:
                pass
        journal.Journal(tmp_path / "a").close()
    with journal.held([tmp_path / "a"]):
        pass
    with journal.Journal(tmp_path / "a"), pytest.raises(RunError, match="is in use by"):
        journal.Journal(tmp_path / "a")
