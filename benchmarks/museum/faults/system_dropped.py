"""Messages of the system never reach the model."""

from model import Fault


class SystemDropped(Fault):
    source = "https://github.com/SUSTech-IDEA/SUS-Chat/issues/3"
    expected = ("prompt.tokens",)

    def request(self, fields):
        kept = [one for one in fields["messages"] if one["role"] != "system"]
        return {**fields, "messages": kept or fields["messages"]}
