"""What of a reply may be graded: thinking traces, cut-off replies, empty ones."""

import pytest

from evalkit.model import FinalText, Reply, Status, Usage
from evalkit.scoring.answers.reply import (
    READ_CHARS,
    boxes,
    final_text,
    final_text_of,
    for_matching,
    for_maths,
    unanswered,
)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("plain", "plain"),
        ("<think>a</think>b", "b"),
        ("the opening tag was in the prompt</think>\n\nb", "\n\nb"),
        ("<think>a</think>b<think>c</think>d", "d"),
        ("<thinking>a</thinking>b", "b"),
        ("<thought>a</thought> b ", " b "),
        ("<THINK>a</Think>b", "b"),
        ("<think>quotes </thought> inside</think>b", "b"),
        ("no tag but a < b > c / d", "no tag but a < b > c / d"),
    ],
)
def test_the_text_after_the_last_closing_tag_is_kept_as_it_came(content, text):
    assert final_text_of(content) == FinalText(text)


@pytest.mark.parametrize(
    ("content", "reasoning", "finish", "status", "reason"),
    [
        ("<think>a", "", "length", Status.TRUNCATED, "truncated_in_reasoning"),
        ("<think>a", "", "stop", Status.TRUNCATED, "unclosed_think"),
        ("<thinking>a", "", "stop", Status.TRUNCATED, "unclosed_think"),
        ("<think>a</think>b<think>Answer: C", "", "stop", Status.TRUNCATED, "unclosed_think"),
        ("", "", "stop", Status.EMPTY, "empty"),
        (" \n", "", None, Status.EMPTY, "empty"),
        ("<think>a</think>\n", "", "stop", Status.EMPTY, "empty"),
        ("", "a", "stop", Status.REASONING_ONLY, "reasoning_only"),
        ("", "a", "length", Status.TRUNCATED, "truncated_in_reasoning"),
        ("", "", "length", Status.TRUNCATED, "truncated"),
        ("<think>a</think>", "", "length", Status.TRUNCATED, "truncated"),
        ("Answer: C", "", "content_filter", Status.REFUSED, "content_filter"),
        ("", "a", "refusal", Status.REFUSED, "refusal"),
        ("", "", "tool_calls", Status.TOOL_CALL, "tool_calls"),
        ("<think>a</think>", "", "function_call", Status.TOOL_CALL, "tool_calls"),
    ],
)
def test_where_nothing_may_be_graded_the_reason_is_named(content, reasoning, finish, status, reason):
    final = final_text_of(content, reasoning, finish)
    assert (final.text, final.status, final.reason) == ("", status, reason)
    score = unanswered(final)
    assert score is not None
    assert (score.value, score.status, score.reason) == (0.0, status, reason)


def test_reasoning_is_never_graded():
    assert final_text_of("Answer: A", "Answer: C").text == "Answer: A"


def test_a_reply_that_was_cut_off_after_its_thinking_is_graded_with_care():
    final = final_text_of("<think>a</think>so the Answer", "", "length")
    assert final == FinalText("so the Answer", truncated=True)
    assert unanswered(final) is None
    assert final.midway
    assert not final_text_of("Answer: C\n", "", "length").midway
    assert not final_text_of("Answer: C").midway


def test_a_model_may_have_tags_of_its_own():
    tags = ("[/THINK]", "</think>")
    assert final_text_of("[THINK]a[/THINK]b", closing_tags=tags).text == "b"
    assert final_text_of("[THINK]a", closing_tags=tags).reason == "unclosed_think"
    assert final_text_of("a<|done|>b", closing_tags=("<|done|>",)).text == "b"
    assert final_text_of("<think>a", closing_tags=()).text == "<think>a"


def test_a_reply_is_read_by_its_fields():
    reply = Reply("<think>a</think>b", "c", "length", Usage(), "m", 1.0, b"{}")
    assert final_text(reply) == FinalText("b", truncated=True)


def test_a_failure_status_has_no_value():
    score = unanswered(FinalText("", Status.FAILED, "connection"))
    assert score is not None
    assert score.value is None


@pytest.mark.parametrize("loop", ["word ", "\\boxed{", "½", "（", "<answer>\n"])
def test_of_a_loop_the_beginning_and_the_end_are_read(loop):
    endless = loop * (1_000_000 // len(loop))
    for text in (f"Answer: 42\n\n{endless}", f"{endless}\n\nAnswer: 42\n"):
        for reader in (for_matching, for_maths):
            read = reader(text)
            assert "Answer: 42" in read
            assert len(read) <= 2 * READ_CHARS + 20
    assert for_matching("a" * 2 * READ_CHARS) == "a" * 2 * READ_CHARS


def test_a_box_that_the_cut_leaves_open_takes_in_nothing():
    text = "\\boxed{" + "a" * 1_000_000 + "}\nAnswer: \\boxed{42}"
    assert [box.content for box in boxes(for_maths(text))] == ["42"]
