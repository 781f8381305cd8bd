"""Help under headings: each option of `evalkit compare` stands under one, and reads well at 80 columns."""

import click
import pytest
from click.testing import CliRunner

from evalkit.cli.app import cli
from evalkit.cli.options import Sectioned


def test_each_option_of_compare_stands_under_one_heading():
    command = cli.get_command(click.Context(cli), "compare")
    headed = [name for names in command.sections.values() for name in names]
    named = [
        next(name for name in one.opts if name.startswith("--")) for one in command.params if one.opts[0][0] == "-"
    ]
    assert sorted(headed) == sorted(named)


def test_the_help_of_compare_fits_80_columns_and_names_each_option_once():
    shown = CliRunner().invoke(cli, ["compare", "--help"], terminal_width=80).output
    assert max(map(len, shown.splitlines())) <= 80
    for heading in ("What is asked:", "How it is judged:", "Files for CI:", "Other options:"):
        assert f"\n{heading}\n" in shown
    for option in ("--set", "--margin", "--junit", "--json", "--help"):
        assert sum(option in line[:32].split("[")[0].replace(",", "").split() for line in shown.splitlines()) == 1


def test_what_no_heading_claims_stands_last():
    @click.command(cls=Sectioned, sections={"First": ["--two"]})
    @click.option("--quiet", "-q", is_flag=True)
    @click.option("--two", help="The second.")
    @click.option("--hidden", hidden=True)
    def command(**given): ...

    lines = CliRunner().invoke(command, ["--help"]).output.splitlines()
    assert lines[2:6] == ["First:", "  --two TEXT  The second.", "", "Other options:"]
    assert [line.split("  ")[1] for line in lines[6:]] == ["-q, --quiet", "--help"]


def test_a_heading_that_names_no_option_is_a_defect():
    @click.command(cls=Sectioned, sections={"First": ["--gone"]})
    def command(): ...

    with pytest.raises(KeyError, match="gone"):
        CliRunner().invoke(command, ["--help"], catch_exceptions=False)
