"""Which engine `aurora serve` takes, and what it says when the options do not fit."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aurora_release.errors import AuroraError
from aurora_release.serve.engines import keeper
from aurora_release.serve.engines.choose import Choice, facts, open_engine
from aurora_release.serve.engines.embedded import EmbeddedEngine


@pytest.fixture
def gguf(tiny_llama: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "gguf"
    shutil.copytree(tiny_llama, folder)
    (folder / "model.safetensors").unlink()
    (folder / "model.gguf").write_bytes(b"GGUF")
    return folder


def test_a_model_folder_is_served_in_this_process(tiny_llama: Path) -> None:
    assert isinstance(open_engine(tiny_llama, Choice()), EmbeddedEngine)


def test_a_gguf_folder_without_llama_cpp_names_what_to_install(
    gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AURORA_NODE", str(tmp_path / "node"))
    with pytest.raises(AuroraError, match=r"npm install .*/node node-llama-cpp@"):
        open_engine(gguf, Choice())


@pytest.mark.parametrize("kind", ["vllm", "llama"])
def test_a_program_that_ends_at_once_is_quoted(gguf: Path, tmp_path: Path, kind: str) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho no such option: $9\nexit 3\n", encoding="utf-8")
    program.chmod(0o700)
    with pytest.raises(AuroraError, match="ended before it was ready(.|\n)*no such option"):
        open_engine(gguf, Choice(kind, program=program))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("choice", "named"),
    [
        (Choice("openai"), "--upstream URL"),
        (Choice("embedded", ("http://127.0.0.1:1",)), "--upstream"),
        (Choice("vllm", key_file=Path("key")), "--upstream-key-file"),
        (Choice(program=Path("python")), "--engine-program"),
        (Choice("llama", tensor_parallel=2), "--tensor-parallel"),
        (Choice("tgi", ("http://127.0.0.1:1",), pipeline_parallel=2), "--pipeline-parallel"),
        (Choice(options=("--dtype", "half")), "options after --"),
    ],
)
def test_options_that_the_engine_would_not_read_are_named(
    tiny_llama: Path, choice: Choice, named: str
) -> None:
    with pytest.raises(AuroraError, match=named):
        open_engine(tiny_llama, choice)


def test_a_tokenizer_alone_will_do_for_other_servers(tiny_tokenizer_folder: Path) -> None:
    engine = open_engine(tiny_tokenizer_folder, Choice("tgi", ("http://127.0.0.1:1/",)))
    assert engine.facts == facts(tiny_tokenizer_folder, engine.tokenizer)
    assert engine.facts.vocabulary == len(engine.tokenizer) and engine.facts.max_total_tokens == 0


CHILD = """
import subprocess, sys
subprocess.Popen(["sleep", "600"])
print("started", flush=True)
subprocess.run(["sleep", "600"])
"""


def test_what_a_child_started_ends_when_this_process_is_killed() -> None:
    # kill -9 gives nobody a chance to clean up: the keeper notices that its input ended
    parent = subprocess.Popen(
        [sys.executable, "-c", "import subprocess, sys, time\n"
         "subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)\ntime.sleep(600)",
         sys.executable, keeper.__file__, sys.executable, "-c", CHILD],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert parent.stdout is not None
    with parent.stdout as output:
        assert output.readline() == b"started\n"
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        # every process that holds the pipe is gone once it ends
        assert output.read() == b""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills with the parent")
def test_a_command_ends_when_its_keeper_is_killed() -> None:
    command = [sys.executable, "-c", "import time; print('started', flush=True); time.sleep(600)"]
    kept = subprocess.Popen(
        [sys.executable, keeper.__file__, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert kept.stdin is not None and kept.stdout is not None
    with kept.stdin, kept.stdout as output:
        assert output.readline() == b"started\n"
        kept.kill()
        kept.wait()
        assert output.read() == b""
