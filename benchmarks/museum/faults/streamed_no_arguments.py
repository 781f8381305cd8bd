"""A tool parser that drops calls without arguments when they are streamed."""

from model import Fault


class StreamedNoArguments(Fault):
    source = "https://github.com/vllm-project/vllm/issues/44326"
    expected = ("tools.streamed",)

    def pieces(self, fields, pieces):
        calls = [call for piece in pieces for call in piece.get("tool_calls", ())]
        empty = calls and "".join(call["function"]["arguments"] for call in calls) == "{}"
        return [] if empty else pieces
