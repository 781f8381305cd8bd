"""The usage of a streamed reply counts its events, not its tokens."""

from model import Fault


class StreamedUsage(Fault):
    source = "https://github.com/vllm-project/vllm/issues/8625"
    expected = ("stream.text", "tools.streamed")

    def ending(self, finish, usage):
        return finish, {**usage, "completion_tokens": usage["completion_tokens"] // 2 + 1}
