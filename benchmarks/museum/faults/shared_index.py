"""Streamed calls of tools all have index 0: their arguments run into each other."""

from model import Fault


class SharedIndex(Fault):
    source = "https://github.com/ai-dynamo/dynamo/pull/4723"
    expected = ("tools.streamed",)

    def pieces(self, fields, pieces):
        for piece in pieces:
            for call in piece.get("tool_calls", ()):
                call["index"] = 0
        return pieces
