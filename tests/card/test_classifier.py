from dataclasses import replace
from pathlib import Path

from aurora_release.card import chain as chains
from aurora_release.card.chain import Chain
from aurora_release.card.render import page
from aurora_release.evidence import sha256_file
from aurora_release.shipped import shipped

FILE = "filter/README.md"


def evaluated_with(chain: Chain, inputs: dict[str, str]) -> Chain:
    stage = chain.stages["evaluate-cat"]
    predicate = stage.predicate.model_copy(update={"inputs": inputs})
    stages = {**chain.stages, "evaluate-cat": replace(stage, predicate=predicate)}
    return replace(chain, stages=stages)


def test_card_of_the_filter_tells_how_its_head_was_fitted(released: Path) -> None:
    card = (released / FILE).read_text(encoding="utf-8")
    fitted = shipped("serve/policies/head.md").read_text(encoding="utf-8")
    rows = [line for line in fitted.splitlines() if line.startswith("| fi |")]
    assert rows and all(row in card for row in rows)
    assert "### Among requests" in card


def test_what_it_blocked_is_told_of_the_very_policy_and_head_alone(released: Path) -> None:
    chain = chains.read(released)
    policy = shipped("serve/policies/default.yaml")
    inputs = {
        "policy": sha256_file(policy),
        "head": sha256_file(policy.parent / "head.safetensors"),
    }
    row = "| fi | 5 of 6 (44–97 %) | 0 of 6 (0–39 %) |"
    assert row in page(FILE, evaluated_with(chain, inputs), {})
    other = page(FILE, evaluated_with(chain, {**inputs, "head": "0" * 64}), {})
    assert row not in other and "Not measured with this policy and this head." in other
