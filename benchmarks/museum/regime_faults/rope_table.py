"""Positions beyond a table of cosines that is too short, in prompts and answers alike."""

from engine import RegimeFault


class RopeTable(RegimeFault):
    source = "https://github.com/vllm-project/vllm/pull/56446"
    regime = "prompt"

    nats = 0.4

    def settle(self):
        self.switch = self.between(200, 3000)

    def strikes(self, step):
        return max(step.start, self.switch) if step.stop > self.switch else None
