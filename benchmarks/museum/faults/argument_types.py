"""A tool parser that makes a text of every argument."""

import json

from model import Fault


class ArgumentTypes(Fault):
    source = "https://github.com/sgl-project/sglang/issues/35564"
    expected = ("tools.valid",)

    def reply(self, fields, reply, in_flight):
        for call in reply["choices"][0]["message"].get("tool_calls") or ():
            values = json.loads(call["function"]["arguments"])
            as_text = {key: str(value) for key, value in values.items()}
            call["function"]["arguments"] = json.dumps(as_text, ensure_ascii=False)
        return reply
