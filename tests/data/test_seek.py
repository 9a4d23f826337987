"""Deep in a long mixture, `which` finds what arithmetic says, from an index that is mostly air."""

from itertools import islice
from pathlib import Path

from aurora_release.data.mixture import Order
from aurora_release.data.store import Store
from aurora_release.data.which import which
from bench import seek

DOCUMENTS, SIZE = 5000, 3000


def test_step_one_million_is_where_arithmetic_says(tmp_path: Path) -> None:
    seek.build(tmp_path / "data", 20, DOCUMENTS, SIZE)
    recipe, store = seek.recipe(20), Store(tmp_path / "data")
    answer = which(recipe, tmp_path, seek.STEP, rank=3, ranks=64)
    order = Order(recipe, recipe.train.stages[0], store.windows)
    places = list(islice(order.places((seek.STEP - 1) * seek.BATCH), seek.BATCH))
    expected: dict[str, int] = {}
    for at, place in enumerate(places):
        if at // 8 % 64 == 3:
            part = store.parts[place.source]
            first = part.first_token + place.window * seek.LENGTH
            last = min(first + seek.LENGTH, part.first_token + part.tokens)
            for token in range(first, last):
                name = f"d{token // SIZE:011}"
                expected[name] = expected.get(name, 0) + 1
    assert {row["id"]: row["tokens"] for row in answer["documents"]} == expected
    assert min(place.epoch for place in places) > 100
