"""A top_k kernel that keeps one token too many."""

from model import Fault


class TopKMore(Fault):
    source = "https://github.com/kingoflolz/mesh-transformer-jax/issues/164"
    expected = ("sampler.top_k",)

    def request(self, fields):
        return {**fields, "top_k": fields["top_k"] + 1} if fields.get("top_k", -1) > 0 else fields
