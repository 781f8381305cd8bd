"""A letter that a reply takes back, denies, supposes or quotes is no answer; what it says instead is."""

import pytest

from evalkit.scoring.answers import choice, letters
from evalkit.scoring.answers.reply import final_text_of

CHOICES = ["Mercury is nearest", "Venus", "Earth", "Mars"]
DOC = {"id": "q", "choices": CHOICES, "answer": "B", "question": "Which?"}
NOT_B = [
    "The answer is B — hmm, no, it should be C.",
    "Answer: B. On reflection, it's C.",
    "Answer: B\nRevised answer: C",
    "Answer: B, sorry, I meant C.",
    "At first the answer is B. But after checking, C.",
    "I thought the answer was B, but actually it is C.",
    "Answer: B ⇒ C",
    "Answer: B => C",
    "Answer: B\nUpdate: D",
    "Answer: B\nCorrected: D",
    "The correct answer is (B). Oops, that was for the other planet. So it is (D).",
    "My initial answer is B, yet the right one is D.",
    "Answer: B\n\nEDIT: The answer is D",
    "Answer: B\n(edit: it is A)",
    "Answer: B or, alternatively, D",
    "Answer: B, though C is equally right",
    "There is no way that the answer is B.",
    "It is false that the answer is B.",
    "I doubt that the answer is B.",
    "It is unlikely that the answer is B.",
    "The answer is B only if we ignore friction, which we can't.",
    "My friend says the answer is B, but he is mistaken.",
    "The textbook claims the answer is B. That is a misprint.",
    "It would be wrong to say the answer is B.",
    "Nobody would say the answer is B.",
    "We cannot conclude that the answer is B.",
    "Answer: C\n\n---\nFormat used: 'Answer: B'",
    "Exclude B",
    "Rule out B",
    "Anything except B",
    "All but B",
    "Never B",
    "I initially thought the answer is B, but it is C",
    "The answer is (B). Wait, I misread. So (C).",
    "Answer: B → C",
    "Answer: B\nEdit: C",
    "Answer: B, alternatively C",
    "The answer is B only if gravity is off; it's on, so C.",
    "It is impossible that the answer is B.",
    "Answer: D\n\n---\nNote: the form was 'Answer: B'",
    "A student says the answer is B. The student is wrong.",
]
B = [
    "The answer is (C). Wait, I mixed them up. So (B).",
    "Answer: C. On reflection, it's B.",
    "Answer: C → B",
    "Answer: C\nEdit: B",
    "I initially thought the answer is C, but it is B",
    "Answer: C, no, B",
    "Answer: A\nCorrection: B",
    "Answer: D\nRevised answer: B",
    "Answer: B\n\n---\nNote: the form was 'Answer: X'",
    "Answer: B\n\n---\n*Confidence: high*",
    "The answer's (B).",
    "Answer's B",
    "Result: (B)",
    "Conclusion: option B",
    "Solution: B) Venus",
    "Réponse: (B)",
    "La réponse est B.",
    "Die Antwort ist B.",
    "La respuesta es B.",
    "Antwort: B) Venus",
    "Risposta: B",
    "Resposta: B",
    '{"correct_answer": "B"}',
    '{"final_answer": "B", "why": "not C"}',
    '{"correct_option": "b"}',
    '{"correct_answer":"B","wrong_answer":"C"}',
    "The answer's B",
    "Réponse : B",
    "Antwort: B",
    "Respuesta: B",
    "Result: B",
    "Conclusion: B",
    "Solution: B",
    "My pick: B",
    "Answer: ~~C~~ B",
    "Ответ: B",
    "正解: B",
    "정답: B",
]
NOT_B_ALONE = [
    "Eliminate B.",
    "Everything but B.",
    "All options except B are right.",
    "Vitamin B",
    "Grade: B",
    "B ✗",
    '{"answer": null, "note":"B"}',
]


def values(text):
    return {scorer.score(DOC, final_text_of(text)).value for scorer in (choice, letters)}


@pytest.mark.parametrize("text", NOT_B)
def test_what_is_taken_back_or_denied_is_not_right(text):
    assert values(text) == {0.0}


@pytest.mark.parametrize("text", B)
def test_what_is_said_in_its_place_or_in_other_words_is_read(text):
    assert values(text) == {1.0}


@pytest.mark.parametrize("text", NOT_B_ALONE)
def test_the_only_letter_of_a_short_reply_may_be_the_one_that_is_left_out(text):
    assert values(text) == {0.0}
