"""response_format is ignored where the reply is streamed."""

from model import Fault


class SchemaStreamed(Fault):
    source = "https://github.com/googleapis/python-genai/issues/14"
    expected = ("format.schema",)

    def request(self, fields):
        return {key: value for key, value in fields.items() if key != "response_format" or not fields.get("stream")}
