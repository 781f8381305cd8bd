"""Of a message in parts only the last text is read."""

from model import Fault


class LastPart(Fault):
    source = "https://github.com/Blaizzy/mlx-vlm/pull/1137"
    expected = ("prompt.tokens",)

    def request(self, fields):
        return {**fields, "messages": [self.last(one) for one in fields["messages"]]}

    @staticmethod
    def last(message):
        parts = message.get("content")
        return {**message, "content": parts[-1:]} if isinstance(parts, list) else message
