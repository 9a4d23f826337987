import json
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from aurora_release.errors import AuroraError
from aurora_release.quantize.apart import apart
from aurora_release.quantize.bits_and_bytes import int8, nf4
from aurora_release.quantize.certificate import certificate
from aurora_release.quantize.gptq import check_group_size, gptq, warn_of_hessians
from aurora_release.quantize.parity import COUNT, strings

DOMAINS = {"python": ["def fox(dog):"], "fi": ["Nopea kettu"]}
SAMPLES = [[(7 * row + 3 * column) % 300 for column in range(64)] for row in range(8)]


# gptqmodel makes a folder for offloading whenever it reads a configuration, and leaves it to the
# garbage collector
pytestmark = pytest.mark.filterwarnings("ignore:Implicitly cleaning up <Temp:ResourceWarning")


def test_gptq_gives_the_same_bytes_twice_and_leaves_nothing_behind(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    contents = []
    for out in (tmp_path / "a", tmp_path / "b"):
        out.mkdir()
        apart(gptq, tiny_llama, out, bits=4, group_size=32, samples=SAMPLES)
        contents.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert contents[0] == contents[1]
    assert list(here.iterdir()) == []
    for name in ("tokenizer.json", "chat_template.jinja", "generation_config.json"):
        assert contents[0][name] == (tiny_llama / name).read_bytes()
    check_close(tiny_llama, tmp_path / "a")


WIDTHS = {"8": {"bits": 8}, "3": {"bits": 3, "act_order": True}, "2": {"bits": 2}}


def several(sources: dict[str, Path], out: Path) -> None:
    """GPTQ of two models in several widths, in one process: its import takes the longest."""
    for model, source in sources.items():
        for name, settings in WIDTHS.items():
            (out / f"{model}-{name}").mkdir()
            given: Any = {"group_size": 32, "samples": SAMPLES, **settings}
            gptq(source, out / f"{model}-{name}", **given)


def test_fewer_bits_are_further_from_the_source(
    tiny_llama: Path, tiny_bigcode: Path, tmp_path: Path
) -> None:
    sources = {"llama": tiny_llama, "bigcode": tiny_bigcode}
    apart(several, sources, tmp_path)
    for model, source in sources.items():
        far = {
            name: certificate(source, tmp_path / f"{model}-{name}", DOMAINS, new_tokens=4)
            for name in WIDTHS
        }
        mean = {name: found["logit_difference_mean"] for name, found in far.items()}
        assert 0 < mean["8"] < mean["3"] < mean["2"]
    config = json.loads((tmp_path / "llama-3" / "config.json").read_bytes())
    assert config["quantization_config"]["desc_act"]


def test_layers_that_calibration_does_not_determine_are_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")
    from types import SimpleNamespace

    from gptqmodel.quantization.gptq import GPTQ

    # the part of a layer's task that it needs, with the settings of GPTQModel
    layer: Any = SimpleNamespace(name="mlp.up", qcfg=SimpleNamespace(
        damp_percent=0.05, damp_auto_increment=0.01, region_timer=None))  # fmt: skip
    hessian = torch.eye(8) + 2 * torch.eye(8).flip(0)
    with caplog.at_level("WARNING", "aurora_release"), warn_of_hessians():
        factor, _ = GPTQ.hessian_inverse(layer, torch.eye(8))
        assert factor is not None and not caplog.messages
        GPTQ.hessian_inverse(layer, hessian)
    assert any("mlp.up: its Hessian is not positive definite" in line for line in caplog.messages)


def check_close(source: Path, variant: Path) -> None:
    measured = certificate(source, variant, DOMAINS, new_tokens=8)
    assert 0 < measured["logit_difference_mean"] < 1
    assert measured["tokenizer_equal"] == 2 * COUNT
    assert measured["domains"].keys() == DOMAINS.keys()


def test_group_size_that_does_not_fit_is_refused_before_any_work(
    tiny_llama: Path, tmp_path: Path
) -> None:
    with pytest.raises(AuroraError, match="128 does not divide the 64, 128 .* 16, 32, 64 would"):
        gptq(tiny_llama, tmp_path, bits=4, group_size=128, samples=SAMPLES)
    assert not list(tmp_path.iterdir())


def test_group_size_that_fits_is_accepted(tiny_bigcode: Path) -> None:
    check_group_size(tiny_bigcode, 64)


def test_empty_calibration_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(AuroraError, match="empty calibration"):
        gptq(tiny_llama, tmp_path, bits=4, group_size=32, samples=[[1, 2], []])


@pytest.mark.parametrize("model", ["tiny_llama", "tiny_bigcode"])
def test_int8_folder_loads_and_is_closer_than_nf4(
    model: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    source: Path = request.getfixturevalue(model)
    contents = []
    for name, method in {"int8": int8, "again": int8, "nf4": nf4, "twice": nf4}.items():
        (tmp_path / name).mkdir()
        method(source, tmp_path / name)
        contents.append((tmp_path / name / "model.safetensors").read_bytes())
    assert contents[0] == contents[1] and contents[2] == contents[3]
    far = [
        certificate(source, tmp_path / name, DOMAINS, new_tokens=4)["logit_difference_mean"]
        for name in ("int8", "nf4")
    ]
    assert 0 < far[0] < far[1]


@pytest.mark.parametrize("model", ["tiny_llama", "tiny_bigcode"])
def test_nf4_folder_loads_and_is_close_to_its_source(
    model: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    source: Path = request.getfixturevalue(model)
    nf4(source, tmp_path)
    settings = json.loads((tmp_path / "config.json").read_bytes())["quantization_config"]
    assert settings["bnb_4bit_quant_type"] == "nf4"
    assert settings["bnb_4bit_use_double_quant"]
    weights = tmp_path / "model.safetensors"
    assert stat.S_IMODE(weights.stat().st_mode) == 0o644
    check_close(source, tmp_path)


def test_certificate_of_a_model_against_itself_is_zero(tiny_llama: Path) -> None:
    measured = certificate(tiny_llama, tiny_llama, DOMAINS, new_tokens=8)
    assert measured["logit_difference_max"] == 0
    assert measured["greedy_agreement"] == measured["same_next_token"] == 1
    assert measured["source_weights"] == measured["weights"]


def test_a_lost_pre_tokenizer_is_an_error_that_names_the_fix(
    tiny_llama: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_llama, broken)
    content = json.loads((broken / "tokenizer.json").read_text(encoding="utf-8"))
    content["pre_tokenizer"]["add_prefix_space"] = True
    (broken / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(AuroraError, match="cuts .* differently .* Copy tokenizer.json"):
        certificate(tiny_llama, broken, DOMAINS)


def test_parity_strings_are_many_hard_and_the_same_every_time() -> None:
    found = strings({name: ["The fox, 12 and 3."] for name in "abcdef"})
    assert sum(map(len, found.values())) >= 10_000
    assert found == strings({name: ["The fox, 12 and 3."] for name in "abcdef"})
    assert len({text for texts in found.values() for text in texts}) > 5_000


def fail(message: str) -> None:
    raise AuroraError(message)


def end() -> None:
    os._exit(9)


def test_errors_of_the_other_process_come_back() -> None:
    with pytest.raises(AuroraError, match="the value 3"):
        apart(fail, "the value 3")
    with pytest.raises(AuroraError, match="was killed; most likely memory ran out"):
        apart(end)


ORPHAN = """
import time
from aurora_release.quantize.apart import apart
if __name__ == "__main__":
    print("begun", flush=True)
    apart(time.sleep, 600)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc to see children")
def test_a_killed_command_leaves_no_process_behind(tmp_path: Path) -> None:
    script = tmp_path / "orphan.py"
    script.write_text(ORPHAN, encoding="utf-8")
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "begun\n"
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        while not (works := working(children)):
            time.sleep(0.05)
        parent.kill()
    while any(map(alive, works)):
        time.sleep(0.05)


def working(children: Path) -> list[int]:
    """Return the processes that work for another and have begun to: not the resource tracker."""
    found = [int(pid) for pid in children.read_text(encoding="ascii").split()]
    return [pid for pid in found if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text(encoding="utf-8").rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
