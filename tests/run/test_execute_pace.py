"""Both sides take one number of requests in flight, and the manifest says which."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

from evalkit.config import EndpointConfig
from evalkit.run import manifest
from evalkit.run.execute import as_before, paces, with_number
from evalkit.run.manifest import InFlight, Session


@dataclass
class Side:
    config: EndpointConfig
    folder: Path
    plan: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(digest="p1"))


def side(name, concurrency, folder):
    fields = {"name": name, "base_url": "http://127.0.0.1:1/v1", "model": "m", "limits": {"concurrency": concurrency}}
    return Side(EndpointConfig.model_validate(fields), folder / name)


def test_two_sides_that_leave_it_open_share_a_finder_and_the_first_leads(tmp_path):
    found = paces([side("ref", "auto", tmp_path), side("cand", "auto", tmp_path)])
    assert found["ref"].finder is found["cand"].finder is not None
    assert (found["ref"].leads, found["cand"].leads) == (True, False)


def test_a_number_in_the_configuration_is_no_search(tmp_path):
    found = paces([side("ref", 64, tmp_path), side("cand", "auto", tmp_path)])
    assert found["ref"].finder is None
    assert found["cand"].leads


SESSION = Session("ref", "p1", "2026-01-01", "m", {}, {}, {}, {"limits": {"concurrency": "auto", "retries": 8}}, [])
FOUND = InFlight(96, settled=True, why="more gave nothing")


def test_what_was_found_stands_in_the_manifest_where_a_comparison_sees_it_differ():
    session = with_number(SESSION, FOUND)
    assert session.config["limits"] == {"concurrency": 96, "retries": 8}
    assert session.in_flight == FOUND
    assert SESSION.config["limits"]["concurrency"] == "auto"


def test_a_session_that_asks_nothing_keeps_what_was_found():
    earlier = with_number(SESSION, FOUND)
    assert as_before(SESSION, earlier) == earlier
    fixed = replace(SESSION, config={"limits": {"concurrency": 8}})
    assert as_before(fixed, earlier) == fixed
    assert as_before(SESSION, SESSION) == SESSION


def test_a_run_goes_on_with_the_number_that_it_was_begun_with(tmp_path):
    one = side("ref", "auto", tmp_path)
    one.folder.mkdir()
    manifest.append(one.folder, with_number(SESSION, FOUND))
    finder = paces([one])["ref"].finder
    assert (finder.number, finder.settled) == (96, True)
    manifest.append(one.folder, with_number(SESSION, InFlight(64, settled=False, why="")))
    assert not paces([one])["ref"].finder.settled
