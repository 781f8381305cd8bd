"""Of several calls of tools in one reply only the first is kept."""

from model import Fault


class ParallelDropped(Fault):
    source = "https://github.com/ml-explore/mlx-lm/pull/1171"
    expected = ("tools.parallel",)

    def reply(self, fields, reply, in_flight):
        message = reply["choices"][0]["message"]
        if message.get("tool_calls"):
            message["tool_calls"] = message["tool_calls"][:1]
        return reply
