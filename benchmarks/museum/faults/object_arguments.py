"""Arguments of a call come as an object where the API has a text."""

import json

from model import Fault


class ObjectArguments(Fault):
    source = "https://github.com/ggml-org/llama.cpp/issues/20198"
    expected = ("tools.valid",)

    def reply(self, fields, reply, in_flight):
        for call in reply["choices"][0]["message"].get("tool_calls") or ():
            if not fields.get("stream"):
                call["function"]["arguments"] = json.loads(call["function"]["arguments"])
        return reply
