"""Control groups: where one may be made, in both hierarchies, and what it holds that other limits do not."""

import os
from pathlib import Path

import pytest

from evalkit.scoring.answers import sandbox
from evalkit.scoring.answers.control_group import Group, control_group, find_place, usable_place
from evalkit.scoring.answers.sandbox import Ending, Limits, SandboxError

MIB = 1 << 20


@pytest.fixture
def place():
    """Where groups can be made here."""
    if why := sandbox.available():
        pytest.skip(why)
    if usable_place() is None:
        pytest.skip("no control group can be made here: none above this process is writable and hands both limits on")
    return usable_place()


def groups(root, controllers, *paths):
    """A hierarchy as the kernel shows it."""
    for path in ("", *paths):
        (root / path).mkdir(parents=True, exist_ok=True)
        (root / path / "cgroup.procs").write_text("")
        (root / path / "cgroup.subtree_control").write_text(controllers if path != paths[-1] else "")


def own(folder, text):
    (folder / "own").write_text(text)
    return folder / "own"


def test_the_nearest_group_that_hands_both_limits_on(tmp_path):
    root = tmp_path / "cgroup"
    groups(root, "cpu memory pids\n", "user", "user/app", "user/app/job.scope")
    (root / "cgroup.controllers").write_text("cpu memory pids\n")
    mine = own(tmp_path, "0::/user/app/job.scope\n")
    assert find_place(root, mine) == Group(root / "user/app", root / "user/app")
    (root / "user/app/cgroup.subtree_control").write_text("memory\n")
    assert find_place(root, mine) == Group(root / "user", root / "user"), "one of both is not enough"


def test_each_controller_has_its_own_hierarchy_in_version_1(tmp_path):
    root = tmp_path / "cgroup"
    groups(root / "memory", "", "job/1")
    groups(root / "pids", "", "")
    mine = own(tmp_path, "8:pids:/\n4:memory:/job/1\n3:cpuset:/\n0::/\n")
    assert find_place(root, mine) == Group(root / "memory/job/1", root / "pids")


@pytest.mark.parametrize("text", ["0::/\n", "", "8:pids:/gone\n4:memory:/gone\n"])
def test_there_is_none_where_nothing_is_mounted_or_writable(tmp_path, text):
    assert find_place(tmp_path / "cgroup", own(tmp_path, text)) is None
    assert find_place(tmp_path / "cgroup", tmp_path / "no such file") is None


@pytest.mark.parametrize(
    ("name", "text", "ran_out"),
    [
        ("memory.events", "low 0\nmax 3\noom 1\noom_kill 2\n", True),
        ("memory.events", "low 0\nmax 3\noom 0\noom_kill 0\noom_group_kill 0\n", False),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", True),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", False),
    ],
)
def test_the_kernel_says_that_memory_ran_out(tmp_path, name, text, ran_out):
    (tmp_path / name).write_text(text)
    assert Group(tmp_path, tmp_path).ran_out_of_memory() == ran_out


def test_a_group_has_its_limits_and_is_gone_afterwards(place):
    with control_group(100 * MIB, 20) as group:
        limits = [group.memory / name for name in ("memory.max", "memory.limit_in_bytes")]
        assert [int(limit.read_text()) for limit in limits if limit.exists()] == [100 * MIB]
        assert (group.pids / "pids.max").read_text() == "20\n"
        assert group.memory.parent == place.memory
    assert not group.memory.exists()
    assert not group.pids.exists()


@pytest.mark.usefixtures("place")
def test_files_in_memory_count_as_memory():
    program = "file = open('/tmp/x', 'wb')\nfor _ in range(300): file.write(b'x' * (1 << 20))\nprint('all written')"
    limits = Limits(seconds=20, memory_bytes=200 * MIB, scratch_bytes=400 * MIB)
    outcome = sandbox.run({"main.py": program.encode()}, b"", limits)
    assert outcome.ending is Ending.MEMORY
    assert b"all written" not in outcome.stdout


def test_a_group_that_can_be_made_no_more_is_no_verdict(place, monkeypatch):
    monkeypatch.setattr(Path, "mkdir", lambda folder: os.mkdir(place.memory))  # noqa: PTH102 - which is there
    with pytest.raises(SandboxError, match="no control group can be made any more: File exists"):
        sandbox.run({"main.py": b"print(1)"}, b"", Limits(seconds=20))


def test_no_group_is_left_behind(place):
    sandbox.run({"main.py": b"print(1)"}, b"", Limits(seconds=20))
    mine = f"evalkit-{os.getpid()}-"
    assert not [path for folder in (place.memory, place.pids) for path in Path(folder).glob(f"{mine}*")]
