"""Writes docs/results/hardening.md from what fuzzing and failing writes found: before and now."""

import json
from pathlib import Path
from typing import Any

from aurora_release import atomic

PAGE = Path(__file__).parents[2] / "docs" / "results" / "hardening.md"
FOUND = PAGE.with_suffix("")
"""Folder of JSON lines: what `fuzz` and `inject` printed for an older version, and for this one."""

_HEAD = """# Files that are wrong, and disks that refuse

Written by `python -m tests.hardening.page` from `hardening/*.jsonl` beside it. *before* is commit
530434c, given {before} changed files a parser; *now* is the code that this
page lies beside. What was not run before says so. Two failures were found on the way, and are in
neither: a token store whose source is neither text nor pairs was an IndexError in store.py, and a
stage whose folder could not be synced after its rename kept `.key.json`.

## Parsers

    AURORA_FUZZ={cases} python -m tests.hardening.fuzz

Each parser is given at least {cases} changed files (keys dropped, doubled, renamed, of other type,
numbers that are huge, negative or none, lists in each other, bytes cut, flipped and put in), and
every extreme one: 10 MB strings, 100,000 lists in each other, anchors that multiply, NUL, no
UTF-8, a folder or a link to `/dev/zero` in its place. It must read something sound, or refuse
it with an error of ours that names the file;
in 1 GiB and 20 seconds of a processor, and nothing is written.
A failure is an exception in a function, a message without a place or without end, or too much of
time or memory; the same one counts once.
"""

_WRITES = """
## Writes

    python -m tests.hardening.inject MOST full,broken,read-only

The n-th open, write, sync, rename, mkdir, link or truncation in the folder of a command fails:
*full*, it and all that follow with ENOSPC, half of a write being taken; *broken*, it alone with
EIO; *read-only*, it and all that follow with EROFS, removing and chmod too. The command must end
with exit code 2 and one sentence, or do its work all the same; what has its final name is what it
was before or what it should be; and the same command, run again on a disk that is well, gives the
same bytes (clocks and meters in evidence left out). Where there are more writes than were tried,
those tried are evenly spread. A failure is a write after which one of these did not hold. One
thing is allowed: where all but the last sync of a folder was done, `keys`, `export` and `quantize`
say the second time that the file, the key or the folder is there. Commands of
`tests/hardening/commands.py` that are not in the table were not run to their end yet.
"""


def main() -> None:
    """Write the page."""
    before, now = _read("fuzz-before"), _read("fuzz-now")
    known: object
    cases = min(row["asked"] for row in now.values())
    was = min(row["asked"] for row in before.values())
    lines = [
        _HEAD.format(cases=cases, before=was),
        "| parser | files | read | failures before | now |",
        "|---|---|---|---|---|",
    ]
    for name, row in now.items():
        known = len(before[name]["failures"]) if name in before else "not run"
        files = f"{row['cases']:,} | {row['read']:,}"
        lines.append(f"| {name} | {files} | {known} | {len(row['failures'])} |")
    lines += ["", *_kinds(before), _WRITES]
    before, now = _read("writes-before"), _read("writes-now")
    lines += ["| command | disk | writes | made to fail | failures before | now |",
              "|---|---|---|---|---|---|"]  # fmt: skip
    for name, row in now.items():
        known = "not run"
        if name in before:
            known = f"{_failed(before[name])} of {before[name]['tried']}"
        cells = (row["command"], row["kind"], row["writes"], row["tried"], known, _failed(row))
        lines.append(f"| {' | '.join(map(str, cells))} |")
    atomic.write_text(PAGE, "\n".join(lines) + "\n")


def _read(name: str) -> dict[str, dict[str, Any]]:
    path = FOUND / f"{name}.jsonl"
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return {row.get("parser") or f"{row['command']} {row['kind']}": row for row in rows}


def _kinds(before: dict[str, dict[str, Any]]) -> list[str]:
    """Return what was wrong before, by parser."""
    return ["What was wrong before:", ""] + [
        f"- {name}: {'; '.join(sorted(row['failures']))}"
        for name, row in before.items()
        if row["failures"]
    ]


def _failed(row: dict[str, Any]) -> int:
    """Return after how many writes something did not hold."""
    return len({failure.partition(":")[0] for failure in row["failures"]})


if __name__ == "__main__":
    main()
