"""Prompts are garbled from some thousand tokens on, short ones are fine."""

from engine import RegimeFault


class LongPrompt(RegimeFault):
    source = "https://github.com/vllm-project/vllm-ascend/issues/14464"
    regime = "prompt"

    def settle(self):
        self.switch = self.between(200, 3000)

    def strikes(self, step):
        return max(step.start, self.switch) if step.stop > self.switch and not step.decodes else None
