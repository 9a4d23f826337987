"""Which key was probably meant, by those that a schema has where an unknown one stands."""

from collections.abc import Iterable, Sequence
from typing import Any, get_args

from pydantic import BaseModel

from aurora_release.errors import meant

Schemas = set[type[BaseModel]]


def key(path: Sequence[str | int], whole: Schemas) -> str:
    """Return `; did you mean X?` for the unknown key at the end of `path`, or nothing.

    X may lie in a part of that place: `data.seed`. `whole` are the schemas that `path` begins in;
    what pydantic puts into a path besides keys and numbers is passed over.
    """
    here, word = whole, str(path[-1])
    for part in path[:-1]:
        here = below(here, part) or here
    names = sorted({name for schema in here for name in schema.model_fields})
    inner = {f"{name}.{sub}": sub for name in names for schema in below(here, name)
             for sub in schema.model_fields}  # fmt: skip
    exact = next((path for path, sub in inner.items() if sub == word), None)
    if exact is not None:
        return f"; did you mean {exact}?"
    near = meant(word, names, "; did you mean")
    if near or not (sub := meant(word, inner.values(), "")):
        return near
    return f"; did you mean {next(path for path, each in inner.items() if sub == f' {each}?')}?"


def below(schemas: Iterable[type[BaseModel]], field: str | int) -> Schemas:
    """Return the schemas of what a field holds."""
    known = [each.model_fields[field] for each in schemas if field in each.model_fields]
    return schemas_of(each.annotation for each in known)


def schemas_of(annotations: Iterable[Any]) -> Schemas:
    """Return the schemas that annotations name, however deep."""
    found: Schemas = set()
    for each in annotations:
        if isinstance(each, type) and issubclass(each, BaseModel):
            found.add(each)
        else:
            found |= schemas_of(get_args(each))
    return found
