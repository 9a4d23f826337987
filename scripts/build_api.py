"""Writes docs/api.md: what `aurora_release.api` promises, from its docstrings."""

import ast
import inspect
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from aurora_release import api, recipe


def reference() -> str:
    """Return the page."""
    parts = ["# Python", "Written by `make docs` from `aurora_release/api.py`.", api.__doc__ or ""]
    parts += [_entry(name, getattr(api, name)) for name in api.__all__]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _entry(name: str, found: Any) -> str:
    node = ast.parse(inspect.getsource(found)).body[0]
    said = inspect.cleandoc(found.__doc__ or "")
    if isinstance(node, ast.FunctionDef):
        return f"## {name}\n\n    {_call(node)}\n\n{said}"
    assert isinstance(node, ast.ClassDef)
    if found is recipe.Recipe:
        said += " Its keys: [recipe.md](recipe.md)."
        return f"## {name}\n\n{said}"
    return "\n\n".join([f"## {name}", said, *filter(None, ["\n".join(_members(node))])])


def _members(kind: ast.ClassDef) -> Iterator[str]:
    """Yield the fields, properties and methods of a class with what is said of each."""
    for line, after in pairwise([*kind.body, None]):
        if isinstance(line, ast.AnnAssign):
            said = after.value if isinstance(after, ast.Expr) else None
            text = ast.literal_eval(said) if isinstance(said, ast.Constant) else ""
            yield _item(ast.unparse(line).partition(" = ")[0], text)
        elif isinstance(line, ast.FunctionDef) and not line.name.startswith("_"):
            words = {ast.unparse(word) for word in line.decorator_list}
            yield _item(
                f"{line.name}: {ast.unparse(line.returns)}"
                if "property" in words and line.returns
                else _call(line),
                ast.get_docstring(line) or "",
            )


def _item(name: str, said: str) -> str:
    summary = " ".join(said.split("\n\n")[0].split())
    return f"- `{name}`" + (f": {summary}" if summary else "")


def _call(node: ast.FunctionDef) -> str:
    """Return a signature as its author wrote it, without what Python passes by itself."""
    node.args.args = [found for found in node.args.args if found.arg not in ("self", "cls")]
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}({ast.unparse(node.args)}){returns}"
