"""Template arguments are dropped: thinking cannot be switched off."""

from model import Fault


class ThinkingIgnored(Fault):
    source = "https://github.com/vllm-project/vllm/issues/57353"
    expected = ("thinking.switch",)

    def request(self, fields):
        return {key: value for key, value in fields.items() if key != "chat_template_kwargs"}
