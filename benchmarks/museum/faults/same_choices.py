"""All choices of n are the same sample, whatever the temperature."""

from model import Fault


class SameChoices(Fault):
    source = "https://github.com/tenstorrent/tt-metal/issues/53077"
    expected = ("sampler.n",)

    def reply(self, fields, reply, in_flight):
        first, *others = reply["choices"]
        return {**reply, "choices": [first, *({**first, "index": one["index"]} for one in others)]}
