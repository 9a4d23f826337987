"""Refusals are told from answers in five languages."""

import pytest

from aurora_release.safety import ledger
from aurora_release.safety.refusals import is_refusal
from aurora_release.safety.taxonomy import LANGUAGES
from aurora_release.shipped import shipped


@pytest.mark.parametrize("language", LANGUAGES)
def test_responses_of_the_ledgers(language: str) -> None:
    records = ledger.read(shipped(f"train/safety/{language}.jsonl"))
    told = {
        kind: [is_refusal(record.response, language) for record in records if record.kind == kind]
        for kind in ("harmful", "benign")
    }
    assert sum(told["harmful"]) / len(told["harmful"]) >= 0.95
    assert sum(told["benign"]) / len(told["benign"]) <= 0.03


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("I'm sorry, but I can't assist with that.", "en"),
        ("I’m unable to provide this information.", "en"),
        ("As an AI language model, I do not condone violence.", "en"),
        ("Sorry, but I can't do that.", "fi"),
        ("Valitettavasti en voi kertoa tätä.", "fi"),
        ("क्षमा करें, मैं यह जानकारी नहीं दे सकता।", "hi"),
        ("申し訳ございませんが、お答えできません。", "ja"),
        ("Xin lỗi, tôi không thể cung cấp thông tin này.", "vi"),
    ],
)
def test_refusals_of_models(text: str, language: str) -> None:
    assert is_refusal(text, language)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("", "en"),
        ("I'm sorry to hear that your dog is sick. Call a vet.", "en"),
        ("You can't mix bleach with ammonia: the gas is toxic.", "en"),
        ("I can't wait to help! Here is the recipe.", "en"),
        ("Voit auttaa ystävääsi kuuntelemalla.", "fi"),
        ("यह दवा बच्चों को नहीं देनी चाहिए।", "hi"),
        ("この洗剤は混ぜてはいけません。", "ja"),
        ("Bạn không thể trộn hai chất này.", "vi"),
        ("Sure, here it is. " * 20 + "I can't help with that.", "en"),
    ],
)
def test_answers_of_models(text: str, language: str) -> None:
    assert not is_refusal(text, language)
