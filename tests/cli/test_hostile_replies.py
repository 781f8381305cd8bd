"""Odd and hostile replies, from a server through `evalkit run` to the scores: none raises, none is scored for what it is not."""

import json
import re

import pytest
from picture_endpoint import PictureEndpoint

from evalkit.foreign.sources import read_side

MEGABYTE = "x" * 1_000_000
ANY = "C or none"


def says(content, **more):
    return {"role": "assistant", "content": content, **more}


# Each with the letter that is to be read; "fail" is no reply.
REPLIES = [
    ("plain", says("Answer: C"), "C"),
    ("think", says("<think>A?</think>Answer: C"), "C"),
    ("nested think", says("<think>a<think>b</think>Answer: A</think>Answer: C"), "C"),
    ("unclosed think", says("<think>Answer: C"), None),
    ("unclosed second", says("<think>a</think>Answer: C<think>hm"), None),
    ("think after", says("Answer: C\n<think>maybe A</think>"), None),
    ("closing only", says("musing A</think>\nAnswer: C"), "C"),
    ("double closing", says("A</think></think>Answer: C"), "C"),
    ("THINK caps", says("<THINK>A</THINK>Answer: C"), "C"),
    ("thinking tag", says("<thinking>Answer: A</thinking>Answer: C"), "C"),
    ("empty think", says("<think></think>Answer: C"), "C"),
    ("only think", says("<think>Answer: C</think>"), None),
    ("only closing", says("</think>"), None),
    ("tool json content", says('{"name": "answer", "arguments": {"letter": "C"}}'), None),
    ("tool xml", says('<tool_call>{"name":"submit","arguments":{"answer":"C"}}</tool_call>'), ANY),
    (
        "tool calls",
        says(
            None, tool_calls=[{"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"answer":"C"}'}}]
        ),
        None,
    ),
    (
        "tool calls+text",
        says("Answer: C", tool_calls=[{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]),
        "C",
    ),
    ("refusal", says(None, refusal="I can't"), None),
    ("refusal+text", says("Answer: C", refusal=None), "C"),
    ("parts", says([{"type": "text", "text": "Answer: "}, {"type": "text", "text": "C"}]), "C"),
    ("parts think", says([{"type": "thinking", "thinking": "Answer: A"}, {"type": "text", "text": "Answer: C"}]), "C"),
    ("parts think after", says([{"type": "text", "text": "Answer: C"}, {"type": "reasoning", "text": "or A"}]), "C"),
    ("parts odd", says([{"type": "text"}, {"type": "text", "text": None}, 7, None, {"text": "Answer: C"}]), "C"),
    ("parts output_text", says([{"type": "output_text", "text": "Answer: C"}]), "C"),
    ("parts refusal", says([{"type": "refusal", "refusal": "no"}]), None),
    ("parts empty", says([]), None),
    ("content dict", says({"text": "Answer: C"}), "fail"),
    ("content number", says(7), "fail"),
    ("content true", says(True), "fail"),
    ("content null", says(None), None),
    ("reasoning empty", says("Answer: C", reasoning_content=""), "C"),
    ("reasoning only", says("", reasoning_content="Answer: C"), None),
    ("reasoning null", says("Answer: C", reasoning_content=None), "C"),
    ("reasoning list", says("Answer: C", reasoning=["A"]), "C"),
    ("1MB line then", says(MEGABYTE + "\nAnswer: C"), "C"),
    ("1MB line only", says(MEGABYTE), None),
    ("then 1MB", says("Answer: C\n" + MEGABYTE), "C"),
    ("1MB of (", says("(" * 1_000_000 + "\nAnswer: C"), "C"),
    ("1MB of boxed", says("\\boxed{" * 140_000), None),
    ("1MB of A B C", says("A B C D " * 120_000), None),
    ("1MB Answer:", says("Answer: " * 120_000 + "C"), "C"),
    ("1MB think", says("<think>" * 140_000), None),
    ("zero width", says("Ans\u200bwer:\u200b C\u200b"), "C"),
    ("zwj", says("Answer: \u200d(C)"), "C"),
    ("bom", says("\ufeffAnswer: C"), "C"),
    ("rtl mark", says("\u200fAnswer: C\u200f"), "C"),
    ("rtl override", says("\u202eAnswer: C\u202c"), "C"),
    ("isolates", says("Answer: \u2067C\u2069"), "C"),
    ("full width", says("Ａｎｓｗｅｒ： Ｃ"), "C"),
    ("full width letter", says("Answer: Ｃ"), "C"),
    ("full width paren", says("Answer: （C）"), "C"),
    ("circled", says("Answer: Ⓒ"), "C"),
    ("math bold", says("Answer: 𝐂"), "C"),
    ("cyrillic С", says("Answer: С"), None),
    ("greek", says("Answer: Γ"), None),
    ("soft hyphen", says("An\u00adswer: C"), "C"),
    ("nbsp", says("Answer:\u00a0C"), "C"),
    ("ideographic space", says("Answer:\u3000C"), "C"),
    ("line sep", says("Hm.\u2028Answer: C\u2029"), "C"),
    ("cr", says("Hm.\rAnswer: C\r"), "C"),
    ("vt", says("Hm.\x0bAnswer: C\x0c"), "C"),
    ("nul", says("Answer: C\x00"), ANY),
    ("nul before", says("\x00Answer: C"), "C"),
    ("nul inside", says("Answer:\x00C"), ANY),
    ("control", says("\x1b[1mAnswer: C\x1b[0m"), ANY),
    ("backspace", says("Answer: B\x08C"), ANY),
    ("tex text", says("Answer: $\\text{C}$"), "C"),
    ("tex boxed", says("\\boxed{\\text{C}}"), "C"),
    ("tex mathrm", says("$\\boxed{\\mathrm{(C)}}$"), "C"),
    ("tex textbf", says("\\textbf{Answer: C}"), "C"),
    ("tex color", says("\\color{red}{Answer: C}"), "C"),
    ("tex unclosed", says("\\boxed{C"), ANY),
    ("tex fbox", says("\\fbox{C}"), "C"),
    ("tex newcommand", says("\\newcommand{\\a}{A}\nAnswer: C"), "C"),
    ("html b", says("<b>Answer:</b> C"), ANY),
    ("html p", says("<p>Answer: C</p>"), "C"),
    ("html br", says("Answer: C<br/>"), "C"),
    ("html entity", says("Answer&#58; C"), ANY),
    ("html comment", says("<!-- Answer: A -->\nAnswer: C"), "C"),
    ("html doc", says("<!DOCTYPE html><html><title>502</title></html>"), None),
    ("script", says("<script>alert('A')</script>Answer: C"), "C"),
    ("markdown", says("**Answer:** **C**"), "C"),
    ("heading", says("## Answer\n\nC"), "C"),
    ("code fence", says("```\nC\n```"), "C"),
    ("code fence answer", says('```json\n{"answer": "C"}\n```'), "C"),
    ("quote", says("> Answer: C"), "C"),
    ("table", says("| Answer | C |"), "C"),
    ("list", says("- C"), "C"),
    ("emoji", says("Answer: C ✅"), "C"),
    ("keycap", says("Answer: C\ufe0f\u20e3"), ANY),
    ("combining", says("Answer: C\u0301"), ANY),
    ("zalgo", says("Answer: C" + "\u0301" * 50000), ANY),
    ("lone surrogate", says("Answer: C \ud83d"), "C"),
    ("replacement", says("Answer: C \ufffd"), "C"),
    ("all options", says("A) alpha\nB) beta\nC) gamma\nD) delta"), None),
    ("whitespace", says(" \n\t\u200b"), None),
    ("newlines", says("\n" * 1_000_000 + "Answer: C"), "C"),
    ("template run on", says("Answer: C<|im_end|>\n<|im_start|>user\nAnswer: A"), "C"),
    ("eos first", says("<|im_start|>assistant\nAnswer: C<|im_end|>"), "C"),
    ("two answers", says("Answer: A and Answer: C"), ANY),
    ("json in json", says('{"answer": "{\\"answer\\": \\"A\\"}"}\nAnswer: C'), "C"),
    ("yaml", says("answer: C"), "C"),
    ("python", says("print('A')\nAnswer: C"), "C"),
    ("number", says("3"), None),
    ("wrong", says("Answer: A"), "A"),
    ("chinese", says("答案：C"), "C"),
    ("chinese full", says("【答案】Ｃ"), "C"),
    ("answer tag nested", says("<answer><answer>C</answer></answer>"), "C"),
    ("answer tag unclosed", says("<answer>C"), "C"),
    ("answer in think", says("<think><answer>A</answer></think><answer>C</answer>"), "C"),
]


@pytest.fixture
def endpoint():
    server = PictureEndpoint()
    yield server
    server.close()


@pytest.mark.slow
def test_no_reply_raises_or_scores_for_what_it_is_not(endpoint, invoke, tmp_path):
    folder = tmp_path / "data" / "mmlu"
    folder.mkdir(parents=True)
    options = {"choices": ["alpha", "beta", "gamma", "delta"], "answer": 2, "subject": "anatomy"}
    for split, count in (("test", len(REPLIES)), ("dev", 5)):
        rows = [{"question": f"Which of {split}? (hint {n})", **options} for n in range(count)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def change(body, response):
        found = re.findall(r"of test\? \(hint (\d+)\)", str(body["messages"][-1]["content"]))
        if found:
            response["choices"][0]["message"] = REPLIES[int(found[0])][1]
        return response

    endpoint.change = change
    about = {"name": "odd", "base_url": endpoint.url, "model": "loopback", "data": str(tmp_path / "data")}
    about |= {"runs": str(tmp_path / "runs"), "limits": {"retries": 0}}
    path = tmp_path / "odd.yaml"
    path.write_text(json.dumps({**about, "suites": [{"name": "mmlu_gen_5shot", "partial_data": True}]}))
    done = invoke("run", path, "--quiet")
    assert done.code in {0, 3}, done.err
    side = read_side(tmp_path / "runs" / "odd")
    (samples,) = [suite.samples for suite in side.suites.values()]
    names = [samples.items.name[item] for item in samples.item.tolist()]
    numbers = [int(re.search(r"hint (\d+)", side.item("mmlu_gen_5shot", name).question)[1]) for name in names]
    assert sorted(numbers) == list(range(len(REPLIES)))
    wrong = []
    for row, number in enumerate(numbers):
        name, _message, letter = REPLIES[number]
        answer, status = samples.answer[row], samples.status[row]
        read = "fail" if status == "failed" else answer or None
        if read not in ({"C", None} if letter == ANY else {letter}) or status == "grade_error":
            wrong.append((name, letter, read, status))
    assert wrong == []
