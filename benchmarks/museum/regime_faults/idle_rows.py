"""Requests whose prompt is read sit idle while others' prompts are read, and get a token for nothing in each step."""

from engine import RegimeFault


class IdleRows(RegimeFault):
    source = "https://github.com/tenstorrent/tt-xla/issues/5830"
    regime = "batch"

    nats = 0.8

    def settle(self):
        self.switch = self.between(3, 24)

    def strikes(self, step):
        return step.start if step.decodes and step.batch >= self.switch else None
