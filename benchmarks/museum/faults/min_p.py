"""A sampler that knows no min_p: the request's is dropped on the way."""

from model import Fault


class MinP(Fault):
    source = "https://github.com/flagos-ai/vllm-plugin-FL/pull/432"
    expected = ("sampler.min_p",)

    def request(self, fields):
        return {key: value for key, value in fields.items() if key != "min_p"}
