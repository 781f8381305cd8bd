"""A streamed call of a tool ends with the finish reason of a text."""

from model import Fault


class StreamedFinish(Fault):
    source = "https://github.com/vllm-project/vllm/pull/9209"
    expected = ("tools.streamed",)

    def ending(self, finish, usage):
        return ("stop" if finish == "tool_calls" else finish), usage
