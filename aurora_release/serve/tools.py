"""Tools that a model may call: how it is told of them, and how it is made to call one."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aurora_release.serve.channels import CALL, END_OF_CALL

_MOST_CALLS = 16
"""Of one answer that must call a tool."""

_ANY: dict[str, Any] = {"type": "object", "properties": {}}


@dataclass(frozen=True)
class Tool:
    """A function that a model may call."""

    name: str
    description: str
    parameters: dict[str, Any] | None
    """The JSON schema of its arguments."""

    @property
    def declared(self) -> dict[str, Any]:
        """The tool as chat templates take it."""
        about = {"name": self.name, "description": self.description}
        return {"type": "function", "function": about | {"parameters": self.parameters or _ANY}}


@dataclass(frozen=True)
class Call:
    """A call that an earlier turn made."""

    name: str
    arguments: str
    """JSON."""

    @property
    def written(self) -> str:
        """The call as models write it that were trained in the form of Hermes."""
        return f'{CALL}\n{{"name": {json.dumps(self.name)}, "arguments": {self.arguments}}}\n' + (
            END_OF_CALL
        )

    @property
    def declared(self) -> dict[str, Any]:
        """The call as chat templates take it."""
        about = {"name": self.name, "arguments": json.loads(self.arguments)}
        return {"type": "function", "function": about}


def preamble(tools: Sequence[Tool]) -> str:
    """Return what a model is told of tools where its chat template says nothing of them."""
    listed = "\n".join(json.dumps(tool.declared, ensure_ascii=False) for tool in tools)
    return (
        "You may call functions to answer the user. Their signatures are within <tools> tags:\n"
        f"<tools>\n{listed}\n</tools>\n"
        "For each call, return a JSON object with its name and arguments within tags:\n"
        f'{CALL}\n{{"name": "...", "arguments": {{...}}}}\n{END_OF_CALL}'
    )


def schema_of_one(tool: Tool) -> str:
    """Return the schema of the arguments of a tool."""
    return json.dumps(tool.parameters or _ANY)


def schema_of_some(tools: Sequence[Tool], parallel: bool) -> str:
    """Return the schema of an array of calls, at least one."""
    calls = []
    for place, tool in enumerate(tools):
        arguments = _moved(tool.parameters or _ANY, f"#/items/anyOf/{place}/properties/parameters")
        call = {"name": {"const": tool.name}, "parameters": arguments}
        calls.append(
            {
                "type": "object",
                "properties": call,
                "required": list(call),
                "additionalProperties": False,
            }
        )
    most = _MOST_CALLS if parallel else 1
    return json.dumps({"type": "array", "minItems": 1, "maxItems": most, "items": {"anyOf": calls}})


def _moved(schema: Any, root: str) -> Any:
    """Return a schema whose references to its own parts still hold when it stands at `root`."""
    if isinstance(schema, list):
        return [_moved(part, root) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: root + value[1:]
        if key == "$ref" and isinstance(value, str) and value.startswith("#")
        else _moved(value, root)
        for key, value in schema.items()
    }
