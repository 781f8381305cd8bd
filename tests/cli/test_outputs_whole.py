"""A disk that fills while an output is written: all of it is there afterwards, or what was there before."""

import resource
from contextlib import contextmanager
from dataclasses import replace

import pytest

from evalkit.cli.compare import ForCi, write_for_ci
from evalkit.errors import StorageError
from evalkit.publish import archive
from evalkit.publish.cards import BEGIN, END


@contextmanager
def full_after(most_bytes):
    """No file of this process grows beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    "arguments",
    [
        *(("report", "CMP", "--format", form, "--out", "FILE") for form in ("csv", "html", "junit", "json", "latex")),
        ("report", "CMP", "--format", "terminal", "--out", "FILE"),
        ("card", "CMP", "--style", "evalkit", "--chip", "X", "--allow-invalid", "--into", "FILE"),
        ("compare", "ONE", "TWO", "--junit", "FILE"),
        ("compare", "ONE", "TWO", "--openmetrics", "FILE"),
        ("history", "--runs", "RUNS", "--html", "FILE"),
    ],
    ids=lambda arguments: "-".join(arguments[:4]),
)
def test_an_output_is_written_whole_or_not_at_all(arguments, store, comparison, table, invoke, tmp_path):
    scores = {"quiz": [[int(number % 3 > 0)] for number in range(60)]}
    home = store(comparison)
    assert invoke("history", "add", home).code == 0
    file = tmp_path / "outputs" / "file"
    file.parent.mkdir()
    file.write_text(f"before\n{BEGIN}\n{END}\n")
    before = file.read_bytes()
    places = {"CMP": home, "FILE": file, "RUNS": tmp_path / "runs"}
    places |= {"ONE": table("one", scores), "TWO": table("two", scores)}
    said = [str(places.get(argument, argument)) for argument in arguments]
    with full_after(200):
        done = invoke(*said)
    assert (done.code, "cannot be written: File too large" in done.err) == (3, True), done.err
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]
    assert invoke(*said).code != 2
    assert file.read_bytes() != before


def test_a_comparison_that_cannot_be_stored_leaves_the_earlier_one_in_its_place(comparison, tmp_path):
    archive.store(comparison, tmp_path, print)
    before = (tmp_path / archive.NAME).read_bytes()
    grown = replace(comparison, created="2030-01-01T00:00:00+00:00", flips=comparison.flips * 3)
    with full_after(len(before) + 100), pytest.raises(StorageError):
        archive.store(grown, tmp_path, print)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(archive.NAME, before)]


def test_half_of_a_job_summary_is_none(comparison, tmp_path, monkeypatch):
    summary = tmp_path / "summary.md"
    summary.write_text("# another step\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    with full_after(500), pytest.raises(StorageError, match=r"GITHUB_STEP_SUMMARY: .*cannot be written"):
        write_for_ci(comparison, tmp_path, ForCi())
    assert summary.read_text() == "# another step\n"


def test_configurations_to_start_from_are_all_there_or_none(invoke, tmp_path):
    with full_after(1_200):
        done = invoke("init", tmp_path / "new")
    assert done.code == 3
    assert list((tmp_path / "new").iterdir()) == []
    assert invoke("init", tmp_path / "new").code == 0
