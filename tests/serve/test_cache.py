"""Which prompts are still known, and to whom; the engine's tests look into the tensors."""

from aurora_release.serve.engines.cache import CHUNK, SlotCache

PROMPTS = [(number,) * (CHUNK + 9) for number in range(5)]


def known(cache: SlotCache, *prompts: tuple[int, ...], owner: str = "alice") -> list[int]:
    """Ask one after another, each alone, and return how many tokens need not be read."""
    found = []
    for prompt in prompts:
        found.append(cache.reuse(0, prompt, owner))
        cache.know(0, prompt, owner)
    return found


def test_as_many_prompts_stay_as_there_are_rows_and_the_oldest_goes() -> None:
    cache = SlotCache(rows=4, length=256)
    assert known(cache, *PROMPTS[:4]) == [0] * 4
    assert known(cache, *PROMPTS[:4]) == [CHUNK] * 4
    assert known(cache, PROMPTS[4]) == [0]
    assert known(cache, *PROMPTS[1:]) == [CHUNK] * 4
    assert known(cache, PROMPTS[0]) == [0]


def test_short_prompts_do_not_drive_out_long_ones() -> None:
    cache = SlotCache(rows=2, length=256)
    assert known(cache, PROMPTS[0], (1, 2), (3, 4), (5, 6), PROMPTS[0]) == [0, 0, 0, 0, CHUNK]


def test_a_prompt_is_known_to_its_owner_alone() -> None:
    cache = SlotCache(rows=3, length=256)
    assert known(cache, PROMPTS[0]) == [0]
    assert known(cache, PROMPTS[0], owner="bob") == [0]
    assert known(cache, PROMPTS[0], owner="") == [0]
    assert known(cache, PROMPTS[0]) == known(cache, PROMPTS[0], owner="bob") == [CHUNK]
