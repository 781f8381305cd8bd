"""The list of known differences: read strictly, mistakes by line and key, remarks on what is stale."""

from datetime import date

import pytest
from reasons import told

from evalkit.errors import UsageError
from evalkit.publish.history import Known, night_of, read_known, remarks, series_of

GOOD = """\
# what we live with
- suite: musr
  from: 2026-11-06
  until: "2026-11-30"
  reason: softmax in bf16

- {suite: aime24, from: 2026-11-01, until: 2026-11-02, reason: 二号机}
"""


def test_read(tmp_path):
    path = tmp_path / "known.yaml"
    path.write_text(GOOD)
    assert read_known(path) == (
        Known("musr", date(2026, 11, 6), date(2026, 11, 30), "softmax in bf16", 2),
        Known("aime24", date(2026, 11, 1), date(2026, 11, 2), "二号机", 7),
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
    (GOOD.replace("from: 2026-11-06", "from: soon"), "line 2: from: 'soon' is no date"),
    (GOOD.replace("from: 2026-11-06", "from: 7"), "line 2: from: 7 is no date"),
    (GOOD.replace("from: 2026-11-06", "from: 2026-12-06"), "line 2: until: 2026-11-30 is before 2026-12-06"),
    ("- {suite: x\n", "line 2: this is not YAML"),
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
    fine = Known("musr", date(2026, 11, 6), date(2026, 11, 30), "x", 1)
    expired = Known("musr", date(2026, 11, 6), date(2026, 11, 9), "x", 2)
    healed = Known("gpqa_diamond", date(2026, 11, 1), date(2026, 11, 9), "x", 3)
    typo = Known("mursr", date(2026, 11, 6), date(2026, 11, 30), "x", 4)
    assert list(remarks([fine], series)) == []
    assert told(remarks([expired], series)) == [
        "line 2: musr: expired on 2026-11-09, and the difference is still there"
    ]
    assert list(remarks([expired, fine, healed], series)) == []
    assert told(remarks([typo], series)) == ["line 4: no night has a suite 'mursr': did you mean 'musr'?"]
