"""A hit in the prefix cache from so many tokens on: the first reply is right, the next ones are not."""

from engine import RegimeFault


class HitGarbage(RegimeFault):
    source = "https://github.com/vllm-project/vllm-ascend/issues/5269"
    regime = "hit"

    def settle(self):
        self.switch = self.between(64, 1500)

    def strikes(self, step):
        return step.start if step.cached >= self.switch and step.start == step.cached else None
