"""Earlier reasoning is dropped from the history."""

from model import Fault


class HistoryDropped(Fault):
    source = "https://github.com/NousResearch/hermes-agent/issues/75725"
    expected = ("prompt.tokens",)

    def request(self, fields):
        kept = [{key: value for key, value in one.items() if key != "reasoning_content"} for one in fields["messages"]]
        return {**fields, "messages": kept}
