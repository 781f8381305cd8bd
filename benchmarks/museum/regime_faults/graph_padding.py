"""Batches that are padded to one captured size: wrong in this bucket, right below and above."""

from engine import RegimeFault


class GraphPadding(RegimeFault):
    source = "https://github.com/vllm-project/vllm-ascend/pull/7460"
    regime = "batch"

    def settle(self):
        self.switch = self.rng.choice((4, 8, 16, 32))

    def strikes(self, step):
        return step.start if step.decodes and self.switch < step.batch <= 2 * self.switch else None
