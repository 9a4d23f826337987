import logging
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from openai import APIError, OpenAI

from aurora_release import evidence
from aurora_release.errors import AuroraError
from aurora_release.serve.keys import one
from aurora_release.serve.server import check_address, check_folder, listen, serve


def test_a_port_in_use_is_named_before_the_model_is_read(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AuroraError, match=rf"Port {port} .* in use.*--port {port + 1}"):
            serve(tmp_path, port=port)


def test_an_audit_log_that_cannot_be_written_is_named_before_the_model_is_read(
    tmp_path: Path,
) -> None:
    _look_like_a_model(tmp_path)
    with pytest.raises(AuroraError, match="missing/log cannot be written as an audit log"):
        serve(tmp_path, port=0, audit_log=tmp_path / "missing" / "log")


def _look_like_a_model(folder: Path) -> None:
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").touch()


def test_what_takes_a_while_is_said_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("aurora_release"), "propagate", True)
    caplog.set_level(logging.INFO, "aurora_release")
    _look_like_a_model(tmp_path)
    with pytest.raises(AuroraError, match=r"has no tokenizer\.json"):
        serve(tmp_path, port=0)
    assert f"Reading {tmp_path}" in caplog.messages
    assert any(said.startswith("Reading the policy ") for said in caplog.messages)


def test_a_folder_without_a_model_is_named_before_the_policy_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("aurora_release"), "propagate", True)
    caplog.set_level(logging.INFO, "aurora_release")
    with pytest.raises(AuroraError, match=r"has no config\.json"):
        serve(tmp_path, port=0)
    assert not caplog.messages


def test_a_folder_that_is_none_is_named_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(AuroraError, match="no-model is not a folder"):
        serve(tmp_path / "no-model", port=0)


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70_000), ("198.51.100.1", 80)])
def test_an_address_that_is_not_ours_is_an_error(host: str, port: int) -> None:
    with pytest.raises(AuroraError, match="--port"):
        listen(host, port)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
def test_other_machines_need_a_key(host: str) -> None:
    with pytest.raises(AuroraError, match="--api-key-file"):
        check_address(host, None)
    check_address(host, None, public=True)
    check_address(host, one("key"))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_this_machine_needs_none(host: str) -> None:
    check_address(host, None)


def test_another_template_than_the_evidence_names_is_an_error(
    tiny_llama: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_llama, folder)
    check_folder(folder)
    evidence.write(folder, evidence.statement(evidence.digests(folder), {"measured": {}}))
    check_folder(folder)
    (folder / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")
    with pytest.raises(AuroraError, match="not the chat template"):
        check_folder(folder)


SERVE = """
import sys
from pathlib import Path
from aurora_release.safety.guard import Verdict
from aurora_release.serve.app import create_app
from aurora_release.serve.engines.embedded import EmbeddedEngine
from aurora_release.serve.keys import one
from aurora_release.serve.server import listen, run
from aurora_release.serve.settings import Settings
from aurora_release import log

log.configure()

class Judge:
    def judge(self, text, direction):
        return Verdict("allow")
    def refusal(self, verdict):
        return ""

listener = listen("127.0.0.1", 0)
print(listener.getsockname()[1], flush=True)
engine = EmbeddedEngine.load(Path(sys.argv[1]))
settings = Settings(chat_page=False, drain_seconds=float(sys.argv[2]))
run(create_app(engine, Judge(), settings), listener, settings.drain_seconds)
"""


@pytest.mark.parametrize("drain_seconds", [30, 0])
def test_sigterm_lets_running_answers_finish_for_a_while(
    tiny_llama: Path, drain_seconds: int
) -> None:
    command = [sys.executable, "-c", SERVE, str(tiny_llama), str(drain_seconds)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        url = f"http://127.0.0.1:{process.stdout.readline().strip()}"
        # it listens at once: the request waits until the model is there
        with OpenAI(base_url=f"{url}/v1", api_key="none", timeout=60) as client:
            stream = client.completions.create(
                model="x", prompt="The", max_tokens=200, temperature=0, stream=True, n=8
            )
            next(stream)
            process.send_signal(signal.SIGTERM)
            if drain_seconds:
                reasons = [chunk.choices[0].finish_reason for chunk in stream]
                assert len([reason for reason in reasons if reason]) == 8
            else:
                with pytest.raises(APIError, match="shutting down"):
                    list(stream)
        said = process.stderr.read()
        assert process.wait(60) == -signal.SIGTERM
        assert ("each ended with an error: 1" in said) == (drain_seconds == 0)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")
