"""Of several pictures in a prompt only the last reaches the model."""

from model import Fault


class LastPicture(Fault):
    source = "https://github.com/Blaizzy/mlx-vlm/issues/1084"
    expected = ("prompt.pictures",)

    def request(self, fields):
        return {**fields, "messages": [self.last(one) for one in fields["messages"]]}

    @staticmethod
    def last(message):
        parts = message.get("content")
        if not isinstance(parts, list):
            return message
        pictures = [one for one in parts if one["type"] == "image_url"]
        return {**message, "content": [one for one in parts if one["type"] != "image_url"] + pictures[-1:]}
