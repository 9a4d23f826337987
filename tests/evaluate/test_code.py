import itertools
import statistics
import sys
from pathlib import Path

import pytest

from aurora_release.evaluate import code, sandbox
from aurora_release.evaluate.code import pass_at_k, solve
from aurora_release.evaluate.generate import Gap, Sampling, continuations, cut
from aurora_release.evaluate.load import LoadedModel, load

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")

TESTS = "assert double(2) == 4\nassert double(-1) == -2"
RIGHT = "    return 2 * x\n"
BAD = {
    "wrong": "    return x\n",
    "network": "    __import__('socket').create_connection(('192.0.2.1', 80))\n    return 2 * x\n",
    "fork": "    import os\n    while True: os.fork()\n",
    "outside": "    open('/usr/outside', 'w')\n    return 2 * x\n",
    "memory": "    bytearray(1 << 30)\n    return 2 * x\n",
    "early": "    import os\n    os._exit(0)\n",
}


@pytest.fixture(scope="module")
def loaded(tiny_llama: Path) -> LoadedModel:
    return load(tiny_llama, exact=True)


def test_harmful_programs_leave_the_score_of_others_alone(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a random model writes no programs, so these stand in for what it would have written
    written = [RIGHT, *BAD.values(), RIGHT]
    monkeypatch.setattr(code, "continuations", lambda *_: written)
    row = {"prompt": "def double(x):\n", "tests": TESTS}
    [found] = solve(loaded, [row], Sampling(len(written)), sandbox.Limits(seconds=30))
    assert [outcome == "passed" for outcome in found.outcomes] == [True, *[False] * len(BAD), True]
    assert found.passed == 2
    monkeypatch.setattr(code, "continuations", lambda *_: ["    while True: pass\n"])
    [endless] = solve(loaded, [row], Sampling(), sandbox.Limits(seconds=1))
    assert endless.passed == 0


def test_pass_at_k_is_the_share_of_draws_that_hold_a_right_one() -> None:
    for passed, k in itertools.product(range(6), (1, 2, 5)):
        samples = [1] * passed + [0] * (5 - passed)
        draws = [max(draw) for draw in itertools.combinations(samples, k)]
        assert pass_at_k(5, passed, k) == pytest.approx(statistics.mean(draws))


def test_a_continuation_repeats_with_its_seed(loaded: LoadedModel) -> None:
    how = Sampling(samples=3, temperature=1.0, max_new_tokens=8, seed=5)
    first = continuations(loaded, Gap("The dog"), how)
    continuations(loaded, Gap("Con"), how)
    assert continuations(loaded, Gap("The dog"), how) == first
    assert len(set(first)) == 3
    other = Sampling(samples=3, temperature=1.0, max_new_tokens=8, seed=6)
    assert continuations(loaded, Gap("The dog"), other) != first


def test_a_continuation_ends_before_its_stop_string(loaded: LoadedModel) -> None:
    [whole] = continuations(loaded, Gap("The dog"), Sampling(max_new_tokens=24))
    stop = whole[6:8]
    [stopped] = continuations(loaded, Gap("The dog", stop=(stop,)), Sampling(max_new_tokens=24))
    assert stopped == whole[: whole.index(stop)]
    assert cut("a\ndef b\nclass", ("\nclass", "\ndef ")) == "a"
