"""The list of commands, what a shell completes, the language of what is printed, and usage errors in two lines."""

import pytest
from click.testing import CliRunner

from evalkit.cli.app import COMPLETE, GROUPS, cli


def test_every_command_stands_in_one_of_four_groups_and_has_one_line():
    told = CliRunner().invoke(cli, ["--help"], terminal_width=80).output
    assert list(GROUPS) == ["Compare", "Look into", "Publish", "Set up"]
    for group, members in GROUPS.items():
        assert f"{group}:\n" in told
        for name, command in members.items():
            assert f"  {name:<12}  {command['about']}\n" in told, "a line that does not fit is wrapped"
    assert told.index("evalkit compare reference.yaml candidate.yaml") < told.index("Compare:")


@pytest.mark.parametrize(
    ("words", "offered"),
    [("evalkit co", "compare"), ("evalkit compare --no-d", "--no-doctor"), ("evalkit schema ", "policy")],
)
def test_a_shell_is_told_commands_options_and_words(words, offered, run_evalkit):
    asked = {COMPLETE: "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = run_evalkit(env=asked)
    assert done.returncode == 0
    assert f"plain,{offered}" in done.stdout.splitlines()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_each_shell(shell, run_evalkit):
    done = run_evalkit("completion", shell)
    assert done.returncode == 0
    assert f"{COMPLETE}={shell}_complete" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["compare", "--frob"], "evalkit compare --help"),
        (["plan"], "evalkit plan --help"),
        (["schema", "pdf"], "evalkit schema --help"),
        (["comparr"], "evalkit --help"),
    ],
)
def test_a_usage_error_is_two_lines_and_names_the_help_that_lists_the_options(arguments, told, run_evalkit):
    done = run_evalkit(*arguments)
    first, second = done.stderr.strip().splitlines()
    assert done.returncode == 2
    assert first.startswith("evalkit: ")
    assert told in second


def test_a_margin_that_is_a_fraction_is_refused_with_the_points_that_were_meant(run_evalkit, tmp_path):
    for file in ("a.csv", "b.csv"):
        (tmp_path / file).write_text("suite,item,repeat,score\ns,1,0,1\n")
    done = run_evalkit("compare", tmp_path / "a.csv", tmp_path / "b.csv", "--margin", "0.02")
    assert done.returncode == 2
    assert "for 2% write 2" in done.stderr


@pytest.mark.parametrize("way", ["option", "environment"])
def test_a_table_is_printed_in_the_language_that_was_asked_for(way, run_evalkit, tmp_path):
    rows = "suite,item,repeat,score\n" + "".join(f"s,{n},0,{n % 2}\n" for n in range(400))
    for file in ("a.csv", "b.csv"):
        (tmp_path / file).write_text(rows)
    before = ["--language", "zh"] if way == "option" else []
    env = {"EVALKIT_LANGUAGE": "zh"} if way == "environment" else None
    done = run_evalkit(*before, "compare", tmp_path / "a.csv", tmp_path / "b.csv", env=env)
    assert done.returncode == 0, done.stderr
    assert "✓ 等效" in done.stdout


@pytest.mark.parametrize(
    ("worse", "told"),
    [(0, "evalkit card {folder} --style"), (60, "evalkit flips {folder}"), (8, "evalkit explain {folder}")],
)
def test_after_a_verdict_it_is_said_what_to_do_next(worse, told, run_evalkit, tmp_path):
    for file, lost in (("a.csv", 0), ("b.csv", worse)):
        rows = "".join(f"s,{n},0,{int(n % 2 and not n < lost)}\n" for n in range(400))
        (tmp_path / file).write_text("suite,item,repeat,score\n" + rows)
    done = run_evalkit("compare", tmp_path / "a.csv", tmp_path / "b.csv", "--out", tmp_path / "out")
    last = [line for line in done.stderr.splitlines() if line.startswith("next: ")]
    assert len(last) == 1
    assert told.format(folder=tmp_path / "out") in last[0]


def test_facts_of_a_machine_without_any_are_refused_in_one_sentence(run_evalkit, tmp_path):
    done = run_evalkit("facts", "/bin/true", env={"PATH": str(tmp_path)})
    assert done.returncode == 2
    assert "no engine in its Python and no chip's tool here" in done.stderr
