import pytest

from aurora_release.evaluate.written import judge


@pytest.mark.parametrize(
    ("text", "answers", "exact", "f1"),
    [
        (" The Panthers.", ["the panthers"], True, 1.0),
        ("308 points", ["308"], False, 2 / 3),
        ("in 1999", ["2000", "in the year 1999"], False, 2 / 3),
        ("小笠原諸島", ["小笠原諸島を除く日本", "小笠原諸島"], True, 1.0),
        ("小笠原", ["小笠原諸島"], False, 0.75),
        ("５月", ["5月"], True, 1.0),
        ("सोने का पदक", ["सोने का तमगा"], False, 2 / 3),
        ("a a a", ["a b"], False, 0.4),
        ("", ["308"], False, 0.0),
        ("...", ["308"], False, 0.0),
    ],
)
def test_an_answer_is_compared_with_the_nearest_right_one(
    text: str, answers: list[str], exact: bool, f1: float
) -> None:
    found = judge(text, answers)
    assert (found.exact, found.f1) == (exact, pytest.approx(f1))
