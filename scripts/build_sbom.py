"""Writes what our package is made of: every installed package that it asks for, as CycloneDX."""

import re
import sys
import uuid
from importlib import metadata
from importlib.metadata import PackageMetadata
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL
from packaging.requirements import Requirement

PACKAGE, EXTRA = "aurora-release", "all"


def bom() -> Bom:
    """Return the bill of materials of `aurora-release[all]` as it is installed here."""
    parts = {name: _component(name) for name in _asked_for()}
    found = Bom(components=[part for name, part in parts.items() if name != PACKAGE])
    found.metadata.component = parts[PACKAGE]
    for name, part in parts.items():
        extras = {EXTRA} if name == PACKAGE else set[str]()
        below = [parts[other] for other, _ in _needs(name, extras) if other != PACKAGE]
        found.register_dependency(part, below)
    names = " ".join(str(part.purl) for part in parts.values())
    found.serial_number = uuid.uuid5(uuid.NAMESPACE_OID, names)
    return found


def _asked_for() -> list[str]:
    """Return the names of our package and all below it, sorted."""
    seen: set[tuple[str, str]] = set()
    ahead = [(PACKAGE, EXTRA)]
    while ahead:
        name, extra = ahead.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for other, extras in _needs(name, {extra}):
            ahead += [(other, each) for each in ("", *sorted(extras))]
    return sorted({name for name, _ in seen})


def _needs(name: str, extras: set[str]) -> list[tuple[str, set[str]]]:
    """Return (name, extras) of what an installed package asks for on this machine."""
    found = []
    for line in metadata.requires(name) or ():
        needed = Requirement(line)
        if needed.marker is None or any(
            needed.marker.evaluate({"extra": extra}) for extra in extras | {""}
        ):
            found.append((_normal(needed.name), set(needed.extras)))
    return found


def _component(name: str) -> Component:
    kind = ComponentType.APPLICATION if name == PACKAGE else ComponentType.LIBRARY
    version = metadata.version(name)
    licence = _licence(metadata.metadata(name))
    purl = PackageURL("pypi", name=name, version=version)
    return Component(
        type=kind, name=name, version=version, purl=purl, bom_ref=str(purl),
        licenses=[LicenseFactory().make_from_string(licence)] if licence else (),
    )  # fmt: skip


def _licence(said: PackageMetadata) -> str | None:
    """Return what a package says of its licence: an SPDX expression, or a name."""
    names = [line for line in said.get_all("Classifier") or () if line.startswith("License ::")]
    name = names[-1].rpartition(" :: ")[2] if names else ""
    whole, free = (said.get(key, "") for key in ("License-Expression", "License"))
    return whole or (free if "\n" not in free else "") or name or None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    """Write the file that is named."""
    path = Path(sys.argv[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    text = make_outputter(bom(), OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1)
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
