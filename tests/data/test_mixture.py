"""The order of training is even, complete, shuffled, and a function of the sample number alone."""

import json
from collections import Counter
from fractions import Fraction
from itertools import islice

from hypothesis import given, settings
from hypothesis import strategies as st

from aurora_release import recipe
from aurora_release.data.mixture import Blend, Order, permute, repeats, rows, unpermute

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
@given(WEIGHTS, st.integers(1, 10**30))
def test_blend_keeps_every_share_everywhere(weights: list[float], samples: int) -> None:
    counts = Blend(weights).counts(samples)
    assert sum(counts) == samples
    shares = [Fraction(repr(weight)) for weight in weights]
    for share, count in zip(shares, counts, strict=True):
        assert abs(count - samples * share / sum(shares)) <= len(weights)


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


WINDOWS = {"help-en": 4, "help-fi": 5, "python": 100, "help-ja": 3}


def _three_stages(*overrides: str) -> tuple[recipe.Recipe, list[Order]]:
    """Three stages of ten samples; Finnish is read in each."""
    mixtures = ({"help-fi": 3, "help-en": 1}, {"help-fi": 1}, {"help-fi": 1, "python": 1})
    stages = [
        {"name": name, "tokens": 10 * 512, "learning_rate": 1e-4, "mixture": mixture,
         "replay": ["help-en"] if "help-en" in mixture else []}
        for name, mixture in zip(("one", "two", "three"), mixtures, strict=True)
    ]  # fmt: skip
    found, _ = recipe.load(
        "demo",
        (f"train.stages={json.dumps(stages)}", "train.global_batch=2", "data.sequence_length=512",
         "seed=7", *overrides),
    )  # fmt: skip
    return found, [Order(found, stage, WINDOWS) for stage in found.train.stages]


def test_an_order_is_the_same_in_every_version() -> None:
    """A run goes on after an upgrade, and is found by the digest in its evidence."""
    _, (one, _, three) = _three_stages()
    assert one.digest == "77961f63b5fe099aef427b04b1bef360ef6187eb6ed882e19bc392e90b1176ec"
    assert three.digest == "f7be46c4c68f5eb08c01ca696dff6fab35f4637e86b02d01d741602036d84a3d"
    assert [(place.source, place.window, place.epoch) for place in islice(one.places(0), 10)] == [
        ("help-fi", 2, 0), ("help-en", 2, 0), ("help-fi", 0, 0), ("help-fi", 4, 0),
        ("help-fi", 1, 0), ("help-en", 3, 0), ("help-fi", 3, 0), ("help-fi", 4, 1),
        ("help-fi", 0, 1), ("help-en", 0, 0),
    ]  # fmt: skip
    assert [(place.source, place.window, place.epoch) for place in islice(three.places(6), 4)] == [
        ("help-fi", 4, 4), ("python", 38, 0), ("help-fi", 1, 4), ("python", 85, 0),
    ]  # fmt: skip


def test_an_order_says_what_its_stage_reads() -> None:
    _, (one, two, three) = _three_stages("data.max_epochs=1.4")
    assert one.facts() == {
        "order": one.digest,
        "samples": {"help-en": 3, "help-fi": 7},
        "epochs": {"help-en": 0.75, "help-fi": 1.4},
        "max_epochs": 1.4,
        "read_more_often": [],
        "replay": 0.3,
    }
    assert three.facts()["epochs"] == {"help-fi": 4.4, "python": 0.05}
    assert three.facts()["read_more_often"] == ["help-fi"]
    assert [order.span("help-fi") for order in (one, two, three)] == [
        range(7), range(7, 17), range(17, 22)
    ]  # fmt: skip
    assert three.span("python") == range(5)


def test_ranks_share_a_global_batch_of_any_size() -> None:
    assert [*rows(8, 3, 0, 2)] == [range(3), range(6, 8)]
    assert [*rows(8, 3, 1, 2)] == [range(3, 6)]


def test_order_depends_on_the_seed_and_says_so() -> None:
    windows = dict.fromkeys(("help-en", "python", "help-fi", "help-hi", "help-ja", "help-vi"), 100)
    orders = []
    for seed in (1, 1, 2):
        found, _ = recipe.load("demo", (f"seed={seed}",))
        orders.append(Order(found, found.train.stages[0], windows))
    sequences = [[order.place(sample) for sample in range(40)] for order in orders]
    assert sequences[0] == sequences[1] != sequences[2]
    assert orders[0].digest == orders[1].digest != orders[2].digest


def test_a_source_read_more_often_than_the_cap_is_named_where_it_is() -> None:
    assert repeats(_three_stages("data.max_epochs=4.4")[0], WINDOWS) == []
    assert repeats(_three_stages("data.max_epochs=3.4")[0], WINDOWS) == [
        "help-fi has been read 4.4 times when three ends; data.max_epochs is 3.4. Give it more "
        "text, or less weight in train.stages.three.mixture."
    ]


def test_token_budgets_are_weights_that_add_up_to_the_stage() -> None:
    found, _ = recipe.load("demo", ("train.stages.0.mixture={help-fi: 60000, help-en: 20000}",
                           "train.stages.0.tokens=null", "train.stages.0.replay=[]"))  # fmt: skip
    stage = found.train.stages[0]
    order = Order(found, stage, {"help-fi": 1000, "help-en": 1000})
    assert order.samples * 512 >= stage.budget == 80_000 > (order.samples - 1) * 512
    fewer, more = order.counts()
    assert abs(fewer * 512 - 20_000) < 1024
    assert abs(more * 512 - 60_000) < 1024
