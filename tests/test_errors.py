"""An unknown word is told with the nearest one that is known, else with what there is."""

import pytest

from evalkit.errors import NAMED, did_you_mean, nearest


@pytest.mark.parametrize(
    ("word", "known", "told"),
    [
        ("mursr", ["musr", "mmlu"], ": did you mean 'musr'?"),
        ("zzz", ["musr", "mmlu"], ": there are musr, mmlu"),
        ("zzz", [], ": there are none"),
        (
            "zzz",
            [f"s{n}" for n in range(NAMED + 1)],
            f": there are {', '.join(f's{n}' for n in range(NAMED))} and more",
        ),
    ],
)
def test_what_was_meant_or_what_there_is(word, known, told):
    assert did_you_mean(word, iter(known)) == told


def test_a_sentence_may_end_otherwise():
    assert did_you_mean("zzz", ["musr"], "; `evalkit suites` lists them") == "; `evalkit suites` lists them"
    assert nearest("musk", ["musr"], cutoff=0.9) is None
