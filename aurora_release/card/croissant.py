"""Croissant 1.0 metadata of the mixture: which files were read, and how the text lies in them.

mlcroissant is no dependency: `mlcroissant validate --jsonld mixture/croissant.json`, in an
environment of its own, checks what is written here.
"""

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from aurora_release.card import mixture
from aurora_release.card.chain import Chain

FILE = "mixture/croissant.json"

Fact = dict[str, Any]

_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context that the Croissant 1.0 specification gives (appendix 1)."""

_FORMATS = {".jsonl": "application/jsonlines", ".parquet": "application/x-parquet"}


def render(chain: Chain, measured: Mapping[str, Any]) -> str:
    """Return the metadata as JSON-LD; it has no date, so the same evidence gives the same bytes."""
    found = mixture.facts(chain, measured)
    content = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": found["recipe"],
        "description": f"{found['metadata']['pretty_name']}: the sources of text that it was "
        "trained on. The text is not in the release.",
        "inLanguage": found["metadata"]["language"],
        "license": list(dict.fromkeys(row["license"] for row in found["sources"])),
        "distribution": [_file(row) for row in found["sources"]],
        "recordSet": [each for row in found["sources"] for each in _records(row)],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _file(row: Fact) -> Fact:
    """Return a source as a file, or as a repository where it is a data set of the Hub."""
    entry = {
        "@type": "cr:FileObject",
        "@id": row["name"],
        "name": row["name"],
        "description": f"Language {row['language']}, licence {row['license']}."
        + (f" From: {row['origin']}" if row["origin"] else ""),
    }
    if row["path"].startswith("hub:"):
        name, _, revision = row["path"].removeprefix("hub:").partition("@")
        address = f"https://huggingface.co/datasets/{name}/tree/{revision or 'main'}"
        # a repository has no one digest: its revision stands in the address
        return {**entry, "contentUrl": address, "encodingFormat": "git+https",
                "sha256": "https://github.com/mlcommons/croissant/issues/80"}  # fmt: skip
    return {
        **entry,
        "contentUrl": row["path"].removeprefix("shipped:"),
        "encodingFormat": _format(row["path"]),
        "sha256": row["sha256"] or "unknown",
    }


def _format(path: str) -> str:
    return _FORMATS.get(PurePosixPath(path).suffix, "application/octet-stream")


def _records(row: Fact) -> list[Fact]:
    """Return the records of a source whose columns are known: text in JSON lines or Parquet."""
    if row["kind"] != "text" or _format(row["path"]) not in _FORMATS.values():
        return []
    name = f"{row['name']}/documents"
    field = {
        "@type": "cr:Field",
        "@id": f"{name}/text",
        "name": "text",
        "dataType": "sc:Text",
        "source": {
            "fileObject": {"@id": row["name"]},
            "extract": {"column": row["text_key"]},
        },
    }
    return [{"@type": "cr:RecordSet", "@id": name, "name": "documents", "field": [field]}]
