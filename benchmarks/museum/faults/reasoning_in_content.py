"""No reasoning parser is at work: thoughts stand in the answer, without tags."""

from model import Fault


class ReasoningInContent(Fault):
    source = "https://github.com/ai-dynamo/dynamo/pull/11251"
    expected = ("thinking.switch", "thinking.tags")

    def reply(self, fields, reply, in_flight):
        message = reply["choices"][0]["message"]
        if thoughts := message.pop("reasoning_content", ""):
            message["content"] = f"{thoughts} {message['content'] or ''}"
        return reply
