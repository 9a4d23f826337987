"""A step's batch is the same whatever the number of ranks and the size of the micro-batch."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aurora_release import recipe
from aurora_release.data.mixture import Order
from aurora_release.data.store import Store
from aurora_release.data.tokens import Tokens
from aurora_release.data.writer import Writer
from aurora_release.recipe import Source
from aurora_release.train.batches import Batches


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("store")
    with Writer(folder, 8, vocabulary=300) as writer:
        for name in ("help-en", "help-fi"):
            source = Source(name=name, path="x", language="fi", license="MPL-2.0")
            writer.add(source, [Tokens(f"{n}", [0, *range(n, n + 9), 0], 1) for n in range(1, 90)])
        pairs = Source(name="safety-fi", path="x", language="fi", license="MIT", kind="pairs")
        writer.add(pairs, [Tokens(f"p{n}", [n] * (1 + n % 9), n % 4) for n in range(1, 90)])
        writer.finish({"end_of_text": 0})
    return Store(folder)


Global = list[tuple[torch.Tensor, int]]


def _batches(
    store: Store, seed: int, mixture: dict[str, float], layout: tuple[int, int], steps: range
) -> Global:
    """Put together what all ranks of a layout read in some steps, as new processes would."""
    ranks, micro = layout
    stage = {"name": "cap", "tokens": 30 * 8 * 8, "learning_rate": 1e-4, "mixture": mixture}
    found, _ = recipe.load(
        "demo", (f"seed={seed}", f"train.stages=[{json.dumps(stage)}]", "train.global_batch=8",
                 "data.sequence_length=8"),
    )  # fmt: skip
    order = Order(found, found.train.stages[0], store.windows)
    each = [Batches(store, order, 8, micro, rank, ranks) for rank in range(ranks)]
    batches: Global = []
    for step in steps:
        read = [batch.step(step) for batch in each]
        (labels,) = {count for _, count in read}
        rows = [rows[turn].tokens for turn in range(8 // micro // ranks) for rows, _ in read]
        assert [len(rows) for rows, _ in read] == [8 // micro // ranks] * ranks
        batches.append((torch.cat(rows), labels))
    return batches


LAYOUTS = [(ranks, micro) for ranks in (1, 2, 4) for micro in (1, 2, 4, 8) if ranks * micro <= 8]
WEIGHT = st.floats(0.01, 10).map(lambda weight: round(weight, 3))


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**63 - 1),
    st.fixed_dictionaries({"help-en": WEIGHT, "help-fi": WEIGHT, "safety-fi": WEIGHT}),
    st.lists(st.tuples(st.sampled_from(LAYOUTS), st.integers(1, 12)), min_size=1, max_size=4),
)
def test_the_sequence_of_global_batches_outlives_kills_and_layouts(
    store: Store, seed: int, mixture: dict[str, float], lives: list[tuple[tuple[int, int], int]]
) -> None:
    """`lives`: in which layout each life of the run goes on, and after how many steps it dies."""
    whole = _batches(store, seed, mixture, (1, 8), range(30))
    done = 0
    for layout, steps in lives:
        again = Store(store.folder)
        for step, (rows, labels) in enumerate(
            _batches(again, seed, mixture, layout, range(done, min(30, done + steps))), done
        ):
            assert torch.equal(rows, whole[step][0])
            assert labels == whole[step][1]
        done += steps


def test_a_digest_names_the_samples_of_a_step_for_every_rank(store: Store) -> None:
    found, _ = recipe.load(
        "demo", ("train.stages=[{name: cap, tokens: 1920, learning_rate: 1.0e-4, "
                 "mixture: {help-en: 1, help-fi: 2}}]", "train.global_batch=8",
                 "data.sequence_length=8", "seed=7"),
    )  # fmt: skip
    order = Order(found, found.train.stages[0], store.windows)
    digests = [Batches(store, order, 8, 2, rank, 2).digest(step) for rank in (0, 1)
               for step in range(5)]  # fmt: skip
    assert digests[:5] == digests[5:]
    assert len(set(digests)) == 5
    assert {len(digest) for digest in digests} == {16}


def test_joined_rows_without_any_label_are_read_whole(tmp_path: Path) -> None:
    with Writer(tmp_path, 8, vocabulary=300) as writer:
        source = Source(name="help-fi", path="x", language="fi", license="MIT", kind="pairs")
        writer.add(source, [Tokens(f"p{n}", [n] * 8, 8) for n in range(1, 9)])
        writer.finish({"end_of_text": 0})
    found, _ = recipe.load(
        "demo", ("train.stages=[{name: cap, tokens: 64, learning_rate: 1.0e-4, "
                 "mixture: {help-fi: 1}}]", "train.global_batch=8", "data.sequence_length=8"),
    )  # fmt: skip
    store = Store(tmp_path)
    order = Order(found, found.train.stages[0], store.windows)
    (joined,), labels = Batches(store, order, 8, 8, 0, 1, joined=True).step(0)
    assert labels == joined.predictions == 0
    assert joined.tokens.shape == (1, 64)


def test_joined_rows_hold_every_label_and_no_padding(store: Store) -> None:
    found, _ = recipe.load(
        "demo", ("train.stages=[{name: cap, tokens: 1920, learning_rate: 1.0e-4, "
                 "mixture: {help-en: 1, safety-fi: 2}}]", "train.global_batch=8",
                 "data.sequence_length=8"),
    )  # fmt: skip
    order = Order(found, found.train.stages[0], store.windows)
    for step in range(6):
        (plain,), labels = Batches(store, order, 8, 8, 0, 1).step(step)
        (joined,), same = Batches(store, order, 8, 8, 0, 1, joined=True).step(step)
        assert labels == same == plain.predictions == joined.predictions
        assert joined.tokens.shape[0] == 1
        kept = joined.labels != -100
        for name in ("tokens", "positions", "labels"):
            mine, theirs = getattr(joined, name), getattr(plain, name)
            assert torch.equal(mine[kept], theirs[plain.labels != -100])
        begins = (joined.positions[0] == 0).nonzero().flatten().tolist()
        for begin, end in zip(begins, [*begins[1:], joined.tokens.numel()], strict=True):
            assert kept[0, begin:end].any(), "a document nobody learns from"
            assert joined.positions[0, begin:end].tolist() == list(range(end - begin))
