"""Renders docs/http-api.md from the OpenAPI description that the server gives of itself."""

import json
import re
from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

HEAD = """# HTTP API

Written by `make docs` from the server's own `/openapi.json`, which has the replies too.
Keys, limits and health: [run a server](guides/serve.md). What each engine can do:
[engines](guides/engines.md). Clients that were tried: [conformance](conformance.md).

| route | protocol | what it does | body |
|---|---|---|---|"""

_BOUNDS = {
    "minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}",
    "maxLength": "at most {} characters", "maxItems": "at most {}", "maxProperties": "at most {}",
}  # fmt: skip


def http_api() -> str:
    """Return the reference of the server: its routes, bodies key by key, and statuses."""
    described = _openapi()
    routes = sorted(
        ((path, method.upper(), operation)
         for path, methods in described["paths"].items() for method, operation in methods.items()),
        key=lambda route: (route[2]["tags"][0], route[0]),
    )  # fmt: skip
    schemas = described["components"]["schemas"]
    bodies = dict.fromkeys(name for *_, operation in routes for name in _refs(_body(operation)))
    return "\n".join([
        HEAD,
        *(_route(*route) for route in routes),
        "\n## Bodies\n\nKeys that are not named here are refused, unless a table says otherwise.\n",
        *(_table(name, schemas[name]) for name in _with_parts(list(bodies), schemas)),
        "## Statuses\n\n| status | routes | meaning |\n|---|---|---|",
        *_statuses([operation for *_, operation in routes]),
    ]) + "\n"  # fmt: skip


def _openapi() -> Schema:
    from aurora_release.serve.app import create_app
    from aurora_release.serve.engines.protocol import ModelFacts
    from aurora_release.serve.settings import Settings

    class Nothing:
        """Stands where an engine and a guard would: routes depend on neither."""

        facts = ModelFacts("", 1, 1, "", "")
        tokenizer = None

    nothing: Any = Nothing()
    return create_app(nothing, nothing, Settings(chat_page=False)).openapi()


def _body(operation: Schema) -> Schema:
    content = operation.get("requestBody", {}).get("content", {})
    found: Schema = content.get("application/json", {}).get("schema", {})
    return found


def _refs(schema: Any) -> Iterator[str]:
    """Yield the names of the schemas that a schema names."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"].rsplit("/", 1)[1]
        for below in schema.values():
            yield from _refs(below)
    elif isinstance(schema, list):
        for below in schema:
            yield from _refs(below)


def _with_parts(names: list[str], schemas: Schema) -> list[str]:
    """Return schemas with those that they are made of behind them."""
    for name in names:
        names += [part for part in dict.fromkeys(_refs(schemas[name])) if part not in names]
    return names


def _route(path: str, method: str, operation: Schema) -> str:
    body = ", ".join(f"[{name}](#{name.lower()})" for name in _refs(_body(operation)))
    return f"| `{method} {path}` | {operation['tags'][0]} | {operation['description']} | {body} |"


def _table(name: str, schema: Schema) -> str:
    required = schema.get("required", [])
    said = _one_line(schema.get("description", ""))
    if "additionalProperties" not in schema:
        said += " Other keys are ignored."
    rows = [
        f"| `{key}` | {_kind(value)} | {_default(key in required, value)} | "
        f"{_one_line(value.get('description', ''))} |"
        for key, value in schema["properties"].items()
    ]
    return "\n".join([f"### {name}\n\n{said}\n\n| key | type | default | meaning |",
                      "|---|---|---|---|", *rows, ""])  # fmt: skip


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


def _default(required: bool, value: Schema) -> str:
    if required:
        return "required"
    return f"`{json.dumps(value['default'])}`" if value.get("default") is not None else ""


def _kind(schema: Schema) -> str:
    """Return a type as a reader of JSON would say it."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    for several in ("anyOf", "oneOf"):
        if several in schema:
            kinds = [_kind(each) for each in schema[several] if each != {"type": "null"}]
            return " or ".join(dict.fromkeys(kinds))
    if "const" in schema or "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type", "anything")
    if kind == "array":
        kind = f"list of {_kind(schema['items'])}"
    bounds = [said.format(_number(schema[key])) for key, said in _BOUNDS.items() if key in schema]
    return ", ".join([kind, *bounds])


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) > 1e6 or value % 1 else f"{value:.0f}"


def _statuses(operations: list[Schema]) -> list[str]:
    """Return a row for each status but success: where it is answered, and what it says."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for operation in operations:
        for status, reply in operation["responses"].items():
            if status != "200":
                found.setdefault((status, reply["description"]), {})[operation["tags"][0]] = None
    return [f"| {status} | {', '.join(where)} | {said} |"
            for (status, said), where in sorted(found.items())]  # fmt: skip
