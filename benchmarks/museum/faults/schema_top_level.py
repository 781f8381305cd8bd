"""Only the top level of a JSON schema is honoured: what is nested is free."""

import json

from model import Fault


class SchemaTopLevel(Fault):
    source = "https://github.com/Anilturaga/aiide/issues/4"
    expected = ("format.schema",)

    def reply(self, fields, reply, in_flight):
        asked = (fields.get("response_format") or {}).get("json_schema")
        message = reply["choices"][0]["message"]
        if asked:
            value = json.loads(message["content"])
            free = {list: ["anything"], dict: {"any": "thing"}}
            message["content"] = json.dumps({key: free.get(type(one), one) for key, one in value.items()})
        return reply
