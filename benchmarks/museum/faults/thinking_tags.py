"""A reasoning parser that leaves its closing tag in the answer."""

from model import Fault


class ThinkingTags(Fault):
    source = "https://github.com/sgl-project/sglang/pull/37644"
    expected = ("thinking.tags",)

    def reply(self, fields, reply, in_flight):
        message = reply["choices"][0]["message"]
        if message.get("reasoning_content"):
            message["content"] = "</think>" + (message["content"] or "")
        return reply
