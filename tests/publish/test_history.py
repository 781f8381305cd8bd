"""The history: nights as lines and back, episodes, what changed, known differences, the gate."""

import json
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import UsageError
from evalkit.model import Verdict, said
from evalkit.publish.history import FactChange, Known, changes, from_line, gate, night_of, series_of, to_line


@pytest.fixture(scope="module")
def nights(example, story):
    return [night_of(one) for one in story]


@pytest.fixture(scope="module")
def series(nights):
    (only,) = series_of(nights)
    return only


def trend(series, suite):
    return next(one for one in series.suites if one.suite == suite)


def test_a_line_reads_back(nights):
    for night in nights:
        line = to_line(night)
        assert line.count(b"\n") == 1
        assert from_line(line.rstrip(b"\n"), "here") == night


def test_a_line_of_before_the_overall_row_was_kept_reads(nights):
    made = json.loads(to_line(nights[11]))
    assert made.pop("mean")["suite"] == "overall"
    assert from_line(json.dumps(made).encode(), "here") == replace(nights[11], mean=None)
    made["mean"] = {**json.loads(to_line(nights[11]))["mean"], "reasons": [{"code": "nobody.says", "values": {}}]}
    with pytest.raises(UsageError, match=r"nobody\.says.*mend or delete the line"):
        from_line(json.dumps(made).encode(), "here")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda d: "{", "no line of a history"),
        (lambda d: "[1]", "no line of a history"),
        (lambda d: {**d, "format": 2}, "newer evalkit"),
        (lambda d: {**d, "nigth": "x"}, "nigth"),
        (lambda d: {**d, "night": "yesterday"}, "'yesterday' is no date"),
        (lambda d: {**d, "exit_code": "0"}, "exit_code"),
    ],
)
def test_a_wrong_line_is_named(nights, spoil, words):
    made = spoil(json.loads(to_line(nights[0])))
    line = made if isinstance(made, str) else json.dumps(made)
    with pytest.raises(UsageError, match=r"history\.jsonl line 3: ") as error:
        from_line(line.encode(), "history.jsonl line 3")
    assert words in str(error.value)


def test_what_a_night_keeps(nights):
    facts = nights[0].facts
    assert facts["candidate.build.flaggems"] == "5.3.4"
    assert facts["candidate.build.image"] == "repo@sha256:aa"
    assert facts["candidate.endpoint.version"] == "0.28.0"
    assert facts["candidate.versions.vllm"] == "0.28.0"
    assert facts["candidate.config.launch.env.USE_FLAGGEMS"] == "1"
    assert facts["candidate.sampling.temperature"] == "0.6"
    assert facts["musr.data"] == "sha256:4b1d6f02"
    assert not [name for name in facts if "night" in name or "base_url" in name]
    assert "gpu-7" not in to_line(nights[0]).decode()


@pytest.mark.parametrize(
    ("build", "facts"),
    [
        ("sha256:abc", {"candidate.build": "sha256:abc"}),
        (
            "flaggems=5.3.5, vllm=0.28.0; date=2026-11-01",
            {"candidate.build.flaggems": "5.3.5", "candidate.build.vllm": "0.28.0"},
        ),
        ("FlagGems 5.3.5 vllm=0.28.0", {"candidate.build": "FlagGems 5.3.5 vllm=0.28.0"}),
    ],
)
def test_a_build_in_pairs_is_as_many_facts(story, build, facts):
    candidate = replace(story[0].candidate, endpoint={"build": build})
    made = night_of(replace(story[0], candidate=candidate)).facts
    assert {name: value for name, value in made.items() if "build" in name} == facts


def test_what_the_user_knows_stands_over_what_the_runs_say(story):
    night = night_of(story[0], "2026-12-24", "nightly", {"driver": "580", "candidate.build.flaggems": "6"})
    assert (night.night, night.series, night.facts["driver"]) == ("2026-12-24", "nightly", "580")
    assert night.facts["candidate.build.flaggems"] == "6"
    with pytest.raises(UsageError, match=r"'24\.12\.' is no date"):
        night_of(story[0], "24.12.")


def test_first_bad_nights_and_what_changed_then(series):
    (bad,) = trend(series, "musr").episodes
    assert (bad.last_good.night, bad.first_bad.night, bad.last_bad.night) == ("2026-11-04", "2026-11-06", "2026-11-12")
    assert bad.recovered is None
    assert bad.changed == (
        FactChange("candidate.build.driver", "570.1", "575.2"),
        FactChange("candidate.build.flaggems", "5.3.4", "5.3.5"),
    )
    first, second = trend(series, "aime24").episodes
    assert (first.last_good.night, first.first_bad.night, first.recovered.night) == (
        "2026-11-01",
        "2026-11-03",
        "2026-11-05",
    )
    assert first.changed == ()
    assert (second.first_bad.night, second.recovered) == ("2026-11-12", None)
    assert trend(series, "gpqa_diamond").episodes == ()
    assert trend(series, "musr").lasting is bad
    assert trend(series, "gpqa_diamond").lasting is None


@given(st.text("ED?X", min_size=1, max_size=15))
def test_episodes_cover_exactly_the_bad_nights(example, story, signs):
    made = [
        night_of(replace(one, suites=(replace(one.suites[0], verdict=verdict(sign)),)))
        for one, sign in zip(story * 2, signs, strict=False)
    ]
    made = [replace(night, created=f"{i:02d}", night=f"2026-01-{i + 1:02d}") for i, night in enumerate(made)]
    (only,) = series_of(made)
    covered = set()
    for episode in only.suites[0].episodes:
        assert episode.first_bad.order <= episode.last_bad.order
        assert episode.last_good is None or episode.last_good.order < episode.first_bad.order
        assert episode.recovered is None or episode.recovered.order > episode.last_bad.order
        covered |= {n.created for n in made if episode.first_bad.order <= n.order <= episode.last_bad.order}
    bad = {night.created for night in made if night.suites[0].verdict in {Verdict.DEGRADED, Verdict.INVALID}}
    assert bad <= covered
    assert all(night.suites[0].verdict is not Verdict.EQUIVALENT for night in made if night.created in covered)


def verdict(sign):
    return {"E": Verdict.EQUIVALENT, "D": Verdict.DEGRADED, "?": Verdict.INCONCLUSIVE, "X": Verdict.INVALID}[sign]


def test_order_is_time_not_the_file_and_a_night_added_again_replaces(nights, series):
    again = replace(nights[0], facts={"driver": "1"})
    (shuffled,) = series_of([*reversed(nights), again])
    assert [night.night for night in shuffled.nights] == [night.night for night in series.nights]
    assert shuffled.nights[0].facts == {"driver": "1"}


def test_two_nights_of_one_second_are_both_kept(nights):
    twin = replace(nights[0], candidate_run="another", verdict=Verdict.DEGRADED)
    (made,) = series_of([twin, *nights[:2]])
    assert [night.candidate_run for night in made.nights] == ["another", "cand-01", "cand-02"]
    assert len(trend(made, "musr").points) == 3


def test_series_are_kept_apart(nights):
    other = [replace(night, series="another") for night in nights[:2]]
    assert [(one.name, len(one.nights)) for one in series_of([*nights, *other])] == [
        ("candidate against reference", 12),
        ("another", 2),
    ]


def test_changes_name_what_came_and_what_went(nights):
    before, after = replace(nights[0], facts={"a": "1", "b": "2"}), replace(nights[1], facts={"a": "1", "c": "3"})
    assert changes(before, after) == (FactChange("b", "2", None), FactChange("c", None, "3"))


def test_what_nobody_was_there_to_say_has_not_changed(nights):
    facts = {"candidate.endpoint.version": "0.10", "candidate.build.driver": "570"}
    before = replace(nights[0], facts=facts)
    after = replace(nights[1], facts={"candidate.build.driver": "575", "new": "1"}, stopped=(said("down"),))
    assert changes(before, after) == (FactChange("candidate.build.driver", "570", "575"), FactChange("new", None, "1"))
    assert changes(after, before) == (FactChange("candidate.build.driver", "575", "570"), FactChange("new", "1", None))


KNOWN = Known("musr", date(2026, 11, 6), date(2026, 11, 30), "Ann", "softmax in bf16")


def test_a_known_difference_covers_its_suite_in_its_time_and_no_invalid_night(series):
    musr = trend(series, "musr")
    covered = [
        night.night[-2:]
        for night, result in musr.points
        if KNOWN.covers(date.fromisoformat(night.night), result.suite, result.verdict)
    ]
    assert covered == ["06", "07", "09", "10", "11", "12"]
    aime = trend(series, "aime24")
    assert not any(
        KNOWN.covers(date.fromisoformat(night.night), result.suite, result.verdict) for night, result in aime.points
    )


def test_the_gate(nights):
    until = {day: series_of(nights[:day]) for day in (2, 6, 8, 9, 12)}
    assert gate(until[2], [KNOWN]) == 4, "aime24 is open"
    assert gate(until[6], []) == 1
    assert gate(until[6], [KNOWN]) == 4, "what is left is open"
    assert gate(until[6], [KNOWN], lenient=True) == 0
    assert gate(until[6], [], lenient=True) == 1
    assert gate(until[2], [], lenient=True) == 0
    assert gate(until[8], [KNOWN]) == 3, "INVALID is no difference"
    assert gate(until[9], [KNOWN]) == 0
    assert gate(until[9], [replace(KNOWN, until=date(2026, 11, 8))]) == 1, "expired"
    assert gate(until[12], [KNOWN]) == 1, "aime24 is ELEVATED, and nobody knows"
    assert gate((), []) == 0
    mean = [replace(night, overall=Verdict.DEGRADED) for night in nights[:9]]
    assert gate(series_of(mean), [KNOWN]) == 1, "a mean that differs wants an entry of its own"
    assert gate(series_of(mean), [KNOWN, replace(KNOWN, suite="overall")]) == 0
    empty = replace(nights[0], suites=(), verdict=Verdict.INVALID)
    assert gate(series_of([empty]), [KNOWN]) == 3
