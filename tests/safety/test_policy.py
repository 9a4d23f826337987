"""A policy says what is refused, and says so when it cannot be read."""

from pathlib import Path

import pytest
import yaml

from aurora_release.errors import AuroraError
from aurora_release.evidence import sha256_file
from aurora_release.safety.policy import Actions, Policy, Thresholds, load
from aurora_release.safety.refusals import is_refusal
from aurora_release.safety.taxonomy import AREAS, LANGUAGES
from aurora_release.safety.text import language, normalise
from aurora_release.shipped import shipped

DEFAULT = shipped("serve/policies/default.yaml")


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load(DEFAULT)


def test_default_policy_blocks_every_area_and_fails_closed(policy: Policy) -> None:
    assert policy.fail_closed
    for area in AREAS:
        assert policy.action(area, "input") == policy.action(area, "output") == "block"
    assert policy.action("unverified", "input") != "allow"


@pytest.mark.parametrize("name", LANGUAGES)
@pytest.mark.parametrize("category", [*AREAS, "unverified"])
def test_every_refusal_is_a_refusal_in_its_language(
    policy: Policy, name: str, category: str
) -> None:
    text = policy.refusal(name, category)
    assert is_refusal(text, name)
    assert language(normalise(text)) == name
    assert (policy.help[name] in text) == (category == "harm")


def test_a_refusal_is_the_text_of_its_area_or_the_default(policy: Policy) -> None:
    texts = policy.refusals["fi"]
    assert policy.refusal("fi", "cyber") == texts["cyber"] != texts["default"]
    for category in (None, "other", "unverified"):
        assert policy.refusal("fi", category) == texts["default"]


def test_refusals_are_english_where_the_language_is_unknown(policy: Policy) -> None:
    assert policy.refusal("und", "cyber") == policy.refusal("en", "cyber")


def test_digest_is_that_of_the_file_as_a_release_states_it() -> None:
    assert load(DEFAULT).digest == sha256_file(DEFAULT)


def test_the_head_lies_beside_the_policy_or_is_the_one_that_ships(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(DEFAULT.read_text("utf-8"), "utf-8")
    assert load(own).head_file(tmp_path) == DEFAULT.with_name("head.safetensors")
    (tmp_path / "head.safetensors").touch()
    assert load(own).head_file(tmp_path) == tmp_path / "head.safetensors"
    own.write_text(own.read_text("utf-8").replace("head.safe", "mine.safe"), "utf-8")
    assert load(own).head_file(tmp_path) == tmp_path / "mine.safetensors"


@pytest.mark.parametrize("mode", ["off", "flag", "redact", "block"])
def test_a_mode_needs_no_quotes(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "policy.yaml"
    text = DEFAULT.read_text(encoding="utf-8")
    path.write_text(text.replace("mode: block", f"mode: {mode}"), encoding="utf-8")
    assert load(path).stream.mode == mode


def test_a_notice_is_in_the_language_of_the_text(policy: Policy) -> None:
    for name in set(LANGUAGES) - {"en"}:
        assert policy.stream.notice(name) != policy.stream.notice("en")
    assert policy.stream.notice("und") == policy.stream.notice("en")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("stream.mode", "on", "stream.mode: .*'off', 'flag', 'redact' or 'block'"),
        ("stream.timeout_seconds", 0, "stream.timeout_seconds: .*greater than 0"),
        ("stream.notices", {"de": "weg"}, "'de' is unknown"),
        ("stream.notices", {"fi": "pois"}, "notices: en is missing"),
        ("areas.gossip", {}, "areas.gossip"),
        ("areas.cyber.color", "red", "areas.cyber.color: there is no such key"),
        ("areas.cyber.input", "deny", "areas.cyber.input: .*'deny'"),
        ("areas.cyber", None, "areas.cyber"),
        ("areas.ilegal", {}, "areas.ilegal"),
        (
            "thresholds",
            {"input": {"sv": 0.5}},
            "input: 'sv' is unknown; there are en, fi, hi, ja, vi",
        ),
        ("thresholds", {"input": {"fi": 1.5}}, "thresholds.input.fi.*1.5"),
        ("stream.max_characters", "200", "stream.max_characters.*'200'"),
        ("stream.min_characters", 300, "min_characters, 300, is above max_characters, 160"),
        ("help", {"en": "Call."}, "help: fi, hi, ja, vi is missing"),
        ("fail_open", True, "fail_open: there is no such key"),
        ("treshold", {"output": {"fi": 0.3}}, "no such key; did you mean thresholds"),
        ("stream.time_out", 3, "no such key; did you mean timeout_seconds"),
        ("guards", [], "guards: .*at least 1"),
        ("guards", [{"kind": "gpt"}], "guards.0.kind: .*'classifier', 'llama-guard'.*'gpt'"),
        ("guards", [{"kind": "classifier", "folder": "m"}], "guards.0: folder is for guard models"),
        ("guards", [{"kind": "wildguard"}], "guards.0: wildguard needs either a folder or a url"),
        ("guards", [{"kind": "wildguard", "url": "http://x/v1"}], "model is missing: the name"),
        ("guards", [{"kind": "wildguard", "url": "file:///x"}], "guards.0.url: .*file:///x"),
        ("guards", [{"kind": "wildguard", "folder": "x", "model": "y"}], "belong to a url"),
        ("guards", [{"kind": "classifier", "unsure": 2}], "guards.0.unsure: .*it is 2"),
    ],
)
def test_a_wrong_policy_names_the_key(
    tmp_path: Path, place: str, value: object, message: str
) -> None:
    content = yaml.safe_load(DEFAULT.read_text(encoding="utf-8"))
    *parents, last = place.split(".")
    part = content
    for parent in parents:
        part = part[parent]
    part[last] = value
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(AuroraError, match=message):
        load(path)


def test_each_mistake_has_its_line(tmp_path: Path) -> None:
    content = yaml.safe_load(DEFAULT.read_text(encoding="utf-8"))
    content["stream"]["min_characters"] = 300
    content["fail_open"] = True
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(AuroraError) as raised:
        load(path)
    assert str(raised.value) == (
        f"{path} is not a valid policy:\n"
        "  stream: min_characters, 300, is above max_characters, 160\n"
        "  fail_open: there is no such key; did you mean fail_closed?"
    )


@pytest.mark.parametrize(
    ("areas", "said"),
    [
        (
            ("ilegal", "gossip"),
            "gossip, ilegal is unknown; there are harm, .* Did you mean illegal",
        ),
        (("gossip",), r"gossip is unknown; there are harm, [a-z, ]+\.$"),
    ],
)
def test_unknown_areas_are_named_with_the_known_ones(
    tmp_path: Path, areas: tuple[str, ...], said: str
) -> None:
    content = yaml.safe_load(DEFAULT.read_text(encoding="utf-8"))
    content["areas"] |= dict.fromkeys(areas, content["areas"]["cyber"])
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(AuroraError, match=f"areas: {said}"):
        load(path)


def test_no_policy_at_all(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    with pytest.raises(AuroraError, match="no such policy"):
        load(path)
    path.write_text("a: [", encoding="utf-8")
    with pytest.raises(AuroraError, match="not valid YAML"):
        load(path)
    path.write_text("a: &a [*a]", encoding="utf-8")
    with pytest.raises(AuroraError, match="not valid YAML: .*: an alias lies in itself"):
        load(path)
    path.write_bytes(b"name: \xff")
    with pytest.raises(AuroraError, match="not valid YAML"):
        load(path)
    for content in ("just words", "2026-01-01: x"):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(AuroraError, match="not a valid policy"):
            load(path)
    path.write_text("just words", encoding="utf-8")
    with pytest.raises(
        AuroraError, match=r"\n  policy: Input should be .* \(it is 'just words'\)$"
    ):
        load(path)
    with pytest.raises(AuroraError, match="cannot be read"):
        load(tmp_path)


def test_harm_without_an_area_has_its_own_action(policy: Policy) -> None:
    assert policy.action("other", "output") == "block"
    flagged = policy.model_copy(update={"other": Actions(input="flag", output="allow")})
    assert (flagged.action("other", "input"), flagged.action("cyber", "input")) == ("flag", "block")


def test_what_was_not_verified_has_its_own_action(policy: Policy) -> None:
    lenient = policy.model_copy(update={"unverified": Actions(input="flag", output="allow")})
    assert lenient.action("unverified", "input") == "flag"
    assert lenient.action("unverified", "output") == "allow"


def test_a_threshold_of_its_own_takes_the_place_of_the_fitted_one(policy: Policy) -> None:
    own = policy.model_copy(
        update={"thresholds": Thresholds(input={"fi": 0.2}, output={"fi": 0.3, "en": 0.4})}
    )
    assert own.threshold("fi", "input", 0.5) == 0.2
    assert own.threshold("fi", "output", 0.5) == 0.3
    assert own.threshold("en", "input", 0.5) == 0.5
