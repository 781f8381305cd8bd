"""Later chunks of a prompt are computed wrongly: every prompt above the chunk is."""

from engine import RegimeFault


class ChunkedPrefill(RegimeFault):
    source = "https://github.com/vllm-project/vllm/issues/26042"
    regime = "prompt"

    def settle(self):
        self.switch = self.chunk = self.between(160, 1500)

    def strikes(self, step):
        return step.start if step.chunked else None
