"""Seeds are discarded: the same request is drawn anew each time."""

from model import Fault


class Seed(Fault):
    source = "https://github.com/flagos-ai/vllm-plugin-FL/pull/432"
    expected = ("sampler.seed",)

    def request(self, fields):
        return {**fields, "seed": self.rng.random()}
