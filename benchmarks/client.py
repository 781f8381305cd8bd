"""What asking costs, with both clients, plain and streamed: `evalkit bench-client` four times.

    python benchmarks/client.py [--in-flight 64]

Compare ratios within one table, not figures of different machines.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

ASKING = Path(__file__).with_name("bench") / "asking.py"
REQUESTS = {("aiohttp", False): 12_000, ("aiohttp", True): 1800, ("openai", False): 2400, ("openai", True): 900}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--in-flight", type=int, default=64)
    in_flight = parser.parse_args().in_flight
    for (client, stream), requests in REQUESTS.items():
        load = {"requests": requests, "in_flight": in_flight, "stream": stream, "client": client}
        subprocess.run([sys.executable, ASKING, json.dumps(load)], check=True)


if __name__ == "__main__":
    main()
