"""A prompt of which all but the last token comes from the prefix cache; another end is computed rightly."""

from engine import RegimeFault


class HitWhole(RegimeFault):
    source = "https://github.com/tenstorrent/vllm/issues/415"
    regime = "hit"

    def settle(self):
        self.switch = self.between(64, 1500)

    def strikes(self, step):
        whole = step.start == step.cached >= self.switch and step.prompt - step.cached <= 16
        return step.start if whole else None
