"""A sampler that knows no frequency_penalty: the request's is dropped on the way."""

from model import Fault


class FrequencyPenalty(Fault):
    source = "https://github.com/flagos-ai/vllm-plugin-FL/pull/432"
    expected = ("sampler.frequency_penalty",)

    def request(self, fields):
        return {key: value for key, value in fields.items() if key != "frequency_penalty"}
