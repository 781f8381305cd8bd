"""Of several stop texts only the last is heeded."""

from model import Fault


class LastStop(Fault):
    source = "https://github.com/stanford-crfm/helm/pull/948"
    expected = ("limit.stop",)

    def request(self, fields):
        return {**fields, "stop": fields["stop"][-1:]} if fields.get("stop") else fields
