"""The token that begins a text stands twice before every prompt."""

from model import Fault


class BosTwice(Fault):
    source = "https://github.com/vllm-project/vllm/pull/27517"
    expected = ("prompt.tokens",)

    def reply(self, fields, reply, in_flight):
        reply["usage"]["prompt_tokens"] += 1
        return reply
