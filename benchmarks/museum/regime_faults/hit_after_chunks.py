"""A hit in the prefix cache whose blocks were written by more than one chunk."""

from engine import RegimeFault


class HitAfterChunks(RegimeFault):
    source = "https://github.com/vllm-project/vllm/issues/39146"
    regime = "hit"

    def settle(self):
        self.switch = self.chunk = self.between(160, 1500)

    def strikes(self, step):
        return step.start if step.start == step.cached > self.switch else None
