import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aurora_release import __version__, evidence, parse
from aurora_release.card import chain, render
from aurora_release.card.stage import seal
from aurora_release.card.verify import Report, verify
from aurora_release.errors import AuroraError
from tests.command import aurora


def failures(report: Report) -> dict[str, str]:
    return {check.name: check.sentence for check in report.checks if check.passed is False}


def forge(folder: Path, change: Callable[[dict[str, Any]], None] = lambda predicate: None) -> None:
    """Make digests fit what lies in the folder, as somebody would who hides a change."""
    content = evidence.read(folder / "evidence.json")
    change(content["predicate"])
    subject = evidence.digests(folder)
    evidence.write(folder, evidence.statement(subject, content["predicate"]))
    seal(folder)


def rewrite(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_bytes())
    change(content)
    path.write_bytes(evidence.canonical(content) + b"\n")


def test_intact_release_passes_every_check(released: Path) -> None:
    report = verify(released)
    assert report.passed
    assert [check.name for check in report.checks] == [
        "files", "evidence", "chain", "models", "certificates", "card", "materials",
        "gates", "signature",
    ]  # fmt: skip


def test_what_waits_for_intact_files_says_so(released: Path) -> None:
    (released / "extra.txt").touch()
    assert [(check.name, check.passed) for check in verify(released).checks] == [
        ("files", False),
        ("evidence", None),
    ]


def test_any_flipped_byte_is_found_in_its_file(released: Path) -> None:
    draw = random.Random(2024)
    files = sorted(path for path in released.rglob("*") if path.is_file())
    flips = 0
    for path in files:
        name = path.relative_to(released).as_posix()
        whole = path.read_bytes()
        places = {0, len(whole) - 1, *(draw.randrange(len(whole)) for _ in range(20))}
        for place in places:
            changed = bytearray(whole)
            changed[place] ^= 1 << draw.randrange(8)
            path.write_bytes(changed)
            wrong = failures(verify(released))
            assert name in " ".join(wrong.values()), f"{name}, byte {place}: {wrong}"
            flips += 1
        path.write_bytes(whole)
    assert flips >= 500
    assert verify(released).passed


def test_any_missing_file_is_named(released: Path) -> None:
    for path in sorted(path for path in released.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        path.unlink()
        name = path.relative_to(released).as_posix()
        assert failures(verify(released)) == {"files": f"{name} is missing."}
        path.write_bytes(whole)


def test_extra_file_and_link_are_named(released: Path) -> None:
    (released / "nf4/pytorch_model.bin").write_bytes(b"pickle")
    assert "nf4/pytorch_model.bin is not named" in failures(verify(released))["files"]
    (released / "nf4/pytorch_model.bin").unlink()
    (released / "outside").symlink_to("/etc")
    assert "outside is no plain file" in failures(verify(released))["files"]


def test_extra_file_is_named_even_if_all_digests_were_made_to_fit(released: Path) -> None:
    (released / "modeling.py").write_text("print()", encoding="utf-8")
    forge(released)
    assert failures(verify(released)) == {"models": "modeling.py was made by no stage."}


def test_coreutils_reads_the_same_list(released: Path) -> None:
    command = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    assert subprocess.run(command, cwd=released, check=False).returncode == 0
    (released / "config.json").write_text("{ }", encoding="utf-8")
    done = subprocess.run(command, cwd=released, check=False, capture_output=True, text=True)
    assert done.returncode == 1 and "config.json: FAILED" in done.stdout


def test_number_edited_in_the_card_is_found_with_its_line(released: Path) -> None:
    card = released / "README.md"
    lines = card.read_text(encoding="utf-8").splitlines(keepends=True)
    number = next(place for place, line in enumerate(lines) if "| help-fi |" in line)
    lines[number] = lines[number].replace("help-fi", "help-fj")
    card.write_text("".join(lines), encoding="utf-8")
    forge(released)
    assert f"README.md, line {number + 1}: it says" in failures(verify(released))["card"]


def test_card_of_another_version_is_said_to_be_one(released: Path) -> None:
    (released / "README.md").write_text("as another template has it", encoding="utf-8")
    forge(released, lambda predicate: predicate["inputs"].update(card="0" * 64))
    said = failures(verify(released))["card"]
    assert f"that of another checkout of aurora-release {__version__} (its code: " in said
    packages = {"aurora-release": "0.0.1"}
    forge(released, lambda predicate: predicate["environment"].update(packages=packages))
    assert "that of aurora-release 0.0.1: verify" in failures(verify(released))["card"]


def test_swapped_evidence_breaks_the_chain(released: Path) -> None:
    first, second = released / "evidence/cap.json", released / "evidence/cat.json"
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    forge(released)
    sentence = failures(verify(released))["chain"]
    assert "evidence/cap.json is not the evidence" in sentence
    assert "evidence/cat.json is not the evidence" in sentence


def test_swapped_evidence_is_found_even_if_the_links_were_made_to_fit(released: Path) -> None:
    name = "evaluate-nf4"
    (released / f"evidence/{name}.json").write_bytes(
        (released / "evidence/evaluate-gguf.json").read_bytes()
    )
    digest = evidence.sha256_file(released / f"evidence/{name}.json")
    forge(released, lambda predicate: predicate["previous"].update({name: digest}))
    assert "evidence/evaluate-nf4.json is evidence of evaluate-gguf" in " ".join(
        failures(verify(released)).values()
    )


def test_removed_evidence_is_named_even_if_the_links_were_made_to_fit(released: Path) -> None:
    (released / "evidence/nf4.json").unlink()
    forge(released, lambda predicate: predicate["previous"].pop("nf4"))
    assert "evidence/nf4.json is missing" in failures(verify(released))["chain"]


def test_old_evidence_beside_the_chain_is_named(released: Path) -> None:
    old = (released / "evidence/cap.json").read_bytes()
    (released / "evidence/cap-old.json").write_bytes(old)
    forge(released)
    assert failures(verify(released)) == {"chain": "evidence/cap-old.json belongs to no chain."}


def test_other_weights_are_named_even_if_all_digests_were_made_to_fit(released: Path) -> None:
    (released / "nf4/model.safetensors").write_text("other", encoding="utf-8")
    forge(released)
    assert failures(verify(released)) == {
        "models": "nf4/model.safetensors is not what the stage nf4 made."
    }


def test_loosened_recipe_is_found(released: Path) -> None:
    rewrite(released / "recipe.json", lambda recipe: recipe["gates"].update(max_variant_rise=9.0))
    forge(released)
    assert "recipe.json is not the recipe" in failures(verify(released))["chain"]


def test_gates_are_evaluated_again(released: Path) -> None:
    path = released / "evidence/evaluate-cat.json"

    def worsen(content: Any) -> None:
        content["predicate"]["measured"]["bits_per_byte"]["python"]["bits_per_byte"] = 2.0

    rewrite(path, worsen)
    digest = evidence.sha256_file(path)
    forge(released, lambda predicate: predicate["previous"].update({"evaluate-cat": digest}))
    measured = chain.statement(released / "evidence.json").predicate.measured
    for name, text in render.documents(chain.read(released), measured).items():
        (released / name).write_text(text, encoding="utf-8")
    forge(released)
    found = failures(verify(released))
    assert found.keys() == {"gates"} and "python" in found["gates"] and "2.000" in found["gates"]


def test_certificate_of_other_weights_is_found(released: Path) -> None:
    path = released / "evidence/nf4.json"

    def swap(content: Any) -> None:
        content["predicate"]["measured"]["certificate"]["weights"] = {"model.safetensors": "0" * 64}

    assert "No conversion certificate: gguf" in " ".join(
        check.sentence for check in verify(released).checks if check.passed is None
    )
    rewrite(path, swap)
    digest = evidence.sha256_file(path)
    after = released / "evidence/evaluate-nf4.json"
    rewrite(after, lambda content: content["predicate"]["previous"].update(nf4=digest))
    links = {"nf4": digest, "evaluate-nf4": evidence.sha256_file(after)}
    forge(released, lambda predicate: predicate["previous"].update(links))
    assert "certificate of nf4 is of other weights" in failures(verify(released))["certificates"]


@pytest.mark.parametrize("broken", ["{}", "[]", '{"predicateType": "other"}', "no JSON"])
def test_evidence_that_is_none_is_named(released: Path, broken: str) -> None:
    (released / "evidence/data.json").write_text(broken, encoding="utf-8")
    forge(released)
    assert "evidence/data.json" in failures(verify(released))["evidence"]


def test_measurements_of_the_wrong_shape_fail_a_check(released: Path) -> None:
    path = released / "evidence/evaluate-cat.json"
    rewrite(path, lambda content: content["predicate"].update(measured={"bits_per_byte": 1}))
    digest = evidence.sha256_file(path)
    forge(released, lambda predicate: predicate["previous"].update({"evaluate-cat": digest}))
    assert not verify(released).passed


def test_folder_that_is_no_release_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AuroraError, match="is not a release"):
        verify(tmp_path)


def test_verify_loads_no_heavy_package(released: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from aurora_release.card.verify import verify; "
        "assert verify(Path(sys.argv[1])).passed; "
        "print(sorted({'torch', 'numpy', 'matplotlib', 'transformers'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(released)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_json_has_every_check_and_the_exit_code_the_verdict(released: Path) -> None:
    done = aurora("verify", str(released), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["passed"] is True
    assert {"files", "evidence", "chain", "models"} <= {each["name"] for each in found["checks"]}
    with (released / "README.md").open("a", encoding="utf-8") as card:
        card.write("more")
    done = aurora("verify", str(released), "--json")
    assert done.returncode == 2
    found = json.loads(done.stdout)
    assert found["passed"] is False
    assert [each["passed"] for each in found["checks"]] == [False, None]
    assert "README.md" in done.stderr


def test_folder_that_cannot_be_listed_hides_nothing(
    released: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = released / "hidden"
    hidden.mkdir()
    listed = os.scandir

    def scandir(path: Any) -> Any:
        if Path(path) == hidden:
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert "What lies in hidden cannot be listed" in failures(verify(released))["files"]


def test_names_and_signers_cannot_write_over_a_terminal(released: Path) -> None:
    (released / "x\nok    signature: signed\x1b[2J").touch()
    done = aurora("verify", str(released))
    assert done.returncode == 2
    assert "\x1b" not in done.stdout + done.stderr and "\nok    sig" not in done.stdout
    assert r"x\nok    signature: signed\x1b[2J is not named" in done.stdout


@pytest.mark.parametrize("name", ["SHA256SUMS", "model.sig", "recipe.json", "evidence/data.json"])
def test_file_without_end_is_refused_and_not_read(released: Path, name: str) -> None:
    with (released / name).open("ab") as file:
        file.truncate(2**40)
    with pytest.raises(ValueError, match="larger than 64 MiB"):
        parse.content(released / name)
    if name == "SHA256SUMS":
        assert "larger than 64 MiB" in failures(verify(released))["files"]
    elif name == "model.sig":
        assert "is not a signature" in failures(verify(released))["signature"]
    else:
        with pytest.raises(AuroraError, match="larger than 64 MiB"):
            chain.read(released)


def test_the_size_of_the_weights_is_that_of_the_files(released: Path) -> None:
    forge(released, lambda predicate: predicate["measured"].update(bytes=1))
    assert "says 1 bytes of weights, not" in failures(verify(released))["models"]


def test_a_page_that_other_code_wrote_is_not_simply_called_edited(released: Path) -> None:
    page = (released / "README.md").read_text(encoding="utf-8")
    (released / "README.md").write_text(page.replace("## Summary", "## In short"), encoding="utf-8")
    forge(released, lambda predicate: predicate["environment"].update(code="0" * 64))
    said = failures(verify(released))["card"]
    assert "it says 'In short' where the evidence says 'Summary'" in said
    assert "README.md was written by another checkout of aurora-release" in said
