"""Few-shot examples that travel with each document, for lm-eval's `fewshot_config: sampler:`.

lm-eval draws shots from one pool for a whole task; MMLU wants those of the item's own subject. So the loader puts them
into the document's field `shots`, the suite names the split of the items as its few-shot split (only then does
lm-eval tell the sampler which item it is drawing for), and this sampler reads them from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lm_eval.api.samplers import ContextSampler


class FromDocument(ContextSampler):  # type: ignore[misc] # lm-eval ships no types
    """The first n of the document's own `shots`, in their order."""

    def sample(
        self,
        n: int,
        eval_doc: dict[str, Any] | None = None,
        df: Any = None,  # noqa: ARG002 - lm-eval's signature
        **kwargs: Any,  # noqa: ARG002 - lm-eval's signature
    ) -> Sequence[dict[str, Any]]:
        """The shots for `eval_doc`.

        Raises:
            ValueError: where lm-eval does not say for which document, or the document has fewer than n.
        """
        shots: list[dict[str, Any]] = list((eval_doc or {}).get("shots") or ())
        if len(shots) < n:
            raise ValueError(f"{n} few-shot examples are needed, the document has {len(shots)}")
        return shots[:n]
