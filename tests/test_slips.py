import pytest

from aurora_release import slips
from aurora_release.recipe import Recipe
from aurora_release.safety.policy import Policy


@pytest.mark.parametrize(
    ("path", "whole", "said"),
    [
        (("treshold",), Policy, "; did you mean thresholds?"),
        (("guards", 0, "treshold"), Policy, "; did you mean threshold?"),
        (("min_characters",), Policy, "; did you mean stream.min_characters?"),
        (("min_caracters",), Policy, "; did you mean stream.min_characters?"),
        (("areas", "cyber", "titel"), Policy, "; did you mean title?"),
        (("xyzzy",), Policy, ""),
        (("trian",), Recipe, "; did you mean train?"),
        (("heldout",), Recipe, "; did you mean data.heldout?"),
    ],
)
def test_only_keys_that_may_stand_there_are_proposed(
    path: tuple[str | int, ...], whole: type, said: str
) -> None:
    assert slips.key(path, {whole}) == said
