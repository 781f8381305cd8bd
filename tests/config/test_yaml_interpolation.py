"""`${VAR}`: filled in, defaulted, escaped, or refused with its place; secret values are remembered, not shown."""

import pytest

from evalkit.config.yaml import Interpolator, Origin
from evalkit.errors import ConfigError

ENVIRONMENT = {"HOST": "h", "EMPTY": "", "API_KEY": "sk-abcdefgh", "TRICKY": "${HOST}"}


def fill(text, interpolator=None):
    return (interpolator or Interpolator(ENVIRONMENT))(text, Origin("f.yaml", 3), "base_url")


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("plain $HOST $$ $", "plain $HOST $$ $"),
        ("${HOST}", "h"),
        ("http://${HOST}:${PORT:-80}/${HOST}", "http://h:80/h"),
        ("${EMPTY}", ""),
        ("${EMPTY:-x}", "x"),
        ("${UNSET:-}", ""),
        ("${UNSET:-a:-b $c}", "a:-b $c"),
        ("$${HOST}", "${HOST}"),
        ("$$${HOST}", "$${HOST}"),
        ("${TRICKY}", "${HOST}"),  # what comes from the environment is not read again
    ],
)
def test_variables_are_filled_in(text, filled):
    assert fill(text) == filled


def test_an_unset_variable_is_named_with_file_line_and_key():
    with pytest.raises(ConfigError) as caught:
        fill("${NOPE}")
    assert str(caught.value) == (
        "f.yaml:3: base_url: the environment variable NOPE is not set: export it, or give a default with ${NOPE:-...}"
    )


@pytest.mark.parametrize("text", ["${", "${}", "${a b}", "${HOST:+x}", "${A:-${B}}", "${1}", "${HOST"])
def test_what_is_no_variable_is_refused(text):
    with pytest.raises(ConfigError, match=r"f\.yaml:3: base_url: .* is not a variable"):
        fill(text)


def test_values_of_variables_with_secret_names_are_remembered_for_redaction():
    interpolator = Interpolator(ENVIRONMENT)
    fill("${HOST} ${API_KEY} ${OTHER_TOKEN:-EMPTY}", interpolator)
    assert interpolator.secrets == {"sk-abcdefgh"}
    assert "sk-abcdefgh" not in repr(interpolator)
