"""At eight in flight one reply in fifty is another request's."""

from model import Fault


class Crossed(Fault):
    source = "https://github.com/vllm-project/vllm/issues/56009"
    expected = ("load.marks",)

    def settle(self):
        self.from_in_flight = self.rng.choice((4, 8))
        self.last, self.next = None, self.rng.randrange(50)

    def reply(self, fields, reply, in_flight):
        before, self.last = self.last, reply
        self.next -= in_flight >= self.from_in_flight
        strikes = self.next < 0
        self.next += 50 * strikes
        return before if strikes and before is not None else reply
