"""A table of a shipped TOML file is read without the others, and is what it is among them."""

import tomllib
from pathlib import Path

import pytest

from evalkit import cli, resources
from evalkit.resources import data_folder, toml_table

FILES = [
    data_folder("reports") / "reasons.toml",
    data_folder("reports") / "findings.toml",
    data_folder("reports") / "latex.toml",
    Path(cli.__file__).with_name("commands.toml"),
    Path(resources.__file__).with_name("patterns.toml"),
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_table_alone_is_what_it_is_among_the_others(path):
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    assert tables
    assert {name: toml_table(path, name) for name in tables} == tables


@pytest.mark.parametrize("name", ["nosuch", "", "said.more", "[", 'said"'])
def test_a_table_that_is_not_there_is_said(name):
    with pytest.raises(KeyError):
        toml_table(FILES[0], name)
