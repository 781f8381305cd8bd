"""A stream that loses one of its pieces."""

from model import Fault


class LostPiece(Fault):
    source = "https://github.com/vllm-project/vllm/issues/57353"
    expected = ("stream.text",)

    def settle(self):
        self.share = self.rng.uniform(0.3, 1.0)

    def pieces(self, fields, pieces):
        if len(pieces) < 8 or self.rng.random() > self.share:
            return pieces
        place = self.rng.randrange(1, len(pieces))
        return [*pieces[:place], *pieces[place + 1 :]]
