"""Arguments beyond ASCII are decoded as Latin-1."""

from model import Fault


class MangledArguments(Fault):
    source = "https://github.com/Yeachan-Heo/gajae-code/pull/4352"
    expected = ("tools.valid",)

    def reply(self, fields, reply, in_flight):
        for call in reply["choices"][0]["message"].get("tool_calls") or ():
            call["function"]["arguments"] = call["function"]["arguments"].encode().decode("latin-1")
        return reply
