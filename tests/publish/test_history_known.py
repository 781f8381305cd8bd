"""The list of known differences: read strictly, mistakes by line and key, remarks on what is stale."""

from dataclasses import replace
from datetime import date

import pytest
from reasons import told

from evalkit.errors import UsageError
from evalkit.model import Verdict
from evalkit.publish.history import night_of, remarks, series_of
from evalkit.publish.known import Known, read_known, waived

GOOD = """\
# what we live with
- suite: musr
  from: 2026-11-06
  until: "2026-11-30"
  by: Ann
  reason: softmax in bf16

- {suite: aime24, from: 2026-11-01, until: 2026-11-02, by: Ann, reason: 二号机}
"""


def test_read(tmp_path):
    path = tmp_path / "known.yaml"
    path.write_text(GOOD)
    assert read_known(path) == (
        Known("musr", date(2026, 11, 6), date(2026, 11, 30), "Ann", "softmax in bf16", 2),
        Known("aime24", date(2026, 11, 1), date(2026, 11, 2), "Ann", "二号机", 8),
    )
    path.write_text("# none today\n")
    assert read_known(path) == ()


MISTAKES = [
    ("suite: musr\n", "a list of known differences"),
    ("- musr\n", "line 1: an entry has the keys"),
    (
        GOOD.replace("reason: softmax", "raeson: softmax"),
        "line 2: the key 'raeson' is not known: did you mean 'reason'?",
    ),
    (GOOD.replace("  reason: softmax in bf16\n", ""), "line 2: reason is missing"),
    (GOOD.replace("  by: Ann\n", ""), "line 2: by is missing"),
    (GOOD.replace("from: 2026-11-06", "from: soon"), "line 2: from: 'soon' is no date"),
    (GOOD.replace("from: 2026-11-06", "from: 7"), "line 2: from: 7 is no date"),
    (GOOD.replace("from: 2026-11-06", "from: 2026-12-06"), "line 2: until: 2026-11-30 is before 2026-12-06"),
    ("- {suite: x\n", "line 2: this is not YAML"),
    (GOOD.replace("from: 2026-11-06", "from: 2026-13-06"), "this is not YAML in UTF-8 (month must be in 1..12)"),
    ("[" * 5000, "this is not YAML in UTF-8 (maximum recursion depth exceeded"),
    ("- !!python/object/apply:os.system [id]\n", "not YAML"),
]


@pytest.mark.parametrize(("text", "sentence"), MISTAKES)
def test_mistakes(tmp_path, text, sentence):
    path = tmp_path / "known.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        read_known(path)
    assert str(error.value).startswith(str(path))
    assert sentence in str(error.value)
    with pytest.raises(UsageError, match="cannot be read"):
        read_known(tmp_path / "nowhere.yaml")


def test_remarks(story):
    series = series_of([night_of(one) for one in story])
    fine = Known("musr", date(2026, 11, 6), date(2026, 11, 30), "Ann", "x", 1)
    expired = Known("musr", date(2026, 11, 6), date(2026, 11, 9), "Ann", "x", 2)
    healed = Known("gpqa_diamond", date(2026, 11, 1), date(2026, 11, 9), "Ann", "x", 3)
    typo = Known("mursr", date(2026, 11, 6), date(2026, 11, 30), "Ann", "x", 4)
    assert list(remarks([fine], series)) == []
    assert told(remarks([expired], series)) == [
        "line 2: musr: expired on 2026-11-09, and the difference is still there"
    ]
    assert list(remarks([expired, fine, healed], series)) == []
    assert told(remarks([typo], series)) == ["line 4: no suite here is called 'mursr': did you mean 'musr'?"]


def night(verdicts, overall, *entries, day="2026-11-09", lenient=False):
    """The exit code of two suites and their mean with these verdicts, the entries being known; and the comparison."""
    from render_example import comparison

    example = comparison()
    suites = tuple(
        replace(example.suites[0], suite=name, verdict=verdict)
        for name, verdict in zip(("musr", "aime24"), verdicts, strict=True)
    )
    macro = replace(example.macro, verdict=overall)
    verdict = Verdict.over([overall, *verdicts])
    made = replace(
        example, suites=suites, macro=macro, verdict=verdict, exit_code=verdict.exit_code, created=f"{day}T02:00:00"
    )
    marked = waived(made, entries, lenient=lenient)
    assert (marked.verdict, [one.verdict for one in marked.suites]) == (verdict, list(verdicts)), "the words stay"
    return marked.exit_code, marked


MUSR = Known("musr", date(2026, 11, 6), date(2026, 11, 30), "Ann", "softmax in bf16", 2)
MEAN = replace(MUSR, suite="overall")
BAD, OPEN, FINE, BROKEN = Verdict.DEGRADED, Verdict.INCONCLUSIVE, Verdict.EQUIVALENT, Verdict.INVALID


def test_only_a_dated_entry_for_every_row_that_differs_changes_the_exit_code():
    assert night((BAD, FINE), FINE)[0] == 1
    assert night((BAD, FINE), FINE, lenient=True)[0] == 1, "no gate's setting does"
    assert night((BAD, FINE), FINE, MUSR)[0] == 0
    assert night((BAD, FINE), BAD, MUSR)[0] == 1, "the mean is another row"
    assert night((BAD, FINE), BAD, MUSR, MEAN)[0] == 0
    assert night((BAD, BAD), FINE, MUSR)[0] == 1
    assert night((BAD, OPEN), FINE, MUSR)[0] == 4
    assert night((BAD, OPEN), FINE, MUSR, lenient=True)[0] == 0
    assert night((BAD, BROKEN), BROKEN, MUSR)[0] == 3
    assert night((BROKEN, FINE), BROKEN, MUSR)[0] == 3, "what is INVALID is no difference"


def test_a_waiver_names_who_until_when_and_why_and_one_that_expired_is_said():
    code, made = night((BAD, FINE), FINE, MUSR)
    assert told([made.suites[0].waiver]) == ["known and accepted by Ann until 2026-11-30: softmax in bf16"]
    assert (made.suites[0].reasons[-1], made.suites[1].waiver) == (made.suites[0].waiver, None)
    code, late = night((BAD, FINE), FINE, MUSR, day="2026-12-01")
    assert (code, late.suites[0].waiver) == (1, None)
    assert told(late.notes)[-1] == "line 2: musr: expired on 2026-11-30, and the difference is still there"


def test_an_entry_for_a_suite_that_is_not_compared_is_said():
    typo = replace(MUSR, suite="mursr", line=9)
    code, made = night((BAD, FINE), FINE, MUSR, typo, MEAN)
    assert code == 0
    assert told(made.notes)[-1] == "line 9: no suite here is called 'mursr': did you mean 'musr'?"
    assert not [note for note in night((BAD, FINE), FINE, MUSR, MEAN)[1].notes if note.code == "known.no_suite"]


def test_a_waived_row_fails_no_job_and_is_no_pass():
    from xml.etree import ElementTree as ET

    from evalkit.render.report import github_annotations, junit

    made = night((BAD, FINE), FINE, MUSR)[1]
    case = ET.fromstring(junit(made)).find(".//testcase[@name='musr']")
    assert "accepted by Ann" in case.find("skipped").get("message")
    assert github_annotations(made).startswith("::warning title=evalkit%3A ")
