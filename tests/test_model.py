"""The model's names are all to be had from `evalkit.model`, whichever file they stand in."""

import evalkit.model
from evalkit import model as comparison
from evalkit import model as sample


def test_every_public_name_is_there():
    own = {
        name
        for module in (comparison, sample)
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    }
    assert {"Comparison", "Verdict", "Item", "Status", "Score"} <= own
    names = own | {"Message", "Scorer", "COMPARISON_SCHEMA_VERSION"}
    assert names == set(evalkit.model.__all__)
    assert all(hasattr(evalkit.model, name) for name in names)
