"""Where a release says something else than its evidence, and which evidence is no longer true."""

import math
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from aurora_release import __version__, evidence, parse
from aurora_release.card import chain as chains
from aurora_release.card import derived, pictures, render
from aurora_release.card.chain import Chain, Statement
from aurora_release.environment import environment
from aurora_release.shipped import shipped


@chains.readable()
def check(folder: Path) -> list[str]:
    """Return a sentence for each thing wrong with the pages of a release; none if all are right.

    Raises:
        AuroraError: the evidence beside the card cannot be read.
    """
    chain = chains.read(folder)
    release = chains.statement(folder / evidence.FILE)
    if broken := chains.breaks(chain, release.predicate.previous):
        return [*stale(folder, chain), *broken, *_empty(folder)]
    found = pages(folder, chain, release)
    wrong = [sentence for sentences in found.values() for sentence in sentences]
    if parse.json_text(parse.content(folder / chains.RECIPE)) != release.predicate.recipe:
        wrong.append(f"{chains.RECIPE} is not the recipe in {evidence.FILE}.")
    return [
        *stale(folder, chain), *_empty(folder), *wrong, *_underived(chain, release),
        *_pictures(folder, release.subject),
    ]  # fmt: skip


def stands(folder: Path) -> bool:
    """Return whether the pages of a whole release say what this version of aurora would write."""
    release = chains.statement(folder / evidence.FILE)
    return not any(pages(folder, chains.read(folder), release).values())


def pages(folder: Path, chain: Chain, release: Statement) -> dict[str, list[str]]:
    """Return what is wrong with each file that evidence renders to, by its name."""
    rendered = render.documents(chain, release.predicate.measured)
    return {name: _page(folder, name, text, release) for name, text in rendered.items()}


def _underived(chain: Chain, release: Statement) -> list[str]:
    """Compare what the release works out; intervals are drawn again only where numpy is there."""
    work_out = derived.derive if find_spec("numpy") else derived.findings
    return differing(work_out(chain), release)


def differing(worked_out: Mapping[str, Any], release: Statement) -> list[str]:
    """Return a sentence for each part that the release states otherwise than it was worked out."""
    return [
        f"{evidence.FILE}: its {name} do not follow from the evidence of the stages."
        for name, value in evidence.plain(worked_out).items()
        if not _same(value, release.predicate.measured.get(name))
    ]


def _same(one: Any, two: Any) -> bool:
    """Return whether two values from JSON are the same, but for the last digits of a number."""
    if isinstance(one, float) and isinstance(two, int | float):
        return math.isclose(one, two, rel_tol=1e-6, abs_tol=1e-9)
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(_same(one[key], two[key]) for key in one)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(_same, one, two))
    return bool(one == two)


def _page(folder: Path, name: str, rendered: str, release: Statement) -> list[str]:
    path = folder / name
    if not path.is_file():
        return [f"{name} is missing."]
    try:
        written = parse.content(path)
    except ValueError as error:
        return [f"{name} is not what the evidence says: {error}."]
    if written == rendered.encode():
        return []
    by = _writer(release)
    if _other_template(name, release):
        return [f"{name} was written with another template, that of {by}: verify with that."]
    found = differences(name, written.decode(errors="replace"), rendered)
    if release.predicate.environment.get("code") != environment()["code"]:
        found.append(f"{name} was written by {by}: if that says it otherwise, verify with that.")
    return found


def _other_template(name: str, release: Statement) -> bool:
    """Return whether a page was written with a template that is not ours."""
    path = Path(render.TEMPLATES.get(name, ""))
    wanted = release.predicate.inputs.get(path.name.partition(".")[0])
    return wanted is not None and wanted != evidence.sha256_file(shipped(str(path)))


def _writer(release: Statement) -> str:
    """Return what wrote the pages of a release, where it is not ours."""
    made = release.predicate.environment
    version = str(made.get("packages", {}).get("aurora-release", "of another version"))
    if version != __version__:
        return f"aurora-release {version}"
    return f"another checkout of aurora-release {version} (its code: {str(made.get('code')):.12})"


def _empty(folder: Path) -> list[str]:
    found = {
        name: folder / name
        for name in render.TEMPLATES
        if (folder / name).is_file() and (folder / name).stat().st_size <= parse.LARGEST_EVIDENCE
    }
    return [
        f"{name}: the section {heading!r} is empty."
        for name, path in found.items()
        for heading in render.empty_sections(path.read_text(encoding="utf-8", errors="replace"))
    ]


def _pictures(folder: Path, subject: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the pictures: each must be the one that the release drew."""
    drawn = {name for name in subject if name.startswith(f"{pictures.FOLDER}/")}
    there = {path.relative_to(folder).as_posix() for path in (folder / pictures.FOLDER).glob("*")}
    return [
        f"{name} is missing."
        if name not in there
        else f"{name} belongs to no release."
        if name not in drawn
        else f"{name} is not the picture that was drawn from the evidence."
        for name in sorted(drawn | there)
        if name not in drawn & there
        or not (folder / name).is_file()
        or evidence.sha256_file(folder / name) != subject[name]
    ]


def stale(folder: Path, chain: chains.Chain) -> list[str]:
    """Return a sentence for each stage that its run, beside the release, has done again."""
    return [
        f"{chains.FOLDER}/{name}.json is old: {name} was done again after this release was built; "
        "`aurora run` builds it again."
        for name, stage in chain.stages.items()
        if (folder.parent / name / evidence.FILE).is_file()
        and evidence.sha256_file(folder.parent / name / evidence.FILE) != stage.sha256
    ]


def differences(name: str, written: str, rendered: str) -> list[str]:
    """Return a sentence for each line of a page that says something else than the evidence."""
    if written == rendered:
        return []
    ours, theirs = written.splitlines(), rendered.splitlines()
    if len(ours) != len(theirs):
        line = next(
            (at for at, (one, two) in enumerate(zip(ours, theirs, strict=False), 1) if one != two),
            min(len(ours), len(theirs)) + 1,
        )
        return [f"{name} does not say what the evidence says, from line {line} on."]
    return [
        f"{name}, line {line}: {_difference(one, two)}"
        for line, (one, two) in enumerate(zip(ours, theirs, strict=True), 1)
        if one != two
    ] or [f"{name} has other line ends than the evidence renders to."]


def _difference(written: str, rendered: str) -> str:
    """Return the words in which two lines differ, as part of a sentence."""
    one, two = written.split(), rendered.split()
    start = next((at for at, pair in enumerate(zip(one, two, strict=False)) if pair[0] != pair[1]),
                 min(len(one), len(two)))  # fmt: skip
    tail = 0
    while tail < min(len(one), len(two)) - start and one[-1 - tail] == two[-1 - tail]:
        tail += 1
    ours, theirs = (parse.brief(" ".join(words[start : len(words) - tail])) for words in (one, two))
    if not (ours or theirs):
        return "the spaces are not those that the evidence renders to."
    return f"it says {ours or 'nothing'!r} where the evidence says {theirs or 'nothing'!r}."
