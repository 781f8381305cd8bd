"""Answers get worse from so many requests in flight on."""

from engine import RegimeFault


class Concurrency(RegimeFault):
    source = "https://github.com/vllm-project/vllm/issues/17886"
    regime = "batch"

    nats = 0.5

    def settle(self):
        self.switch = self.between(3, 48)

    def strikes(self, step):
        return step.start if step.batch >= self.switch else None
