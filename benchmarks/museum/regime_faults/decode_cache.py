"""The cache as decoding reads it, from another instance and in eight bits, is wrong; prompts are read rightly."""

from engine import RegimeFault


class DecodeCache(RegimeFault):
    source = "https://github.com/vllm-project/vllm-ascend/issues/4497"
    regime = "decode"

    nats = 0.4

    def strikes(self, step):
        return step.start if step.decodes else None
