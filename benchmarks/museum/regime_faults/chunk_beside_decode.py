"""Chunks of a prompt are wrong while another request decodes: the graph was captured for one or the other."""

from engine import RegimeFault


class ChunkBesideDecode(RegimeFault):
    source = "https://github.com/vllm-project/vllm-ascend/issues/3444"
    regime = "chunk"

    def settle(self):
        self.switch = self.chunk = self.between(160, 1500)

    def strikes(self, step):
        return step.start if step.chunked and step.decoding else None
