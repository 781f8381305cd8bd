"""A tool_choice that names a tool is taken for required: the first one is called."""

from model import Fault


class NamedIgnored(Fault):
    source = "https://github.com/ollama/ollama/issues/8421"
    expected = ("tools.named",)

    def request(self, fields):
        named = isinstance(fields.get("tool_choice"), dict)
        return {**fields, "tool_choice": "required", "parallel_tool_calls": False} if named else fields
