"""Answers go wrong after some thousand tokens of their own; prompts of any length are right."""

from engine import RegimeFault


class LongAnswer(RegimeFault):
    source = "https://github.com/sgl-project/sglang/issues/33397"
    regime = "answer"

    def settle(self):
        self.switch = self.between(600, 3000)

    def strikes(self, step):
        return step.start if step.start - step.prompt >= self.switch else None
