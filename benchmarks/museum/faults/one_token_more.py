"""max_tokens is off by one."""

from model import Fault


class OneTokenMore(Fault):
    source = "https://github.com/EricLBuehler/mistral.rs/issues/1539"
    expected = ("limit.max_tokens",)

    def request(self, fields):
        return {**fields, "max_tokens": fields["max_tokens"] + 1} if fields.get("max_tokens") else fields
