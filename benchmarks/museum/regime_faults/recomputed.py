"""A request that was preempted and computed anew goes on with the wrong cache."""

from engine import RegimeFault


class Recomputed(RegimeFault):
    source = "https://github.com/vllm-project/vllm/issues/18055"
    regime = "preemption"

    def settle(self):
        self.switch = 100

    def strikes(self, step):
        return step.start if step.preempted else None
