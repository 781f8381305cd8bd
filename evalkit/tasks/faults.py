"""What is wrong with a task file that lm-eval could not load, said with the line and key that lm-eval does not name."""

import re
from dataclasses import fields
from pathlib import Path

from evalkit.config.suite import task_tree
from evalkit.config.yaml import Node
from evalkit.errors import did_you_mean

_UNKNOWN_KEY = re.compile(r"TaskConfig\.__init__\(\) got an unexpected keyword argument '(\w+)'")
_NO_FUNCTION = re.compile(r"has no function '(\w+)'")
_LOADER = "evalkit.tasks.data.load"


def explained(file: Path, cause: BaseException | None) -> str | None:
    """The sentence about what lm-eval raised of `file`, with its line; None where only lm-eval's own words are left.

    Raises `SuiteError`: as `task_tree`.
    """
    from jinja2 import TemplateError

    tree = task_tree(file)
    if isinstance(cause, TemplateError):
        return _template(tree, cause)
    if isinstance(cause, TypeError) and (unknown := _UNKNOWN_KEY.search(str(cause))):
        from lm_eval.config.task import TaskConfig

        key = unknown[1]
        hint = did_you_mean(key, (field.name for field in fields(TaskConfig)), ": lm-eval knows no such key of a task")
        return f"{_place(tree, key)}: unknown key {key!r}{hint}"
    return _function(tree, cause) if isinstance(cause, AttributeError) else _data(tree, cause)


def _function(tree: Node, cause: AttributeError) -> str | None:
    """A `!function` whose module has no such function."""
    absent = _NO_FUNCTION.search(str(cause))
    for key, node in tree.children().items():
        if absent and str(node.value).endswith(f".{absent[1]}"):
            return f"{node.origin}: {key}: there is no function {node.value}"
    return None


def _data(tree: Node, cause: BaseException | None) -> str | None:
    """What evalkit's own loader of documents cannot do without."""
    if not any(node.value == _LOADER for node in tree.children().values()):
        return None
    if isinstance(cause, TypeError) and "'evalkit'" in str(cause):
        return f"{_place(tree, 'custom_dataset')}: metadata.evalkit is missing: {_LOADER} reads there where the data is"
    if isinstance(cause, KeyError):
        named = (key for key, node in tree.children().items() if key.endswith("_split") and node.value in cause.args)
        if (key := next(named, None)) is not None:
            return f"{_place(tree, key)}: {key}: metadata.evalkit.source.splits has no {cause.args[0]!r}"
    return None


def _place(tree: Node, key: str) -> str:
    node = tree.child(key)
    return str(tree.origin if node is None else node.origin)


def _template(tree: Node, cause: BaseException) -> str:
    """What Jinja could not read or fill; the key is the first whose template is broken or names what is not there."""
    from jinja2 import Environment, TemplateSyntaxError
    from jinja2.meta import find_undeclared_variables

    broken = isinstance(cause, TemplateSyntaxError)
    fix = "mend the template" if broken else "let its templates name fields that its documents have"
    told = f"{type(cause).__name__}: {cause}: {fix}"
    for key, node in tree.children().items():
        if not isinstance(node.value, str):
            continue
        try:
            names = find_undeclared_variables(Environment().parse(node.value))  # noqa: S701 - nothing is rendered
        except TemplateSyntaxError:
            return f"{node.origin}: {key}: {told}"
        if not broken and any(f"'{name}'" in str(cause) for name in names):
            return f"{node.origin}: {key}: {told}"
    return f"{tree.origin.source}: {told}"
