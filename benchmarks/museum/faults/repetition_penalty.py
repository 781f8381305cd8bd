"""A sampler that knows no repetition_penalty."""

from model import Fault


class RepetitionPenalty(Fault):
    source = "https://github.com/flagos-ai/vllm-plugin-FL/pull/432"
    expected = ("sampler.repetition_penalty",)

    def request(self, fields):
        return {key: value for key, value in fields.items() if key != "repetition_penalty"}
