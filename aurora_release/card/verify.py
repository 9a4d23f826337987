"""Checks a release with nothing but its folder: files, evidence, models, card, gates, signature."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from aurora_release import evidence
from aurora_release.card import chain as chains
from aurora_release.card import check, derived, sign, sums
from aurora_release.card.chain import Chain, Statement, at
from aurora_release.card.stage import OWN_FILES
from aurora_release.errors import AuroraError, missing_extra
from aurora_release.progress import Progress


@dataclass(frozen=True)
class Check:
    """What one check found."""

    name: str
    passed: bool | None
    """None where there was nothing to check, which the sentence says."""
    sentence: str


@dataclass(frozen=True)
class Report:
    """What was found of a release, in the order of the checks."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(found.passed is not False for found in self.checks)


def verify(folder: Path, key: Path | None = None) -> Report:
    """Return what holds of a release folder; later checks wait for the files to be intact.

    `key` is the file of the public key that must have signed the release.

    Raises:
        AuroraError: the folder is no release, or the key is no key.
    """
    if not any((folder / name).exists() for name in (sums.FILE, evidence.FILE)):
        raise AuroraError(
            f"{folder} is not a release: it has neither {sums.FILE} nor {evidence.FILE}. "
            "Name the folder `release` of a run, or a downloaded release."
        )
    if key is not None and not key.is_file():
        raise AuroraError(f"{key} is missing: name the file of the publisher's public key.")
    try:
        found = _digests(folder)
    except AuroraError as error:
        rest = Check("evidence", None, "Not looked at, nor what follows from it: files first.")
        return Report((Check("files", False, str(error)), rest))
    files = Check("files", True, f"{len(found)} files have the digests that {sums.FILE} lists.")
    try:
        release = chains.statement(folder / evidence.FILE)
        chain = chains.read(folder)
    except AuroraError as error:
        return Report((files, Check("evidence", False, str(error))))
    checks = (*_checks(folder, found, release, chain), _signature(folder, found, key))
    return Report((files, *checks))


def _checks(
    folder: Path, found: Mapping[str, str], release: Statement, chain: Chain
) -> Iterable[Check]:
    """Yield the checks that need intact evidence; a broken chain ends them."""
    own = {name: digest for name, digest in found.items() if name != evidence.FILE}
    yield _check(
        "evidence",
        _differences(own, release.subject, evidence.FILE),
        f"{evidence.FILE} names every file with its digest.",
    )
    broken = _chain(folder, release, chain)
    yield _check("chain", broken, f"{len(chain.stages)} stages are linked back to the base model.")
    if broken:
        return
    yield _check(
        "models",
        _models(found, chain) + _size(folder, release),
        "Every model file is what its stage made: "
        f"{', '.join(('the trained model', *chain.variants))}.",
    )
    yield _certificates(chain)
    try:
        pages = check.pages(folder, chain, release)
        for name, kind in (("card", ".md"), ("materials", ".json")):
            wrong = {page: each for page, each in pages.items() if page.endswith(kind)}
            yield _check(
                name,
                [sentence for each in wrong.values() for sentence in each],
                f"{', '.join(wrong)}: what the evidence renders to, byte for byte.",
            )
        findings = derived.findings(chain)
    except chains.UNREADABLE as error:
        yield Check("measured", False, f"The evidence measures nothing readable: {error!r}.")
        return
    failed = [found["sentence"] for found in findings["gates"] if not found["passed"]]
    failed += check.differing(findings, release)
    yield _check("gates", failed, f"{len(findings['gates'])} rules of the recipe hold.")


def _size(folder: Path, release: Statement) -> list[str]:
    """Return what is wrong with the size of the weights that the release states."""
    there = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    said = release.predicate.measured.get("bytes")
    return [] if said == there else [f"{evidence.FILE} says {said} bytes of weights, not {there}."]


def _certificates(chain: Chain) -> Check:
    """Check that each variant's certificate is of its weights and of the trained model's."""
    final = _weights(chain, chain.final)
    wrong, without = [], []
    for name in chain.variants:
        certificate = at(chain, name, "measured", "certificate")
        if certificate is None:
            without.append(name)
        elif certificate.get("weights") != _weights(chain, name):
            wrong.append(f"The conversion certificate of {name} is of other weights.")
        elif certificate.get("source_weights", final) != final:
            wrong.append(f"The conversion certificate of {name} is from another model.")
    if without and not wrong:
        return Check("certificates", None, f"No conversion certificate: {', '.join(without)}.")
    certified = ", ".join(chain.variants) or "none was made"
    sentence = f"Variants with a conversion certificate of their bytes: {certified}."
    return _check("certificates", wrong, sentence)


def _weights(chain: Chain, stage: str) -> dict[str, str]:
    subject = chain.stages[stage].subject
    return {
        name: digest
        for name, digest in subject.items()
        if "/" not in name and name.endswith((".safetensors", ".gguf"))
    }


def _signature(folder: Path, found: Mapping[str, str], key: Path | None) -> Check:
    """Check the signature as far as it can be: without the key, only what it was made over."""
    if not (folder / sign.FILE).exists():
        if key:
            why = "nobody signed this release, or it was built again since; `aurora sign` signs it."
            return Check("signature", False, f"{sign.FILE} is missing: {why}")
        return Check("signature", None, "Unsigned: who made this release is not known.")
    if key and find_spec("model_signing") is None:
        missing = missing_extra("model_signing", "sign")
        return Check("signature", False, f"Could not be checked. {missing}")
    try:
        signer = sign.signer(folder)
        listed = {sums.FILE: evidence.sha256_file(folder / sums.FILE)}
        wrong = sign.differences(folder, {**found, **listed})
    except AuroraError as error:
        return Check("signature", False, str(error))
    if key and not wrong:
        reason = sign.check(folder, key)
        right = f"Every listed file was signed with the key {signer[:12]}, which is {key}."
        return _check("signature", [reason] if reason else [], right)
    if wrong:
        return Check("signature", False, _some(wrong))
    return Check(
        "signature",
        None,
        f"Signed, key not checked: the signature names every file and says that it was made with "
        f"the key {signer[:12]}; `--key` with the publisher's public key checks it.",
    )


def _check(name: str, wrong: list[str], right: str) -> Check:
    return Check(name, not wrong, _some(wrong) if wrong else right)


def _some(sentences: list[str], most: int = 10) -> str:
    """Return the first sentences, and how many more there are."""
    more = [f"And {len(sentences) - most} more."] if len(sentences) > most else []
    return " ".join(sentences[:most] + more)


def _digests(folder: Path) -> dict[str, str]:
    """Return the digest of every file but the list, as listed and as found.

    Raises:
        AuroraError: they differ, or something in the folder is no plain file or is git's.
    """
    if (folder / ".git").exists():
        raise AuroraError(
            ".git is no part of a release, and git may run what lies in it: check a copy without "
            "it, or what `hf download` fetches."
        )
    for path in sorted(_all(folder)):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise AuroraError(f"{path.relative_to(folder)} is no plain file: remove it.")
    listed = sums.read(folder)
    found = _files(folder, leave_out=(sums.FILE, sign.FILE))
    if wrong := _differences(found, listed, sums.FILE):
        raise AuroraError(_some(wrong))
    return found


def _all(folder: Path) -> Iterator[Path]:
    """Yield all that lies below a folder; `rglob` would pass over a folder that it cannot list."""

    def refuse(error: OSError) -> None:
        name = Path(error.filename).relative_to(folder)
        raise AuroraError(f"What lies in {name} cannot be listed ({error.strerror}): let it be.")

    for place, folders, files in os.walk(folder, onerror=refuse):
        yield from (Path(place, name) for name in (*folders, *files))


def _files(folder: Path, leave_out: Iterable[str]) -> dict[str, str]:
    """Return the digest of every file but those that the Hub and its client add to a release."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    found = evidence.digests(folder, leave_out, Progress(f"checking {folder}:", size).add)
    return {
        name: digest
        for name, digest in found.items()
        if name != ".gitattributes" and not name.startswith(".cache/huggingface/")
    }


def _differences(found: Mapping[str, str], wanted: Mapping[str, str], by: str) -> list[str]:
    """Return a sentence for each file that is missing, changed, or not named by `by`."""
    return [
        f"{name} is missing."
        if name not in found
        else f"{name} was changed: its digest is not the one in {by}."
        if name in wanted
        else f"{name} is not named in {by}."
        for name in sorted(found.keys() | wanted.keys())
        if found.get(name) != wanted.get(name)
    ]


def _chain(folder: Path, release: Statement, chain: Chain) -> list[str]:
    """Return what is wrong between the release's evidence, its recipe and its stages."""
    wrong = chains.breaks(chain, release.predicate.previous)
    if release.predicate.stage != "release":
        wrong.append(f"{evidence.FILE} is evidence of {release.predicate.stage}, not of a release.")
    # as it lies there: a later version may know more keys
    if json.loads((folder / chains.RECIPE).read_bytes()) != release.predicate.recipe:
        wrong.append(f"{chains.RECIPE} is not the recipe in {evidence.FILE}.")
    return wrong


def _models(found: Mapping[str, str], chain: Chain) -> list[str]:
    """Return what is wrong with the files of the models, and which files nobody made."""
    placed = chains.model_files(chain)
    wrong = [
        f"{name} is not what the stage {stage} made."
        for name, (stage, source) in placed.items()
        if found.get(name) != chain.stages[stage].subject[source]
    ]
    known = {*placed, *OWN_FILES, *(f"{chains.FOLDER}/{name}.json" for name in chain.stages)}
    return wrong + [f"{name} was made by no stage." for name in sorted(found.keys() - known)]
