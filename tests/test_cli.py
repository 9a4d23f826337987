"""The command as a user meets it: a real process, its exit code and its words."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer.main

from aurora_release.cli import _verbose_first, app
from aurora_release.errors import EXIT_CODES
from aurora_release.evidence import sha256_file
from aurora_release.shipped import shipped, shipped_names
from tests.command import aurora


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys, aurora_release.cli\n"
        "heavy = {'torch', 'pydantic', 'fastapi', 'transformers', 'numpy', 'gradio', 'yaml'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help_names_the_verbs() -> None:
    done = aurora("--help")
    assert done.returncode == 0
    verbs = ("demo", "doctor", "init", "recipes", "run", "evaluate", "serve", "verify", "publish")
    places = [done.stdout.index(f"│ {verb} ") for verb in verbs]
    assert places == sorted(places), "what a newcomer types first comes first"
    assert all(f"{code} {text.split()[0]}" in done.stdout for code, text in EXIT_CODES.items())


def test_help_says_how_a_revision_is_named() -> None:
    assert "ORG/NAME@REVISION" in aurora("verify", "--help").stdout, "in [], rich takes it away"


def test_dry_run_says_what_would_be_done_and_does_nothing(tmp_path: Path) -> None:
    done = aurora("run", "demo", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "evaluate-base" in done.stdout
    assert "help-fi" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "demo", "trian.zero=1"), "trian: there is no such key; did you mean train?"),
        (("run", "demo", "seed=x"), "seed: Input should be a valid integer (it is 'x')"),
        (("run", "dmeo"), "Did you mean demo?"),
        (
            ("run", "demo", "--until", "cpa"),
            "cpa is not a stage of this recipe; they are base, clean, data",
        ),
        (("run", "demo", "--redo", "x"), "x is not a stage of this recipe"),
        (("run", "demo", "--until", "evaluate-bse"), "Did you mean evaluate-base?"),
        (("train", "demo", "--stage", "catt"), "Did you mean cat?"),
        (("train", "demo", "--json"), "--json prints the plan of --dry-run"),
        (("train", "demo", "--launch", "torchrn"), "Did you mean torchrun?"),
        (("run", "demo", "quantize=[{method: gtpq}]"), "(it is 'gtpq'; did you mean gptq?)"),
        (("run", "demo", "quantize=[{methd: gptq}]"), "method is missing; is methd a slip of it?"),
        (("run", "demo", "train.precision=pb16"), "(it is 'pb16'; did you mean bf16?)"),
        (("run", "demo", "train.stages.0.mixture.help-fii=1"), "did you mean help-fi?"),
        (("quantize", "x", "--method", "gtpq", "--out", "y"), "Did you mean gptq?"),
        (("estimate", "demo", "--hardware", "h1000:8"), "Did you mean h100?"),
        (("safety", "evasions", "--wrappers", "plian"), "Did you mean plain?"),
        (("rnu", "demo"), "Did you mean 'run'?"),
        (("run", "demo", "--dry-rnu"), "Possible options: --dry-run"),
        (("verify", "nowhere"), "nowhere"),
        (("serve", "nowhere"), "nowhere"),
        (("safety", "stats", "none.jsonl"), "none.jsonl is missing: there is no such ledger"),
        (("safety", "stats", "."), "cannot be read"),
        (("safety", "export", "none.jsonl", "--out", "."), ". is there already"),
        (("safety", "review", "none.jsonl", "--reviewer", "Aino"), "none.jsonl is missing"),
        (("safety", "review", "none.jsonl", "--reviewer", "42"), "'42' is no name"),
    ],
)
def test_mistakes_are_a_sentence_and_exit_code_2(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    done = aurora(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_port_in_use_is_named(tmp_path: Path, tiny_llama: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = aurora("serve", str(tiny_llama), "--port", port, cwd=tmp_path)
    assert done.returncode == 2
    assert port in done.stderr
    assert "Traceback" not in done.stderr


def test_ledgers_are_counted_as_table_and_as_json() -> None:
    paths = [str(shipped(f"train/safety/{language}.jsonl")) for language in ("fi", "ja")]
    done = aurora("safety", "stats", *paths, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["language"], answer["reviewed"]) == ({"fi": 140, "ja": 140}, 0)
    assert answer["agreement"]["fi"]["kappa"] is None
    assert answer["ledgers"] == {path: sha256_file(Path(path)) for path in paths}
    assert "not measured" in aurora("safety", "stats", *paths).stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "demo", "--dry-run"),
        ("train", "demo", "--dry-run"),
        ("tune", "safety-dpo", "--dry-run"),
        ("data", "build", "demo", "--dry-run"),
        ("estimate", "demo"),
        ("recipes",),
        ("safety", "policy"),
    ],
)
def test_json_is_all_that_stands_on_standard_output(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    done = aurora(*arguments, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
    assert list(tmp_path.iterdir()) == []


def test_json_of_a_plan_has_its_stages_and_its_cost(tmp_path: Path) -> None:
    done = aurora("run", "demo", "--dry-run", "--until", "cap", "--json", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert [stage["name"] for stage in found["stages"]] == [
        "base", "clean", "data", "evaluate-base", "cap",
    ]  # fmt: skip
    assert found["stages"][4]["after"] == ["base", "data", "clean"]
    assert found["estimate"]["steps"] > 0


def test_every_command_that_prints_a_table_has_json() -> None:
    told_in_sentences = {
        "demo", "init", "serve", "chat", "card", "report", "sign", "publish", "keys new",
        "keys public", "keys api", "safety fit", "safety review", "safety export",
    }  # fmt: skip
    without = {name for name, command in _commands("", typer.main.get_command(app))
               if all("--json" not in each.opts for each in command.params)}  # fmt: skip
    assert without == told_in_sentences


def _commands(name: str, command: Any) -> list[tuple[str, Any]]:
    below = getattr(command, "commands", None)
    if below is None:
        return [(name, command)]
    return [each for verb in below for each in _commands(f"{name} {verb}".strip(), below[verb])]


def completed(words: str, folder: Path) -> list[str]:
    """Return what bash would offer for the last of `words`."""
    asked = {"_AURORA_COMPLETE": "complete_bash", "COMP_WORDS": words,
             "COMP_CWORD": str(len(words.split(" ")) - 1)}  # fmt: skip
    script = "import sys; sys.argv[0] = 'aurora'; from aurora_release.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                          check=True, cwd=folder, env=os.environ | asked)  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split()


def test_a_shell_completes_recipes_files_and_stages(tmp_path: Path) -> None:
    (tmp_path / "smooth.yaml").write_text("", "utf-8")
    (tmp_path / "snow").mkdir()
    (tmp_path / "some.txt").write_text("", "utf-8")
    known = [name for name in shipped_names("train/recipes", ".yaml") if name.startswith("s")]
    assert completed("aurora run s", tmp_path) == [*known, "smooth.yaml", "snow/"]
    assert completed("aurora run demo --until evaluate-", tmp_path) == [
        "evaluate-base", "evaluate-cat", "evaluate-nf4", "evaluate-gguf",
    ]  # fmt: skip
    assert completed("aurora run nowhere --until ", tmp_path) == []


def test_ctrl_c_ends_with_130_and_says_what_is_kept(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "aurora_release", "run", "demo", "--until", "clean"]
    with subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:  # fmt: skip
        while process.poll() is None and not (tmp_path / "runs/demo").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped. The same command goes on where it was." in said
    assert "Traceback" not in said


def test_verbose_may_stand_anywhere_before_what_another_program_reads() -> None:
    assert aurora("recipes", "-v").returncode == 0
    assert aurora("-v", "recipes").returncode == 0
    assert _verbose_first(["serve", "m", "-v", "--", "-v"]) == ["-v", "serve", "m", "--", "-v"]
    assert _verbose_first(["run", "demo"]) == ["run", "demo"]
