"""What `evalkit init` writes: a commented pair of endpoint files and the part that both share."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from evalkit.errors import ConfigError, StorageError

COMMON: Final = """\
# What both endpoints share: reference.yaml and candidate.yaml extend this file.
# Change here whatever must be the same on both sides, so that it stays the same.
#
# Any text may hold ${NAME} or ${NAME:-default} from the environment ($${ is a literal ${); --set key=value changes any
# key from the command line; `evalkit schema` prints every key with its meaning. A path counts from the file it is in.

# The name by which both servers know the model (GET /v1/models lists it).
model: ${EVALKIT_MODEL:-Qwen/Qwen3-8B}

# How answers are drawn. Every parameter is explicit, because two servers fill gaps with different defaults.
sampling:
  # qwen3_thinking: temperature 0.6, top_p 0.95, top_k 20, min_p 0, 32,768 tokens (AIME 38,912), thinking on
  # qwen3_nothink:  temperature 0.7, top_p 0.8, top_k 20, min_p 0, presence_penalty 1.5, 32,768 tokens, thinking off
  # greedy:         temperature 0, top_p 1, tokens as each suite says
  # A parameter that is given below wins over the profile.
  profile: qwen3_thinking
  seed: 0                      # base seed: every (item, repeat) has a seed of its own, the same on both sides
  # temperature: 0.6
  # top_p: 0.95
  # top_k: 20                  # an extension, as min_p and repetition_penalty: sent only when set
  # min_p: 0
  # presence_penalty: 0
  # frequency_penalty: 0
  # repetition_penalty: 1.0
  # max_tokens: 32768          # thinking included; without it: as the profile or the suite says
  # stop: []
  # chat_template_kwargs: {enable_thinking: true}
  # extra_body: {}             # further fields of the request body, as your server knows them

# Which suites: a pack, or a list of your own, or both (the list then changes what the pack says).
pack: flagrelease-text
# suites:
#   - musr                     # a name alone: everything as the suite says
#   - name: aime25
#     label: AIME 2025         # how reports name it
#     repeats: 16              # samples of every item
#     margin_pt: 3             # tolerance, in percentage points
#     limit: 10                # only so many items, for a first try
#     sampling: {max_tokens: 38912}

# suite_folders: [my-tasks]    # folders with lm-eval task YAML of your own
# data: my-data                # data sets as local files; or a mapping: {musr: folder-a, aime25: folder-b}
# allow_code_execution: false  # run code that the model wrote, inside a sandbox, for the suites that need it

# The closing tags of thinking traces: what follows the last one is the answer.
# thinking:
#   closing_tags: ["</think>", "</thinking>", "</thought>"]

limits:
  concurrency: 32              # most requests in flight at one endpoint; auto: as many as it makes use of
  # connect_seconds: 10
  # stall_seconds: null        # longest silence within a request; null: 600, more before a long answer (max_tokens)
  # total_seconds: null        # longest time for one request; null: no limit
  # retries: 8                 # further attempts after a failure that may heal
  # max_body_mb: 64
  # outage_seconds: 600        # how long an endpoint that stopped answering is waited for
  # permanent_failures_to_stop: 20

# The model that grades the suites which need one (never one of the two endpoints).
# judge:
#   base_url: https://judge.example/v1
#   model: some-large-model
#   api_key_env: JUDGE_API_KEY
#   repeats: 1
#   noise_items: 100         # answers that are graded a second time, for the judge's own noise

# runs: runs                   # the folder of the run folders, beside this file (not set: runs where evalkit is called)
"""

REFERENCE: Final = """\
# The reference: the stack that counts as right. What both sides share is in common.yaml.
extends: common.yaml

name: reference                # the run is stored in a folder of this name

base_url: ${REFERENCE_URL:-http://127.0.0.1:8000/v1}
# base_urls: [http://10.0.0.1:8000/v1, http://10.0.0.2:8000/v1]   # replicas, in place of base_url

# The NAME of the environment variable that holds the key. The key itself never goes into a file.
# api_key_env: REFERENCE_API_KEY
# headers:                     # further headers; their values are never stored or shown
#   X-Team: ${TEAM_HEADER}

# What exactly is served, such as an image digest. Another build is another run: stored answers are not reused.
# build: vllm 0.10.0, image sha256:...

# client: aiohttp              # or openai, for endpoints that need the openai package
# stream: false                # true for servers or proxies that cut long waits
# logprobs: false              # true: also ask for the log-probability of every token
# tls:
#   verify: true
#   ca_file: company-ca.pem
"""

CANDIDATE: Final = """\
# The candidate: the stack that is to be shown the same. What both sides share is in common.yaml.
extends: common.yaml

name: candidate                # the run is stored in a folder of this name

base_url: ${CANDIDATE_URL:-http://127.0.0.1:8001/v1}

# api_key_env: CANDIDATE_API_KEY
# build: FlagScale 1.0, FlagGems 4.0, image sha256:...

# A FlagScale serve configuration fills in base_url and model, and names the two stacks' differences.
# flagscale: conf/serve.yaml

# evalkit can start the server itself, and stops it whatever happens.
# launch:
#   kind: command
#   argv: [vllm, serve, Qwen/Qwen3-8B, --port, "8001"]
#   env: {USE_FLAGGEMS: "1"}
#   ready_seconds: 1800        # loading a large model takes long
#   sequential: true           # both stacks take turns on the same devices
"""

FILES: Final = {"reference.yaml": REFERENCE, "candidate.yaml": CANDIDATE, "common.yaml": COMMON}


def write_pair(folder: str | Path) -> list[Path]:
    """Write reference.yaml, candidate.yaml and common.yaml into a folder, which is made where it is missing.

    Raises:
        ConfigError: one of the three is there already (nothing is written then).
        StorageError: the folder cannot be written.
    """
    folder = Path(folder)
    paths = [folder / name for name in FILES]
    there = [str(path) for path in paths if path.is_symlink() or path.exists()]
    if there:
        raise ConfigError(f"{', '.join(there)}: already there: move it away, or choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in zip(paths, FILES.values(), strict=True):
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise StorageError(f"{error.filename or folder}: cannot be written: {error.strerror}") from None
    return paths
