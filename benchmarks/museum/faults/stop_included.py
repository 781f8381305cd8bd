"""The text that stops an answer is left in it."""

from model import Fault


class StopIncluded(Fault):
    source = "https://github.com/stanford-crfm/helm/pull/927"
    expected = ("limit.stop",)

    def reply(self, fields, reply, in_flight):
        choice = reply["choices"][0]
        if fields.get("stop") and choice["finish_reason"] == "stop":
            choice["message"]["content"] += fields["stop"][0]
        return reply
