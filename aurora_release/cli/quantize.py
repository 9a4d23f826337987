"""`aurora quantize`: smaller variants, what each costs, and which to take."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from aurora_release.cli.arguments import Json, Overrides, Runs
from aurora_release.errors import AuroraError
from aurora_release.log import nothing_on_stdout

if TYPE_CHECKING:
    from aurora_release.quantize.make import Variant

Method = Literal["nf4", "int8", "gptq", "gguf", "compressed-tensors"]

_Model = Annotated[
    str, typer.Argument(help="A model folder; a recipe with --report, --costs or --recommend.")
]
_GroupSize = Annotated[int | None, typer.Option(help="GPTQ, W4A16: inputs that share a scale; 64.")]
_ActOrder = Annotated[
    bool | None, typer.Option("--act-order", help="GPTQ: the largest inputs first.")
]
_Importance = Annotated[
    bool | None, typer.Option("--importance", help="GGUF: weigh inputs in a K type.")
]
_Scheme = Annotated[str | None, typer.Option(help="compressed-tensors: W4A16 or W8A8; W4A16.")]
_Calibration = Annotated[
    str | None, typer.Option(help="A file of text, or a recipe for the mixture of its run.")
]
_Report = Annotated[
    bool, typer.Option("--report", help="Make, measure and compare a recipe's variants.")
]
_Costs = Annotated[bool, typer.Option("--costs", help="Time each variant again, and report.")]
_Recommend = Annotated[
    bool, typer.Option("--recommend", help="Name the smallest variant that passes its gates.")
]


def quantize(
    model: _Model,
    overrides: Overrides = None,
    method: Annotated[Method | None, typer.Option(help="How its weights are made smaller.")] = None,
    out: Annotated[Path | None, typer.Option(help="The folder to write.")] = None,
    bits: Annotated[int | None, typer.Option(help="GPTQ: 8, 4, 3 or 2; 4.")] = None,
    group_size: _GroupSize = None,
    act_order: _ActOrder = None,
    type: Annotated[str | None, typer.Option(help="GGUF: its storage type; Q8_0.")] = None,
    importance: _Importance = None,
    scheme: _Scheme = None,
    calibration: _Calibration = None,
    samples: Annotated[int | None, typer.Option(help="Calibration samples; 32.")] = None,
    report: _Report = False,
    sets: Annotated[
        list[Path] | None, typer.Option(help="With --report: evaluation sets to measure as well.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Items of each set.")] = None,
    costs: _Costs = False,
    recommend: _Recommend = False,
    runs: Runs = Path("runs"),
    as_json: Json = False,
) -> None:
    """Write a smaller variant of MODEL, with its certificate in evidence.json."""
    if report or costs or recommend:
        from aurora_release import chain

        names = tuple(overrides or ())
        if report or costs:
            folder = chain.formats(model, names, runs, out, tuple(sets or ()), limit, costs)
            if not (as_json and recommend):
                typer.echo(_report(folder, as_json))
        if recommend:
            typer.echo(chain.recommend(model, names, runs, as_json))
        return
    if method is None or out is None or overrides:
        raise AuroraError("aurora quantize MODEL --method METHOD --out FOLDER, and no KEY=VALUE.")
    from aurora_release.evidence import canonical
    from aurora_release.quantize.alone import quantize as write
    from aurora_release.quantize.alone import summary

    given = {
        "bits": bits, "group_size": group_size, "act_order": act_order, "type": type,
        "importance": importance, "scheme": scheme, "samples": samples,
    }  # fmt: skip
    with nothing_on_stdout():
        made = write(Path(model), out, _variant(method, given), calibration, runs)
    typer.echo(canonical(made).decode() if as_json else summary(made, out))


def _report(folder: Path, as_json: bool) -> str:
    """Return the report, and where it lies."""
    from aurora_release.quantize.delta import JSON

    if as_json:
        return (folder / JSON).read_text("utf-8").rstrip()
    return (folder / "delta.md").read_text("utf-8") + f"written to {folder}"


def _variant(method: str, given: Mapping[str, object]) -> "Variant":
    """Return the recipe's part for the options; one that the method has not is refused."""
    from pydantic import TypeAdapter, ValidationError

    from aurora_release.recipe import Quantization
    from aurora_release.recipe.read import sentences

    settings = {key: value for key, value in given.items() if value is not None}
    try:
        found: Variant = TypeAdapter(Quantization).validate_python({"method": method, **settings})
        return found
    except ValidationError as error:
        raise AuroraError(f"aurora quantize --method {method}:\n{sentences(error)}") from None
