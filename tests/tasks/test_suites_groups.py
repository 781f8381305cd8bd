"""A group that cannot run all of its tasks says so in its name."""

from pathlib import Path

from evalkit.render.words import say
from evalkit.tasks.items import LoadOptions, _files
from evalkit.tasks.suites import find_suite, members


def test_livebench_without_code_execution_is_five_of_six_categories():
    suite = find_suite("livebench")
    files, (note,) = _files(suite, LoadOptions())
    assert len(files) == 16
    assert say(note).startswith("5 of 6 categories: without livebench_lcb_generation, livebench_coding_completion")
    assert not any("lcb" in Path(file).name for file in files)


def test_livebench_has_18_tasks_in_six_categories():
    group = members(find_suite("livebench"))
    assert len(group) == 18
    assert len({member.category for member in group}) == 6
