"""The order of training is even, complete, shuffled, and a function of the sample number alone."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from aurora_release import recipe
from aurora_release.data.mixture import Blend, Order, permute

WEIGHTS = st.lists(st.floats(0.01, 10).map(lambda x: round(x, 3)), min_size=1, max_size=6)


@settings(deadline=None)
@given(WEIGHTS, st.integers(0, 300))
def test_blend_by_bisection_equals_walking(weights: list[float], samples: int) -> None:
    blend = Blend(weights)
    walked: Counter[int] = Counter()
    for sample in range(samples):
        source, number = blend.source(sample)
        assert number == walked[source]
        walked[source] += 1
    assert blend.counts(samples) == [walked[source] for source in range(len(weights))]


@settings(deadline=None)
@given(WEIGHTS, st.integers(1, 10**12))
def test_blend_keeps_every_share_everywhere(weights: list[float], samples: int) -> None:
    counts = Blend(weights).counts(samples)
    assert sum(counts) == samples
    for weight, count in zip(weights, counts, strict=True):
        assert abs(count - samples * weight / sum(weights)) <= len(weights)


@given(st.integers(1, 500), st.text(max_size=5))
def test_permutation_meets_every_index_once(size: int, key: str) -> None:
    assert sorted(permute(index, size, key) for index in range(size)) == list(range(size))


def test_an_epoch_is_read_whole_before_the_next_begins_across_stages() -> None:
    found, _ = recipe.load(
        "demo",
        ("train.stages.0.mixture={help-fi: 1}", "train.stages.1.mixture={help-fi: 1}",
         "train.stages.0.replay=[]", "train.stages.1.replay=[]", "train.global_batch=2",
         "train.stages.0.tokens=5120", "train.stages.1.tokens=5120", "data.sequence_length=512"),
    )  # fmt: skip
    windows = {"help-fi": 15}
    places = [
        order.place(sample)
        for order in (Order(found, stage, windows) for stage in found.train.stages)
        for sample in range(order.samples)
    ]
    assert sorted(place.window for place in places[:15]) == list(range(15))
    assert [place.epoch for place in places] == [0] * 15 + [1] * 5
    assert [place.window for place in places[:15]] != list(range(15))


def test_order_depends_on_the_seed_and_says_so() -> None:
    windows = dict.fromkeys(("help-en", "python", "help-fi", "help-hi", "help-ja", "help-vi"), 100)
    orders = []
    for seed in (1, 1, 2):
        found, _ = recipe.load("demo", (f"seed={seed}",))
        orders.append(Order(found, found.train.stages[0], windows))
    sequences = [[order.place(sample) for sample in range(40)] for order in orders]
    assert sequences[0] == sequences[1] != sequences[2]
    assert orders[0].digest == orders[1].digest != orders[2].digest
