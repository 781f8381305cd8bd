"""Characters of several bytes are cut between two events and decoded apart."""

import re

from model import Fault


class BrokenCharacters(Fault):
    source = "https://html.spec.whatwg.org/multipage/server-sent-events.html"
    expected = ("stream.text", "tools.streamed")

    def pieces(self, fields, pieces):
        wide = re.compile(r"[^\x00-\x7f]")
        return [
            {key: wide.sub("\ufffd", value) if isinstance(value, str) else value for key, value in piece.items()}
            for piece in pieces
        ]
