"""Writes the references that code can print: docs/cli.md, recipe.md, api.md, http-api.md."""

import sys
import typing
from pathlib import Path
from types import UnionType
from typing import Any

import typer.main
from click import Command, Context
from pydantic.fields import FieldInfo

from aurora_release import atomic, recipe
from aurora_release.cli import app
from aurora_release.errors import EXIT_CODES
from scripts.build_api import reference
from scripts.build_http_api import http_api

ROOT = Path(__file__).parent.parent


def cli() -> str:
    """Return the reference of the command line."""
    commands = _commands("aurora", typer.main.get_command(app))
    sections = [f"## {name}\n\n{command.help}\n\n{_parameters(name, command)}"
                for name, command in commands]  # fmt: skip
    return "\n".join(["# Command line\n\nWritten by `make docs`.\n", _exit_codes(), *sections])


def _exit_codes() -> str:
    rows = [f"| {code} | {text} |" for code, text in EXIT_CODES.items()]
    return "\n".join([
        "## Exit codes\n", "| code | meaning |", "|---|---|", *rows,
        "\n`aurora serve` finishes its answers first: after Ctrl-C it ends with 0, after SIGTERM "
        "by that signal (143 in a shell). `aurora doctor` ends with 0 where the demo can run, "
        "warnings or not. With `--json`, standard output holds JSON and nothing else; what is said "
        "meanwhile goes to standard error.\n",
    ])  # fmt: skip


def _commands(name: str, command: Any) -> list[tuple[str, Any]]:
    """Return (full name, command) of every verb below a command, groups opened."""
    below = getattr(command, "commands", None)
    if below is None:
        return [(name, command)]
    return [found for verb in sorted(below) for found in _commands(f"{name} {verb}", below[verb])]


def _parameters(name: str, command: Command) -> str:
    context = Context(command, info_name=name)
    rows = [f"    {command.get_usage(context).removeprefix('Usage: ')}\n"]
    for parameter in command.params:
        described = parameter.get_help_record(context)  # type: ignore[attr-defined]
        if described and parameter.name != "help":
            rows.append(f"- `{described[0]}`: {described[1]}")
    return "\n".join(rows) + "\n"


def recipes() -> str:
    """Return the reference of the recipe: every part, key, type, default and meaning."""
    parts = ["# Recipe\n\nWritten by `make docs` from `aurora_release/recipe/`.\n"]
    for part in (recipe.Recipe, *_below(recipe.Part)):
        if part is recipe.Recipe and len(parts) > 1:
            continue
        parts.append(f"## {part.__name__}\n\n{part.__doc__}\n\n| key | type | default | meaning |")
        parts.append("|---|---|---|---|")
        parts += [_row(name, info) for name, info in part.model_fields.items()]
        parts.append("")
    return "\n".join(parts)


def _below(part: type[recipe.Part]) -> list[type[recipe.Part]]:
    return [found for child in part.__subclasses__() for found in (child, *_below(child))]


def _row(name: str, info: FieldInfo) -> str:
    default = "required" if info.is_required() else f"`{info.get_default()!r}`"
    if not info.is_required() and isinstance(info.get_default(), recipe.Part):
        default = "its defaults"
    kind = _kind(info.annotation).replace("|", "\\|")
    return f"| `{name}` | {kind} | {default} | {info.description or ''} |"


def _kind(annotation: Any) -> str:
    """Return a type as a reader of YAML would say it."""
    arguments = [item for item in typing.get_args(annotation) if item is not Ellipsis]
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return " or ".join(str(item) for item in arguments)
    if origin is typing.Annotated:
        return _kind(arguments[0])
    if origin in (typing.Union, UnionType):
        return " or ".join(_kind(item) for item in arguments if item is not type(None))
    if origin is tuple:
        return f"list of {_kind(arguments[0])}"
    if origin is dict:
        return f"map to {_kind(arguments[1])}"
    return str(annotation.__name__)


def main() -> None:
    """Write the references, or with --check say which of them is out of date."""
    stale = []
    pages = {"cli.md": cli(), "recipe.md": recipes(), "api.md": reference(),
             "http-api.md": http_api()}  # fmt: skip
    for name, text in pages.items():
        path = ROOT / "docs" / name
        if "--check" not in sys.argv:
            atomic.write_text(path, text)
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
    sys.exit(f"out of date, run make docs: {', '.join(stale)}" if stale else 0)


if __name__ == "__main__":
    main()
