"""logit_bias never reaches the sampler."""

from model import Fault


class LogitBias(Fault):
    source = "https://github.com/sgl-project/sglang/issues/6171"
    expected = ("limit.logit_bias",)

    def request(self, fields):
        return {key: value for key, value in fields.items() if key != "logit_bias"}
