"""Do 1,000 ranks read every sample of a stage once, in the order in which one rank reads them?

Simulated is that there are so many ranks; the order, each rank's share of it, and how a checkpoint
is read are the code that trains. The stage is read by 1,000 ranks, then, as if half of the machines
were lost, by 500 with twice the micro-batch, then by 2,000 with half of it; each step's order is
found from nothing, as after a restart. Then the checkpoint of 1,000 ranks is read by every rank of
750, which all end up with their own slice of the parameters and moments, and nothing else.
"""

import json
import os
import random
import tempfile
import time
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

from aurora_release.data.mixture import Order, Place, rows
from aurora_release.recipe import Recipe
from bench.seek import recipe as fifty_sources

SOURCES, GLOBAL_BATCH, STEPS = 50, 4000, 30
LAYOUTS = ((1000, 4), (500, 8), (2000, 2))
"""Ranks and micro-batch, for a third of the steps each."""
SAVED_BY, READ_BY, SHARE = 1000, 750, 300
"""Ranks, and how many numbers each of the first ones owns."""
PARAMETERS = 60


def measure() -> dict[str, Any]:
    """Return what was lost, repeated or out of order, and how long it took to find out."""
    began = time.perf_counter()
    order = _order()
    alone = list(islice(order.places(0), STEPS * GLOBAL_BATCH))
    by_rank: dict[int, Place] = {}
    repeated = 0
    for step in range(STEPS):
        ranks, micro_batch = LAYOUTS[step * len(LAYOUTS) // STEPS]
        places = list(islice(_order().places(step * GLOBAL_BATCH), GLOBAL_BATCH))
        for rank in range(ranks):
            for row in rows(GLOBAL_BATCH, micro_batch, rank, ranks):
                for at in row:
                    repeated += step * GLOBAL_BATCH + at in by_rank
                    by_rank[step * GLOBAL_BATCH + at] = places[at]
    chance = random.Random(3)
    asked = [chance.randrange(len(alone)) for _ in range(1000)]
    seconds = time.perf_counter() - began
    return {
        "what": " ".join(str(__doc__).split("\n\n")[1].split()),
        "samples": len(alone),
        "layouts": LAYOUTS,
        "lost": len(alone) - len(by_rank),
        "repeated": repeated + len(alone) - len(set(alone)),
        "out_of_order": sum(by_rank[at] != place for at, place in enumerate(alone)),
        "asked_alone_and_different": sum(order.place(at) != alone[at] for at in asked),
        "epochs": [min(place.epoch for place in alone), max(place.epoch for place in alone)],
        "seconds": seconds,
        "checkpoint": _resharded(),
    }


def _order() -> Order:
    """Return the order of a stage, some of whose sources are read again and again."""
    stage = {"tokens": STEPS * GLOBAL_BATCH * 2048}
    asked = fifty_sources(SOURCES).model_dump(mode="json")
    asked["train"] |= {"global_batch": GLOBAL_BATCH, "micro_batch": 2}
    asked["train"]["stages"][0] |= stage
    read = Recipe.model_validate_json(json.dumps(asked))
    names = sorted(read.train.stages[0].mixture)
    return Order(read, read.train.stages[0], {name: 500 + 97 * n for n, name in enumerate(names)})


def _resharded() -> dict[str, Any]:
    """Write a checkpoint of 1,000 ranks and read it as 750; all numbers in it are different."""
    import torch

    from aurora_release.train.checkpoints.fragments import Fragment, Owned
    from aurora_release.train.checkpoints.shards import WEIGHT, Files, write

    began, total = time.perf_counter(), SAVED_BY * SHARE
    wrong = 0
    opened: list[int] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for rank, (begin, end) in enumerate(_shares(total, SAVED_BY)):
            mine = torch.arange(begin, end, dtype=torch.float32)
            optimizer = torch.optim.AdamW([mine])
            optimizer.state[mine] = {"step": torch.tensor(7.0), "exp_avg": -mine}
            parts = [Fragment(*part) for part in _parts(begin, end, total)]
            _become(rank, SAVED_BY)
            write(Owned([mine], optimizer, parts), folder, replicated=False)
        for rank, (begin, end) in enumerate(_shares(total, READ_BY)):
            _become(rank, READ_BY)
            found = {WEIGHT: torch.zeros(end - begin), "exp_avg": torch.zeros(end - begin)}
            with ExitStack() as stack:
                files = Files(folder, stack)
                for part in _parts(begin, end, total):
                    wanted = Fragment(*part)
                    for kind, tensor in found.items():
                        to = tensor[wanted.offset : wanted.offset + wanted.count]
                        files.fill(to, kind, wanted)
                opened.append(files.opened)
            real = torch.arange(begin, end, dtype=torch.float32)
            wrong += int((found[WEIGHT] != real).sum() + (found["exp_avg"] != -real).sum())
    return {"numbers": total, "saved_by": SAVED_BY, "read_by": READ_BY, "wrong": wrong,
            "files_opened_by_a_rank": [min(opened), max(opened)],
            "seconds": time.perf_counter() - began}  # fmt: skip


def _shares(total: int, ranks: int) -> list[tuple[int, int]]:
    """Return where each rank's share begins and ends: equal ones, as ZeRO 1 and 2 cut them."""
    size = -(-total // ranks)
    return [(rank * size, min(total, rank * size + size)) for rank in range(ranks)]


def _parts(begin: int, end: int, total: int) -> list[tuple[str, int, int, int, int]]:
    """Return the pieces of parameters, which lie end to end, within a share."""
    size = total // PARAMETERS
    parts = []
    for number in range(begin // size, -(-end // size)):
        low, high = max(begin, number * size), min(end, number * size + size)
        parts.append((f"layer.{number}", low - number * size, high - low, 0, low - begin))
    return parts


def _become(rank: int, ranks: int) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(ranks)}
