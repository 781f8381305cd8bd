"""top_logprobs lists five tokens, however many are asked for."""

from model import Fault


class FewAlternatives(Fault):
    source = "https://github.com/InternLM/lmdeploy/issues/1548"
    expected = ("limit.logprobs",)

    def reply(self, fields, reply, in_flight):
        for entry in (reply["choices"][0]["logprobs"] or {}).get("content", ()):
            entry["top_logprobs"] = entry["top_logprobs"][:5]
        return reply
