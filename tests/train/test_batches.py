"""A step's batch is the same whatever the number of ranks and the size of the micro-batch."""

import pytest
import torch

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
        writer.finish({"end_of_text": 0})
    return Store(folder)


@pytest.mark.parametrize(("ranks", "micro"), [(1, 8), (1, 2), (2, 2), (2, 4), (4, 1), (4, 2)])
def test_ranks_and_micro_batches_cut_the_same_global_batch(
    store: Store, ranks: int, micro: int
) -> None:
    found, _ = recipe.load(
        "demo", ("train.stages.0.mixture={help-en: 1, help-fi: 2}", "train.stages.0.replay=[]")
    )
    windows = {name: part.windows for name, part in store.parts.items()}
    order = Order(found, found.train.stages[0], windows)
    for step in (0, 3, 17):
        whole, labels = Batches(store, order, 8, 8, 0, 1).step(step)
        rows = []
        for begin in range(8 // micro // ranks):
            for rank in range(ranks):
                mine, count = Batches(store, order, 8, micro, rank, ranks).step(step)
                assert count == labels
                rows.append(mine[begin].tokens)
        assert torch.equal(torch.cat(rows), whole[0].tokens)
