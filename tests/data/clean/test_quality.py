"""Text that people wrote passes in every language; noise, menus and repetition do not."""

import json
import random

import pytest

from aurora_release.data.clean.blocked import Blocked
from aurora_release.data.clean.language import other_language
from aurora_release.data.clean.normalise import normalise
from aurora_release.data.clean.quality import fault
from aurora_release.shipped import shipped

LANGUAGES = ("en", "fi", "hi", "ja", "vi")


def _pages(language: str) -> list[str]:
    lines = shipped(f"train/corpus/{language}.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines][:100]


@pytest.mark.parametrize("language", LANGUAGES)
def test_nineteen_pages_of_twenty_of_the_corpus_pass(language: str) -> None:
    pages = _pages(language)
    faults = [found for page in pages if (found := fault(page, language))]
    assert len(faults) <= len(pages) // 20, faults
    elsewhere = [page for page in pages if other_language(page, language, 0.9)]
    assert len(elsewhere) <= len(pages) // 20


@pytest.mark.parametrize("language", LANGUAGES)
def test_noise_does_not_pass(language: str) -> None:
    noise = random.Random(1)
    shuffled = 0
    pages = [page for page in _pages(language) if len(page) > 400][:40]
    for page in pages:
        letters = list(page)
        noise.shuffle(letters)
        shuffled += fault("".join(letters), language) is not None
    assert shuffled >= len(pages) * 0.95
    sentence = pages[0][:60]
    for bad, rule in (
        ("\n".join([sentence] * 20), "repeated lines"),
        ("| 12,5 | 99 % | 2024-11-05 | 7 |\n" * 20, "letters"),
        ("%%%%/////----" * 30, "letters"),
    ):
        assert (fault(bad, language) or ("",))[0] == rule


def test_the_rule_that_a_page_breaks_is_named() -> None:
    page = _pages("en")[0]
    cookies = "We use cookies to improve.\nAll rights reserved.\nRead our privacy policy.\n"
    assert (fault(cookies + page[:300].replace("\n", " "), "en") or ("",))[0] == "boilerplate lines"
    assert fault("Our privacy policy says what we keep.\n" + page, "en") is None
    chinese = "我们使用这个软件来处理文档和表格并且可以打印出来给大家看" * 3
    assert (fault(chinese, "ja") or ("",))[0] in ("function words", "kana", "repeated phrases")
    assert (fault(page, "hi") or ("",))[0] in ("function words", "script")
    assert (fault("a" * 2000 + " = 1\n", "code") or ("",))[0] == "longest line"
    assert fault("def f(x):\n    return x + 1\n", "code") is None


def test_another_language_is_named_and_noise_is_other() -> None:
    swedish = "Det här är en text på svenska som handlar om skogen och om havet, och om oss alla."
    assert (other_language(swedish, "fi", 0.9) or ("",))[0] == "sv"
    assert other_language(swedish, "sv", 0.9) is None
    assert other_language(swedish, "gmh", 0.9) is None
    assert (other_language("zq xv kjw qqz wvx zzk " * 9, "fi", 0.3) or ("",))[0] != "fi"


def test_blocked_words_are_whole_words_or_parts_of_unspaced_text() -> None:
    blocked = Blocked(["ass", "paha sana", "悪語", "# comment"[:0]])
    assert blocked.share("a class passes assets") == 0
    assert blocked.share("an ass, a class") == 1 / 4
    assert blocked.share("tämä on paha sana") == 1 / 2
    assert blocked.share("これは悪語です") == 2 / 7
    assert Blocked([]).share("anything") == 0


def test_text_is_normalised_without_losing_words() -> None:
    assert normalise("a\r\nb\x00c\n\n\n\n de\u0301") == "a\nbc\n\n dé"
