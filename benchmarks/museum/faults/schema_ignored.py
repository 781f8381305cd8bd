"""response_format is ignored where thinking is off."""

from model import Fault


class SchemaIgnored(Fault):
    source = "https://github.com/vllm-project/vllm/issues/18819"
    expected = ("format.schema",)

    def request(self, fields):
        on = fields.get("chat_template_kwargs", {}).get("enable_thinking", True)
        return fields if on else {key: value for key, value in fields.items() if key != "response_format"}
