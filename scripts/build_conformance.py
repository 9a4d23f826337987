"""Writes docs/conformance.md from real clients: python -m scripts.build_conformance URL MODEL.

`aurora serve MODEL` must run at URL. The clients are installed into environments of their own below
`--peers`, because text-generation and transformers cannot be installed together.
"""

import argparse
import json
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
CLIENTS = {
    "with_openai": ["openai"],
    "with_hub": ["huggingface_hub"],
    "with_langchain": ["langchain-openai"],
    "with_lm_eval": ["lm_eval[api]==0.4.13", "transformers"],
    "with_tgi": ["text-generation==0.7.0"],
}


def python_of(peers: Path, name: str, packages: list[str]) -> Path:
    """Return the interpreter that has a client, which is installed where it is missing."""
    folder = peers / name
    python = folder / "bin/python"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True, clear=True)
        pinned = [] if name == "with_tgi" else ["-c", str(ROOT / "constraints.txt")]
        subprocess.run([python, "-m", "pip", "install", "-q", *pinned, *packages], check=True)
        (folder / "ready").touch()
    return python


def run(python: Path, name: str, url: str, model: Path) -> list[dict[str, str | None]]:
    """Return what came of each call of a client."""
    command = [python, ROOT / f"scripts/clients/{name}.py", url, model]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    sys.stderr.write(done.stderr[-4000:])
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        lines.append({"client": name, "version": "", "call": "all", "fault": "did not run"})
    return lines


def curl(url: str) -> dict[str, str | None]:
    """Return what curl sees of a stream."""
    body = {"model": "x", "prompt": "The sky", "max_tokens": 4, "stream": True}
    command = ["curl", "-sN", f"{url}/v1/completions", "-H", "Content-Type: application/json"]
    done = subprocess.run([*command, "-d", json.dumps(body)], capture_output=True, text=True)
    events = done.stdout.split("\n\n")
    right = events[-2:] == ["data: [DONE]", ""] and len(events) > 2
    version = subprocess.run(["curl", "--version"], capture_output=True, text=True).stdout.split()[
        1
    ]
    fault = None if right else done.stdout[:200]
    return {"client": "curl", "version": version, "call": "server-sent events", "fault": fault}


def main() -> None:
    """Run every client and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("model", type=Path)
    parser.add_argument("--peers", type=Path, default=Path("/tmp/aurora-clients"))
    asked = parser.parse_args()
    rows = [curl(asked.url)]
    for name, packages in CLIENTS.items():
        rows += run(python_of(asked.peers, name, packages), name, asked.url, asked.model)
    table = "\n".join(
        f"| {row['client']} {row['version']} | {row['call']} | {row['fault'] or 'works'} |"
        for row in rows
    )
    works = sum(row["fault"] is None for row in rows)
    text = (
        "# Conformance\n\nUnmodified clients against `aurora serve` on a real port: "
        f"{works} of {len(rows)} calls work.\nMade by `python -m scripts.build_conformance "
        f"URL MODEL`; the model was {asked.model.name}.\n\n"
        f"| client | call | result |\n|---|---|---|\n{table}\n"
    )
    (ROOT / "docs/conformance.md").write_text(text, encoding="utf-8")
    sys.exit(works != len(rows))


if __name__ == "__main__":
    main()
