"""What a dry run says before anything is spent."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aurora_release import recipe
from aurora_release.cli import app
from aurora_release.errors import AuroraError
from aurora_release.recipe import Recipe, TrainStage
from aurora_release.train.estimate.cost import estimate
from aurora_release.train.estimate.machines import board_watts, machines
from aurora_release.train.schedule import learning_rate


def _found(name: str, folder: Path, *overrides: str, on: tuple[str, ...] = ()) -> dict:
    found, beside = recipe.load(name, overrides)
    return estimate(found, beside, folder, [machines(each) for each in on])


def test_dry_run_of_the_large_recipe_says_what_it_would_take(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["run", "aurora-m-15b", "--dry-run", "--runs", str(tmp_path)])
    assert done.exit_code == 0, done.output
    for said in ("435B tokens in 103,713 steps of 2,048 x 2,048", "in 90,000 steps", "in 13,713",
                 "15.5B parameters", "ZeRO 1", "256 x mi250x", "256 x h100", "kWh"):  # fmt: skip
        assert said in done.output
    assert not any(tmp_path.iterdir())


def test_memory_of_the_large_recipe_on_devices_of_64_and_80_gib(tmp_path: Path) -> None:
    (table,) = _found("aurora-m-15b", tmp_path, on=("h100:256",))["memory"]
    rows = {(row["zero"], row["offload"], row["checkpointing"]): row for row in table["rows"]}
    # bf16 weights and gradients of 15.5 billion parameters alone are 57.8 GiB
    one = rows[1, False, True]
    assert one["total"] > 57.8 * 2**30
    assert 80 in one["fits"]
    assert 64 not in one["fits"]
    assert 64 in rows[3, False, True]["fits"]
    assert not rows[0, False, True]["fits"]


def test_days_and_energy_follow_from_operations_and_machines(tmp_path: Path) -> None:
    found = _found("aurora-m-15b", tmp_path, on=("h100:256", "h100:512"))
    small, large = found["machines"]
    days = found["flops"]["exact"] / (256 * 989e12 * 0.40) / 86400
    assert small["days"] == pytest.approx(days)
    assert large["days"] == pytest.approx(days / 2)
    assert small["kilowatt_hours"] == pytest.approx(days * 24 * 256 * 0.7 * 1.2)
    assert small["kilograms_co2"] is None


def test_estimate_writes_json_and_a_picture(tmp_path: Path) -> None:
    words = ["estimate", "aurora-m-15b", "--json", "--hardware", "a100-80gb:64", "--mfu", "0.5",
             "--grid", "0.1", "--out", str(tmp_path), "--runs", str(tmp_path)]  # fmt: skip
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert found == json.loads((tmp_path / "estimate.json").read_text("utf-8"))
    (machine,) = found["machines"]
    assert machine["mfu"] == 0.5
    assert machine["kilograms_co2"] == pytest.approx(machine["kilowatt_hours"] * 0.1)
    assert (tmp_path / "lr.png").read_bytes().startswith(b"\x89PNG")


def test_unknown_hardware_names_what_there_is() -> None:
    with pytest.raises(AuroraError, match="'h1000:8' names no known hardware.*h100"):
        machines("h1000:8")
    with pytest.raises(AuroraError, match="'many' is not a number of devices"):
        machines("h100:many")


def test_a_base_that_is_not_at_hand_is_said_not_guessed(tmp_path: Path) -> None:
    found = _found("aurora-m-15b", tmp_path, "model.config=null", "model.base=nobody/nothing")
    assert found["model"] is None
    assert "nobody/nothing is not known here" in found["model_from"]
    assert found["tokens"] > 435e9


def test_epochs_and_their_cap_are_told_where_the_corpus_is_counted(tmp_path: Path) -> None:
    found, _ = recipe.load("aurora-m-twin")
    parts = [{"name": source.name, "windows": 60} for source in found.data.sources]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "store.json").write_text(json.dumps({"sources": parts}))
    said = _found("aurora-m-twin", tmp_path)
    code = said["sources"]["code"]
    assert code["corpus_tokens"] == 60 * 256
    assert code["epochs"] == pytest.approx(code["tokens"] / code["corpus_tokens"])
    assert any(text.startswith("code has been read 5.1 times") for text in said["warnings"])


def test_ranks_that_do_not_divide_the_batch_draw_a_warning(tmp_path: Path) -> None:
    found = _found("aurora-m-15b", tmp_path, on=("h100:96",))
    assert any("times 96 ranks" in text for text in found["warnings"])
    found = _found("aurora-m-15b", tmp_path, on=("h100:64",))
    assert not any("ranks" in text for text in found["warnings"])


def test_a_source_that_gets_no_sample_draws_a_warning(tmp_path: Path) -> None:
    assert not _found("demo", tmp_path)["warnings"]
    found = _found("demo", tmp_path, "train.stages.1.tokens=1024")
    assert "Too few samples for safety-en, " in found["warnings"][0]


def test_a_licence_without_a_name_draws_a_warning_before_it_is_paid_for(tmp_path: Path) -> None:
    found = _found("demo", tmp_path, "data.sources.1.license=other")
    assert found["warnings"][0].startswith("No licence is named for help-fi: aurora publish will")
    one_each = ("data.sources.1.license=other", "data.sources.1.license_key=license")
    assert not _found("demo", tmp_path, *one_each)["warnings"]
    found = _found("demo", tmp_path, "model.license=other", "data.sources.1.license=other")
    (said,) = found["warnings"]
    assert said.startswith("No licence is named for the base model (model.license), help-fi: ")


def test_a_base_model_without_its_licence_text_draws_a_warning(tmp_path: Path) -> None:
    base = tmp_path / "mine"
    base.mkdir()
    of = (f"model.base={base}", "model.sha256=null", "model.license=MIT")
    (said,) = _found("demo", tmp_path, *of)["warnings"]
    assert "mine has no LICENSE file, and no text of 'MIT' ships" in said
    assert not _found("demo", tmp_path, *of, "model.license=Apache-2.0")["warnings"]
    assert not _found("demo", tmp_path, *of, "model.license_file=mine.txt")["warnings"]
    (base / "LICENSE.txt").write_text("MIT License", "utf-8")
    assert not _found("demo", tmp_path, *of)["warnings"]


def _pair() -> tuple[Recipe, Recipe]:
    return recipe.load("aurora-m-15b")[0], recipe.load("aurora-m-twin")[0]


def test_the_twin_has_the_proportions_of_the_large_recipe() -> None:
    large, twin = _pair()
    share = [
        [found.steps(stage) / sum(map(found.steps, found.train.stages))
         for stage in found.train.stages] for found in (large, twin)
    ]  # fmt: skip
    assert share[1] == pytest.approx(share[0], rel=1e-3)
    has = {source.name for source in twin.data.sources}
    for one, other in zip(large.train.stages, twin.train.stages, strict=True):
        assert (one.name, one.replay, one.schedule) == (other.name, other.replay, other.schedule)
        kept = {name: weight for name, weight in one.mixture.items() if name in has}
        assert _shares(other.mixture) == pytest.approx(_shares(kept))
    for key in ("betas", "weight_decay", "clip", "precision", "activation_checkpointing"):
        assert getattr(twin.train, key) == getattr(large.train, key)
    assert twin.model.chat_template == large.model.chat_template


def _shares(mixture: dict[str, float]) -> dict[str, float]:
    return {name: weight / sum(mixture.values()) for name, weight in mixture.items()}


@pytest.mark.parametrize("number", [0, 1])
def test_the_twin_draws_the_learning_rate_of_the_large_recipe(number: int) -> None:
    large, twin = _pair()
    one, other = large.train.stages[number], twin.train.stages[number]
    assert other.warmup == one.warmup
    for done in (0.25, 0.5, 0.75, 1.0):
        # sixteen steps cannot warm up in less than one
        assert _rate(twin, other, done) == pytest.approx(_rate(large, one, done), rel=0.03)
    # both stages are drawn to one peak
    peaks = [[stage.learning_rate for stage in found.train.stages] for found in (large, twin)]
    assert peaks[1][1] / peaks[1][0] == pytest.approx(peaks[0][1] / peaks[0][0])


def _rate(found: Recipe, stage: TrainStage, done: float) -> float:
    """Return the learning rate, as a share of its peak, when `done` of a stage is done."""
    steps = found.steps(stage)
    return learning_rate(stage, round(done * steps) - 1, steps) / stage.learning_rate


@pytest.mark.parametrize(
    ("name", "watts"),
    [
        ("NVIDIA H100 80GB HBM3", 700),
        ("NVIDIA A100-SXM4-80GB", 400),
        ("AMD Instinct MI250X", 280),
        ("NVIDIA L40", None),  # neither an L4 nor an L40S
        ("NVIDIA H100 PCIe", None),
        ("", None),
    ],
)
def test_board_power_is_known_of_the_very_device_alone(name: str, watts: int | None) -> None:
    assert board_watts(name) == watts
