"""The one atomic writer: all of a file or what was there before, whatever happens in between."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from evalkit.errors import StorageError
from evalkit.files import digest, digest_file, whole_file, write_whole


def test_a_file_is_written_with_its_folders(tmp_path):
    file = tmp_path / "a" / "b" / "file.json"
    write_whole(file, b"one")
    assert file.read_bytes() == b"one"
    write_whole(file, iter([b"t", b"wo"]))
    assert file.read_bytes() == b"two"
    assert [path.name for path in file.parent.iterdir()] == ["file.json"], "no draft stays"


def test_what_was_there_stays_where_the_writing_fails(tmp_path):
    file = tmp_path / "file"
    write_whole(file, b"before")
    with pytest.raises(ZeroDivisionError), whole_file(file) as out:
        out.write(b"half of it")
        out.write(b"%d" % (1 / 0))
    assert file.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [file]


def test_nobody_sees_half_of_a_file(tmp_path):
    file = tmp_path / "file"
    with whole_file(file) as out:
        out.write(b"all")
        out.flush()
        assert not file.exists()
    assert file.read_bytes() == b"all"


def test_a_new_file_is_as_the_umask_says_and_an_old_one_keeps_its_permissions(tmp_path):
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "new", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    write_whole(tmp_path / "own", b"", private=True)
    assert stat.S_IMODE((tmp_path / "own").stat().st_mode) == 0o600
    (tmp_path / "new").chmod(0o600)
    write_whole(tmp_path / "new", b"again")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


def test_a_link_stays_a_link(tmp_path):
    real, link = tmp_path / "far" / "real", tmp_path / "link"
    write_whole(real, b"before")
    link.symlink_to(real)
    write_whole(link, b"after")
    assert link.is_symlink()
    assert real.read_bytes() == b"after"


def test_a_device_is_written_to_as_it_is():
    write_whole(Path(os.devnull), b"gone")
    assert Path(os.devnull).is_char_device()


def test_a_disk_that_refuses_is_named(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError, match=r"file/below: cannot be written: "):
        write_whole(tmp_path / "file" / "below", b"")


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    file = tmp_path / "file"
    write_whole(file, b"before")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        write_whole(file, b"after")
    assert file.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [file]


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path):
    write_whole(tmp_path / "file", b'{"a":1}')
    assert digest_file(tmp_path / "file") == digest({"a": 1})
