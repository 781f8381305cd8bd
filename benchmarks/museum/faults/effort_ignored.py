"""reasoning_effort never reaches the model."""

from model import Fault


class EffortIgnored(Fault):
    source = "https://simonwillison.net/2025/Aug/15/inconsistent-performance"
    expected = ("thinking.effort",)

    def request(self, fields):
        return {key: value for key, value in fields.items() if key != "reasoning_effort"}
