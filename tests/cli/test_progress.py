"""What the one who waits is shown: counts, and why nothing moves where nothing does."""

from evalkit.cli import progress
from evalkit.run.execute import Watch
from evalkit.run.scheduler import Progress

WAITING = "waiting for ref to come back: HTTP 503 [bold]Loading model"


def watch(**sides):
    shown = Watch()
    shown.sides.update({name: {"demo": one} for name, one in sides.items()})
    return shown


def test_why_nothing_moves_is_said_once_and_only_of_what_is_left():
    shown = watch(
        ref=Progress(planned=9, done=2, waits_for=WAITING),
        other=Progress(planned=9, done=1, waits_for=WAITING),
        done=Progress(planned=9, done=8, failed=1, waits_for=WAITING),
        stopped=Progress(planned=9, done=2, failed=7, stopped="stopped after 20 failures", waits_for=WAITING),
        at_work=Progress(planned=9, done=2),
    )
    assert {row.side: row.note for row in progress.rows(shown, 1.0)} == {
        "ref": "waiting",
        "other": "waiting",
        "done": "done",
        "stopped": "stopped",
        "at_work": "",
    }
    assert progress.waits(shown) == [WAITING]


def test_a_terminal_shows_a_servers_words_as_they_are(capsys):
    from rich.console import Console

    Console(width=100).print(progress._table(watch(ref=Progress(planned=9, waits_for=WAITING))))
    assert "[bold]Loading" in capsys.readouterr().out


async def test_a_log_has_it_in_its_line(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_EVERY_SECONDS", 0.0)
    await progress._line(watch(ref=Progress(planned=9, done=2, waits_for=WAITING)))
    assert f"ref/demo 2/9; {WAITING}" in capsys.readouterr().err
