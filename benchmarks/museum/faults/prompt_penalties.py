"""Frequency and presence penalties also count the words of the prompt."""

from model import Fault


class PromptPenalties(Fault):
    source = "https://github.com/osaurus-ai/vmlx-swift/issues/295"
    expected = ("sampler.penalised",)

    def request(self, fields):
        return {**fields, "penalise_prompt": True}
