"""A prompt that is a whole number of chunks, to the token: its last chunk is taken for an empty one."""

from engine import RegimeFault


class WholeChunks(RegimeFault):
    source = "https://github.com/RBLN-SW/optimum-rbln/issues/649"
    regime = "chunk"

    def settle(self):
        self.switch = self.chunk = self.rng.choice((128, 256, 512, 1024))

    def strikes(self, step):
        return step.start if step.prompt % self.chunk == 0 and step.start < step.prompt <= step.stop else None
