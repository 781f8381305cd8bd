"""Under load one tool call in twenty comes with empty arguments."""

from model import Fault


class EmptyArguments(Fault):
    source = "https://github.com/vllm-project/vllm/issues/49248"
    expected = ("load.arguments",)

    def settle(self):
        self.from_in_flight = self.rng.choice((4, 8))

    def reply(self, fields, reply, in_flight):
        calls = reply["choices"][0]["message"].get("tool_calls")
        if calls and in_flight >= self.from_in_flight and self.rng.random() < 0.05:
            calls[0]["function"]["arguments"] = ""
        return reply
