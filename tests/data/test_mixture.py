"""The order of training is even, complete, shuffled, and a function of the sample number alone."""

from collections import Counter
from fractions import Fraction
from itertools import islice

from hypothesis import given, settings
from hypothesis import strategies as st

from aurora_release import recipe
from aurora_release.data.mixture import Blend, Order, permute, repeats, unpermute

WEIGHTS = st.lists(st.floats(0.01, 10).map(lambda x: round(x, 3)), min_size=1, max_size=6)


def _by_due_times(weights: list[float], samples: int) -> list[tuple[int, int]]:
    """The rule itself, without any arithmetic that finds a place: every due time, sorted."""
    unit = len(weights) + 1
    due = [
        (Fraction(unit * number + source + 1) / Fraction(repr(weight)), source, number)
        for source, weight in enumerate(weights)
        for number in range(samples)
    ]
    return [(source, number) for _, source, number in sorted(due)[:samples]]


@settings(deadline=None, max_examples=50)
@given(WEIGHTS, st.integers(0, 200))
def test_blend_found_anywhere_equals_sorting_all_due_times(
    weights: list[float], samples: int
) -> None:
    blend, sequence = Blend(weights), _by_due_times(weights, samples)
    assert list(islice(blend.walk(0), samples)) == sequence
    for sample, place in enumerate(sequence):
        assert next(blend.walk(sample)) == place
    counts = Counter(source for source, _ in sequence)
    assert blend.counts(samples) == [counts[source] for source in range(len(weights))]


@settings(deadline=None)
@given(WEIGHTS, st.integers(1, 10**12))
def test_blend_keeps_every_share_everywhere(weights: list[float], samples: int) -> None:
    counts = Blend(weights).counts(samples)
    assert sum(counts) == samples
    for weight, count in zip(weights, counts, strict=True):
        assert abs(count - samples * weight / sum(weights)) <= len(weights)


@given(st.integers(1, 500), st.text(max_size=5))
def test_permutation_meets_every_index_once_and_turns_back(size: int, key: str) -> None:
    places = [permute(index, size, key) for index in range(size)]
    assert sorted(places) == list(range(size))
    assert [unpermute(place, size, key) for place in places] == list(range(size))


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


def test_a_source_read_too_often_is_named_with_its_epochs() -> None:
    found, _ = recipe.load("demo", ("data.max_epochs=1.5", "train.global_batch=1"))
    windows = dict.fromkeys((source.name for source in found.data.sources), 1000)
    assert repeats(found, windows) == []
    (sentence,) = repeats(found, {**windows, "help-fi": 8})
    assert sentence.startswith("help-fi has been read 1.9 times when cat ends")


def test_token_budgets_are_weights_that_add_up_to_the_stage() -> None:
    found, _ = recipe.load("demo", ("train.stages.0.mixture={help-fi: 60000, help-en: 20000}",
                           "train.stages.0.tokens=null", "train.stages.0.replay=[]"))  # fmt: skip
    stage = found.train.stages[0]
    order = Order(found, stage, {"help-fi": 1000, "help-en": 1000})
    assert order.samples * 512 >= stage.budget == 80_000 > (order.samples - 1) * 512
    fewer, more = order.counts()
    assert abs(fewer * 512 - 20_000) < 1024
    assert abs(more * 512 - 60_000) < 1024
