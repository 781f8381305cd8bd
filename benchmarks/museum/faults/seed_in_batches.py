"""A seed is only heeded where a request is alone in its batch."""

from model import Fault


class SeedInBatches(Fault):
    source = "https://github.com/vllm-project/vllm/issues/51226"
    expected = ("sampler.seed",)

    def settle(self):
        self.in_flight = 0

    def request(self, fields):
        self.in_flight += 1
        return {**fields, "seed": self.rng.random()} if self.in_flight > 1 else fields

    def reply(self, fields, reply, in_flight):
        self.in_flight -= 1
        return reply
