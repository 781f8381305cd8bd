"""The table of patterns: every name that a module asks for is there, and every entry is asked for and compiles."""

import re
import tomllib
from pathlib import Path

import pytest

from evalkit import resources
from evalkit.resources import Patterns

FOLDER = Path(resources.__file__).parent
TABLES = tomllib.loads((FOLDER / "patterns.toml").read_text(encoding="utf-8"))
MODULES = {
    found[1]: text
    for path in FOLDER.rglob("*.py")
    if (text := path.read_text(encoding="utf-8")) and (found := re.search(r'= Patterns\("(\w+)"\)', text))
}


def test_every_table_has_its_module():
    assert MODULES.keys() == TABLES.keys()


@pytest.mark.parametrize("table", TABLES)
def test_what_a_module_asks_for_is_in_its_table_and_all_of_it_is_used(table):
    asked = set(re.findall(r"_RE\.(\w+)", MODULES[table]))
    shared = set(re.findall("<<([a-z_]+)>>", str(TABLES[table])))
    assert asked | shared == TABLES[table].keys()
    for name in asked:
        assert "<<" not in getattr(Patterns(table), name).pattern


def test_an_entry_that_is_not_there_is_named():
    with pytest.raises(AttributeError, match=r"no 'colour' in \[choice\]"):
        _ = Patterns("choice").colour
