"""evalkit shows whether a ported model is still the same model: suites on two endpoints, paired and judged.

The calls are those of `evalkit.api`; they are imported when they are first used, so that `import evalkit` is light.
"""

import re
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

_IMPORT: Final = re.compile(r"^from (evalkit\S+) import (\w+) as", re.MULTILINE)
_HOMES: Final = {
    name: home for home, name in _IMPORT.findall(Path(__file__).with_name("__init__.pyi").read_text(encoding="utf-8"))
}
__all__ = sorted(_HOMES)  # noqa: PLE0605 - checkers read the stub


class _Package(ModuleType):
    """This package: what `__all__` names is looked up when it is used first.

    `run` and `compare` are rooms too, which Python would put in the place of the calls when it imports them.
    """

    def __getattr__(self, name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module 'evalkit' has no attribute {name!r}")
        found = getattr(import_module(_HOMES[name]), name)
        super().__setattr__(name, found)
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


sys.modules[__name__].__class__ = _Package
