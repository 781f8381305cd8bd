"""Grading in child processes: limits that hold, children that are replaced, an exit without noise."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from evalkit.scoring.answers import worker
from evalkit.scoring.answers.worker import GradeError, GradeTimeout, run_limited


@pytest.fixture(autouse=True)
def fresh_pool():
    yield
    worker.close()


def one_slot(monkeypatch):
    monkeypatch.setattr(worker._POOL, "_slots", threading.BoundedSemaphore(1))


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_values_come_back():
    assert run_limited("math:sqrt", [9], 5) == 3.0
    assert run_limited("builtins:sorted", [["b", "ä", None][:2]], 5) == ["b", "ä"]
    assert run_limited("builtins:print", ["noise on the child's output harms nothing"], 5) is None


def test_work_is_done_in_one_other_process_that_is_kept():
    first = run_limited("os:getpid", [], 5)
    assert first == run_limited("os:getpid", [], 5)
    assert first != os.getpid()


def test_endless_computing_is_stopped_also_where_no_python_code_runs(monkeypatch):
    monkeypatch.setattr(worker, "WALL_FACTOR", 300.0)  # or a busy machine's clock would stop it first
    with pytest.raises(GradeTimeout, match=r"math:factorial used up 0\.2 s of processor time"):
        run_limited("math:factorial", [10**8], 0.2)
    assert run_limited("math:sqrt", [9], 5) == 3.0


def test_endless_waiting_is_stopped():
    before = run_limited("os:getpid", [], 5)
    with pytest.raises(GradeTimeout, match="by the clock"):
        run_limited("time:sleep", [600], 0.05)
    assert gone(before)
    assert run_limited("os:getpid", [], 5) != before


def test_waiting_for_a_free_child_does_not_count(monkeypatch):
    one_slot(monkeypatch)
    limit = 0.5  # of work; the clock allows 2.0 s a call, the queue lasts 2.4 s
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda _: run_limited("time:sleep", [0.3], limit), range(8))) == [None] * 8


def test_many_threads_share_at_most_one_child_a_core():
    with ThreadPoolExecutor(16) as threads:
        pids = set(threads.map(lambda _: run_limited("os:getpid", [], 5), range(64)))
    assert 1 <= len(pids) <= len(os.sched_getaffinity(0))


def test_memory_is_bounded():
    with pytest.raises(GradeError, match="MemoryError"):
        run_limited("operator:mul", ["a", 6 << 30], 5)
    assert run_limited("math:sqrt", [9], 5) == 3.0


def test_a_result_has_a_greatest_length():
    with pytest.raises(GradeError, match="bytes, more than"):
        run_limited("operator:mul", ["a", worker.MESSAGE_BYTES], 5)
    assert run_limited("math:sqrt", [9], 5) == 3.0


@pytest.mark.parametrize(
    ("target", "args", "says"),
    [
        ("math:sqrt", [-1], "ValueError: math domain error"),
        ("os:_exit", [3], "ended with code 3"),
        ("os:abort", [], f"ended with code -{signal.SIGABRT.value}"),
        ("sys:exit", [], "ended with code 0"),
        ("builtins:object", [], "not JSON serializable"),
        ("no_such_module:f", [], "ModuleNotFoundError"),
        ("math:no_such_function", [], "AttributeError"),
        ("math:sqrt", ["x"], "TypeError"),
    ],
)
def test_what_goes_wrong_in_a_child_is_told_and_harms_no_later_call(target, args, says):
    with pytest.raises(GradeError, match=says):
        run_limited(target, args, 5)
    assert run_limited("math:sqrt", [9], 5) == 3.0


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_limit_must_be_positive(seconds):
    with pytest.raises(ValueError, match="positive"):
        run_limited("math:sqrt", [9], seconds)


def test_arguments_must_be_json():
    with pytest.raises(TypeError):
        run_limited("math:sqrt", [object()], 1)


def test_a_child_is_replaced_after_so_many_calls(monkeypatch):
    monkeypatch.setattr(worker, "CALLS_PER_CHILD", 2)
    first, second, third = (run_limited("os:getpid", [], 5) for _ in range(3))
    assert first == second != third
    assert gone(first)


def test_a_child_sees_no_keys_and_walks_sets_in_one_order(monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "secret")
    assert run_limited("os:getenv", ["SOME_API_KEY"], 5) is None
    assert run_limited("os:getenv", ["PYTHONHASHSEED"], 5) == "0"
    assert run_limited("os:getenv", ["PATH"], 5) == os.environ["PATH"]


def test_closing_ends_the_children_also_those_at_work(monkeypatch):
    idle = run_limited("os:getpid", [], 5)
    started = threading.Event()
    call = worker._Child.call
    monkeypatch.setattr(worker._Child, "call", lambda *args: (started.set(), call(*args))[1])
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(run_limited, "time:sleep", [600], 600)
        assert started.wait(30)
        worker.close()
        with pytest.raises(GradeError, match="ended with code"):
            waiting.result(30)
    assert gone(idle)
    assert run_limited("math:sqrt", [9], 5) == 3.0


def test_a_missing_library_is_an_error_and_the_next_call_is_made():
    with pytest.raises(GradeError, match="no_such_library"):
        run_limited("math:sqrt", [9], 5, ["no_such_library"])
    assert run_limited("math:sqrt", [9], 5) == 3.0


def script(body):
    code = "from evalkit.scoring.answers.worker import run_limited\n" + textwrap.dedent(body)
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_program_that_graded_ends_without_a_word_and_leaves_nobody_behind():
    done = script("print(run_limited('os:getpid', [], 5))")
    assert (done.returncode, done.stderr) == (0, "")
    assert gone(int(done.stdout))


def test_a_fork_of_the_program_has_children_of_its_own():
    done = script(
        """
        import os, sys
        mine = run_limited("os:getpid", [], 5)
        child = os.fork()
        if child == 0:
            os._exit(0 if run_limited("os:getpid", [], 5) != mine else 9)
        assert os.waitpid(child, 0)[1] == 0
        assert run_limited("os:getpid", [], 5) == mine
        """
    )
    assert (done.returncode, done.stderr) == (0, "")
