"""At eight in flight one reply in fifty is another request's."""

from model import Fault


class Crossed(Fault):
    source = "https://github.com/vllm-project/vllm/issues/56009"
    expected = ("load.marks",)

    def settle(self):
        self.from_in_flight = self.rng.choice((4, 8))
        self.last = None

    def reply(self, fields, reply, in_flight):
        before, self.last = self.last, reply
        strikes = in_flight >= self.from_in_flight and self.rng.random() < 0.02
        return before if strikes and before is not None else reply
