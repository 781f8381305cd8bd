"""A server of one answer, for tests that have evalkit start one: `python stand_in.py PORT [SECONDS]`.

It comes up after so many seconds. Where the environment names a file in `GPU`, that is the machine's only one: a lock
that a second engine cannot have, so that it dies. What `OPERATORS` names is written down as FlagGems does.
"""

import fcntl
import http.server
import json
import os
import sys
import time
from pathlib import Path

ANSWER = "Paris"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def send(self, document):
        data = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.send({"object": "list", "data": [{"id": "m"}]})

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        choice = {"message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}
        self.send({"choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 2}})


def main(port, seconds="0"):
    with Path(os.environ.get("GPU", os.devnull)).open("w") as gpu:
        if "GPU" in os.environ:
            fcntl.flock(gpu, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(float(seconds))
        if "OPERATORS" in os.environ:
            names = os.environ["OPERATORS"].split()
            lines = [f"[DEBUG] flag_gems.ops.{name}.{name}: GEMS {name.upper()}\n" for name in names]
            Path(os.environ["FLAGGEMS_ENABLE_OPLIST_PATH"]).write_text("".join(lines))
        http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
