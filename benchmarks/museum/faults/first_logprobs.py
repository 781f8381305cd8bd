"""The alternatives of every token are those of the first."""

from model import Fault


class FirstLogprobs(Fault):
    source = "https://github.com/sgl-project/sglang/pull/2088"
    expected = ("sampler.plain", "limit.logprobs")

    def reply(self, fields, reply, in_flight):
        content = (reply["choices"][0]["logprobs"] or {}).get("content", [])
        for entry in content:
            entry["top_logprobs"] = content[0]["top_logprobs"]
        return reply
