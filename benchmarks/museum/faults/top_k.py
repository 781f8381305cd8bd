"""A sampler that knows no top_k: the request's is dropped on the way."""

from model import Fault


class TopK(Fault):
    source = "https://github.com/flagos-ai/vllm-plugin-FL/pull/432"
    expected = ("sampler.top_k",)

    def request(self, fields):
        return {key: value for key, value in fields.items() if key != "top_k"}
