"""Items keep lm-eval's identities: the hash of a document is the one that lm-eval's sample files carry."""

import hashlib
import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from evalkit.tasks.items import _as_json, _doc_hash, _from_json

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
DOCUMENTS = st.dictionaries(
    st.text(),
    st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)),
    max_size=4,
)


@settings(deadline=None)  # the first that is no plain document imports lm-eval
@given(DOCUMENTS)
@example({})
@example({"empty": [[], {}, ""]})
@example({"\x7f\u2028\x1f": '"\\/\b\f\n\r\té選\U0001f600'})
@example({"n": 2**70, "f": 1e16, "odd": float("nan")})
@example({"lists": ["a", ["b"], {"c": [1, True, None]}]})
def test_the_hash_of_a_document_is_lm_evals(document):
    text = json.dumps(document, indent=2, ensure_ascii=False)
    assert _doc_hash(document) == hashlib.sha256(text.encode()).hexdigest()


def test_what_is_no_json_is_hashed_as_lm_eval_does():
    from lm_eval.utils import handle_non_serializable

    document = {"pair": (1, 2), "letters": {"a"}, 3: "three"}
    text = json.dumps(document, indent=2, default=handle_non_serializable, ensure_ascii=False)
    assert _doc_hash(document) == hashlib.sha256(text.encode()).hexdigest()


@given(st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": st.text()}), max_size=3))
@example([{"role": "user", "content": "\ud800 half a pair"}])
def test_messages_go_through_lm_eval_as_they_are(messages):
    assert _from_json(_as_json(messages)) == messages
