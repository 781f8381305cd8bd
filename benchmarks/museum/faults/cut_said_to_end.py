"""An answer that its limit cut is said to have come to its end."""

from model import Fault


class CutSaidToEnd(Fault):
    source = "https://github.com/PaddlePaddle/FastDeploy/pull/4543"
    expected = ("limit.max_tokens",)

    def reply(self, fields, reply, in_flight):
        for choice in reply["choices"]:
            choice["finish_reason"] = choice["finish_reason"].replace("length", "stop")
        return reply
