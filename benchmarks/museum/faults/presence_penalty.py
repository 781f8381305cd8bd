"""A sampler that knows no presence_penalty: the request's is dropped on the way."""

from model import Fault


class PresencePenalty(Fault):
    source = "https://github.com/flagos-ai/vllm-plugin-FL/pull/432"
    expected = ("sampler.presence_penalty",)

    def request(self, fields):
        return {key: value for key, value in fields.items() if key != "presence_penalty"}
