"""Refusals are labelled; mere uncertainty is not."""

import pytest

from evalkit.scoring.answers.reply import is_refusal


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, I can't help with that.",
        "I cannot assist with this request",
        "I’m unable to provide that information.",
        "I must respectfully decline.",
        "很抱歉，我无法回答这个问题。",
    ],
)
def test_refusals(text):
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "I cannot determine",
        "I can't tell which one is right",
        "The police cannot help the suspect",
        "A long solution. " * 60 + "I cannot help",
        "",
    ],
)
def test_what_is_no_refusal(text):
    assert not is_refusal(text)
