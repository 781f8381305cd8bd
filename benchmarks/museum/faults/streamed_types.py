"""A tool call that is right whole and has numbers as texts when streamed."""

import re

from model import Fault


class StreamedTypes(Fault):
    source = "https://github.com/vllm-project/vllm/issues/49316"
    expected = ("tools.streamed",)

    def pieces(self, fields, pieces):
        for piece in pieces:
            for call in piece.get("tool_calls", ()):
                text = call["function"]["arguments"]
                call["function"]["arguments"] = re.sub(r"\b(\d+|true)\b", r'"\1"', text)
        return pieces
