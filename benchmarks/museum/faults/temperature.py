"""A sampler with a temperature of its own, whatever a request says."""

from model import Fault


class Temperature(Fault):
    source = "https://github.com/google-ai-edge/LiteRT-LM/issues/2080"
    expected = ("sampler.temperature", "sampler.plain", "sampler.top_p", "sampler.min_p")

    def settle(self):
        self.forced = self.rng.choice((0.6, 0.7, 0.8))

    def request(self, fields):
        return {**fields, "temperature": self.forced} if fields.get("temperature") else fields
