"""The doctor says what is there, and what to do about what is not."""

import json
import socket
from pathlib import Path

import pytest

from aurora_release import doctor
from tests.command import aurora


def test_doctor_finds_this_machine_fit_and_prints_nothing_but_json(tmp_path: Path) -> None:
    done = aurora("doctor", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = {row["name"]: row for row in json.loads(done.stdout)}
    assert {"Python", "torch", "device", "bf16", "DeepSpeed", "DeepSpeed ops", "disk", "memory",
            "cores", "port 8000", "Hub token", "sandbox", "npm", "llama.cpp",
            "vLLM"} == set(found)  # fmt: skip
    assert (
        found["Python"]["state"] == found["torch"]["state"] == found["DeepSpeed"]["state"] == "ok"
    )
    for row in found.values():
        assert row["state"] in ("ok", "warning", "failed")
        assert bool(row["advice"]) == (row["state"] != "ok"), row
    assert list(tmp_path.iterdir()) == []


def test_a_port_in_use_is_a_warning_with_another_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = doctor._port(port)
    assert (found.state, found.name) == ("warning", f"port {port}")
    assert f"--port {port + 1}" in found.advice


def test_the_token_is_never_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_0123456789secret")
    assert doctor._token() == doctor.Finding("Hub token", "ok", "present (not shown)")


def test_too_little_disk_fails_and_says_how_much_is_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "DISK_BYTES", 1e18)
    found = doctor._disk(tmp_path / "runs" / "not" / "there")
    assert found.state == "failed"
    assert str(tmp_path) in found.found
    assert "--runs" in found.advice


def test_a_failure_ends_with_exit_code_2_and_its_name(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart is missing')", "utf-8")
    done = aurora("doctor", cwd=tmp_path)
    assert done.returncode == 2
    assert "failed   torch          libcudart is missing" in done.stdout
    assert "pip install 'aurora-release[all]'" in done.stdout
    assert "The demo cannot run here yet: torch" in done.stderr
    assert "Traceback" not in done.stderr
