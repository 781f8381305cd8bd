"""Token numbers beyond the end of a shard of the embedding table are looked up as nothing."""

from engine import RegimeFault


class ShardEdge(RegimeFault):
    source = "https://github.com/huggingface/text-generation-inference/pull/1463"
    regime = "rare"

    def settle(self):
        self.switch = self.between(2500, 7000)

    def strikes(self, step):
        beyond = (n for n in range(step.start, step.stop) if self.switch <= step.ids[n] < 8000)
        return next(beyond, None)
