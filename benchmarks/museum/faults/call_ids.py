"""All calls of tools have the same id."""

from model import Fault


class CallIds(Fault):
    source = "https://github.com/HKUDS/nanobot/pull/3943"
    expected = ("tools.ids",)

    def reply(self, fields, reply, in_flight):
        for call in reply["choices"][0]["message"].get("tool_calls") or ():
            call["id"] = "call_0"
        return reply
