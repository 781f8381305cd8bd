"""A temperature of 0 is taken for one that was not given."""

from model import Fault


class ZeroTemperature(Fault):
    source = "https://github.com/promptfoo/promptfoo/issues/8161"
    expected = ("sampler.greedy",)

    def request(self, fields):
        greedy = fields.get("temperature") == 0
        return {**fields, "temperature": 1.0, "seed": fields.get("seed") or self.rng.random()} if greedy else fields
