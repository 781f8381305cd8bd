"""A top_p kernel whose prefix sum is wrong for some rows of a batch: these are drawn outside the nucleus."""

from model import Fault


class NucleusKernel(Fault):
    source = "https://github.com/ROCm/aiter/pull/2035"
    expected = ("sampler.top_p",)

    def settle(self):
        self.share = self.rng.uniform(0.3, 0.9)

    def request(self, fields):
        wrong = fields.get("top_p", 1.0) < 1.0 and self.rng.random() < self.share
        return {**fields, "top_p": 1.0} if wrong else fields
