"""Builds the shipped ledgers of pairs: python scripts/build_ledgers.py FOLDER_OF_RAW_PAIRS."""

import json
import sys
from pathlib import Path

from aurora_release.safety import ledger
from aurora_release.safety.taxonomy import LANGUAGES

OUT = Path(__file__).parent.parent / "train" / "safety"


def pairs(path: Path) -> list[ledger.Pair]:
    """Return the raw pairs of one language; a model wrote them and no person has reviewed them."""
    lines = path.read_text(encoding="utf-8").strip().split("\n")
    return [
        ledger.Pair.model_validate(
            {
                **json.loads(line),
                "source": "aurora-seed",
                "license": "Apache-2.0",
                "writer": {"kind": "model"},
            }
        )
        for line in lines
    ]


def main(folder: Path) -> None:
    """Write one ledger a language, anew: the same pairs give the same bytes."""
    OUT.mkdir(parents=True, exist_ok=True)
    for language in LANGUAGES:
        path = OUT / f"{language}.jsonl"
        path.unlink(missing_ok=True)
        records = ledger.append(path, pairs(folder / f"{language}.jsonl"))
        sys.stdout.write(f"{path}: {json.dumps(ledger.stats(records))}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
