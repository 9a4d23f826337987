"""A policy as people and programs read it."""

from pathlib import Path

import pytest
import yaml

from aurora_release.errors import AuroraError
from aurora_release.safety.classifier import load_heads
from aurora_release.safety.overview import facts, page
from aurora_release.safety.policy import load
from aurora_release.safety.taxonomy import AREAS, MAPPING
from aurora_release.shipped import shipped

DEFAULT = shipped("serve/policies/default.yaml")


def written(folder: Path, **changes: object) -> Path:
    content = yaml.safe_load(DEFAULT.read_text(encoding="utf-8"))
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump(content | changes), encoding="utf-8")
    return path


def test_the_page_names_areas_actions_labels_and_help() -> None:
    policy, text = load(DEFAULT), page(facts(DEFAULT))
    assert policy.digest in text
    for key, area in policy.areas.items():
        assert f"\n{key}: {area.title}\n  {area.definition}" in text
        for line in (*area.allowed, *area.refused):
            assert line in text
    for line in policy.help.values():
        assert line in text
    for labels in MAPPING.values():
        for label in labels:
            assert label in text


def test_thresholds_are_the_fitted_ones_until_the_policy_says_otherwise(tmp_path: Path) -> None:
    fitted = load_heads(DEFAULT.parent / "head.safetensors")["input"].thresholds
    assert facts(DEFAULT)["thresholds"]["input"] == fitted
    path = written(tmp_path, thresholds={"input": {"fi": 0.25}})
    assert facts(path)["thresholds"]["input"] == fitted | {"fi": 0.25}
    assert "0.2500" in page(facts(path))
    path = written(tmp_path, head="mine.safetensors")
    with pytest.raises(AuroraError, match=r"mine\.safetensors is missing: `head` of the policy"):
        facts(path)


def test_a_policy_without_the_classifier_needs_no_head(tmp_path: Path) -> None:
    guards = [
        {"kind": "wildguard", "folder": "models/wildguard", "unsure": 0.1},
        {"kind": "llama-guard", "url": "http://127.0.0.1:1/v1", "model": "lg", "api_key_file": "k"},
    ]
    text = page(facts(written(tmp_path, guards=guards)))
    assert "this policy does not ask it" in text
    assert "1. wildguard, models/wildguard: harmful from 0.5" in text
    assert "asks the next one within 0.1 of its threshold" in text
    assert "2. llama-guard, lg at http://127.0.0.1:1/v1" in text


def test_json_facts_hold_every_area(tmp_path: Path) -> None:
    assert set(facts(DEFAULT)["areas"]) == set(AREAS)
