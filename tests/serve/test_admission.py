import threading
from hashlib import sha256

import httpx
import pytest

from aurora_release.serve.admission import Admission
from aurora_release.serve.callers import Usage
from aurora_release.serve.engines.embedded import Limits
from aurora_release.serve.engines.protocol import EngineStats, ModelFacts
from aurora_release.serve.keys import ApiKey, ApiKeys, KeyLimits
from aurora_release.serve.replies import ApiError
from aurora_release.serve.settings import Settings


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Idle:
    """Stands in for an engine with two slots; only its size is asked for."""

    facts = ModelFacts("idle", 100, 10, "0" * 64, "float32")

    def stats(self):
        return EngineStats(True, 0, 0, 2)


def refusal(admission, *tokens):
    with pytest.raises(ApiError) as caught:
        admission.enter(tokens, None)
    assert caught.value.kind == "overloaded"
    return caught.value.retry_after


def test_answers_and_tokens_are_both_counted():
    admission = Admission(Idle(), most_waiting=1, most_tokens=100)
    visit = admission.enter([30, 30], None)
    refusal(admission, 50)
    refusal(admission, 10, 10)
    assert (admission.answers, admission.tokens) == (2, 60)
    last = admission.enter([40], None)
    refusal(admission, 0)
    visit.left(0)
    visit.left(0)
    assert (admission.answers, admission.tokens) == (2, 70)
    for done in (visit, last):
        done.end()
    assert (admission.answers, admission.tokens) == (0, 0)
    admission.enter([1000], None)


def test_what_never_fits_is_not_told_to_try_again():
    admission = Admission(Idle(), most_waiting=1, most_tokens=None)
    admission.enter([1, 1, 1], None).end()
    with pytest.raises(ApiError, match="At most 3 answers") as caught:
        admission.enter([1, 1, 1, 1], None)
    assert (caught.value.kind, caught.value.retry_after) == ("invalid", None)


def test_an_engine_that_is_down_is_asked_and_refuses_itself():
    engine = Idle()
    engine.stats = lambda: EngineStats(False, 0, 0, 0)
    admission = Admission(engine, most_waiting=8, most_tokens=None)
    for _ in range(8):
        admission.enter([50], None)
    refusal(admission, 50)


def test_retry_after_follows_the_pace_of_the_last_minute():
    clock = Clock()
    admission = Admission(Idle(), most_waiting=0, most_tokens=None, clock=clock)
    assert admission.answers == 0
    visits = [admission.enter([10], None) for _ in range(2)]
    assert refusal(admission, 10) == 1
    for visit in visits:
        visit.end()
        clock.now += 5
    for _ in range(2):
        admission.enter([10], None)
    assert refusal(admission, 10) == 5
    assert refusal(admission, 10, 10) == 10
    clock.now += 70
    assert refusal(admission, 10) == 1


def test_a_key_gets_back_what_its_answer_did_not_use():
    clock = Clock()
    usage = Usage(KeyLimits(tokens_per_minute=60, tokens_per_day=10_000), clock)
    admission = Admission(Idle(), most_waiting=9, most_tokens=None)
    visit = admission.enter([50], usage)
    with pytest.raises(ApiError, match="60 tokens a minute. Try again in 40 seconds") as caught:
        admission.enter([50], usage)
    assert caught.value.retry_after == 40
    visit.use(0, 10)
    visit.end()
    admission.enter([50], usage).end()


def test_a_request_larger_than_the_limit_needs_all_of_it_and_leaves_a_debt():
    clock = Clock()
    usage = Usage(KeyLimits(tokens_per_minute=60), clock)
    usage.take(120)
    with pytest.raises(ApiError, match="Try again in 61 seconds"):
        usage.take(1)
    clock.now += 61
    usage.take(1)


def test_requests_a_minute_and_a_daily_quota_are_told_apart():
    clock = Clock()
    usage = Usage(KeyLimits(requests_per_minute=2, tokens_per_day=86_400), clock)
    usage.take(86_400)
    with pytest.raises(ApiError, match="86400 tokens a day") as caught:
        usage.take(1)
    assert (caught.value.code, caught.value.retry_after) == ("insufficient_quota", 1)
    for tokens, said in ((121, "in 3 minutes."), (14_399, "in 4 hours.")):
        with pytest.raises(ApiError, match=said):
            usage.take(tokens)
    clock.now += 10
    usage.take(10)
    with pytest.raises(ApiError, match="2 requests a minute. Try again in 20 seconds"):
        usage.take(0)


def test_a_server_limits_one_key_and_not_the_other(start_server):
    limited = ApiKey("limited", sha256(b"key-of-one").digest(), KeyLimits(requests_per_minute=1))
    free = ApiKey("free", sha256(b"key-of-two").digest())
    settings = Settings(keys=ApiKeys([limited, free]), chat_page=False)
    url, _ = start_server(settings=settings)

    def ask(key):
        body = {"inputs": "The", "parameters": {"max_new_tokens": 1}}
        headers = {"authorization": f"Bearer {key}"}
        return httpx.post(f"{url}/generate", json=body, headers=headers)

    assert ask("key-of-one").status_code == 200
    refused = ask("key-of-one")
    assert (refused.status_code, refused.json()["error_type"]) == (429, "overloaded")
    assert 50 <= int(refused.headers["retry-after"]) <= 60
    assert [ask("key-of-two").status_code for _ in range(2)] == [200, 200]
    page = httpx.get(f"{url}/metrics", headers={"authorization": "Bearer key-of-two"}).text
    counted = 'aurora_requests_total{key="limited",route="/generate",status="429"} 1.0'
    assert counted in page.splitlines()
    assert "key-of" not in page


def test_too_many_tokens_under_way_are_refused_and_all_is_given_back(start_server):
    settings = Settings(most_tokens=150, chat_page=False)
    url, engine = start_server(settings=settings, limits=Limits(slots=8))
    replies = []

    def ask():
        body = {"model": "x", "prompt": "The", "max_tokens": 100, "temperature": 1}
        replies.append(httpx.post(f"{url}/v1/completions", json=body, timeout=60))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = {reply.status_code for reply in replies}
    assert statuses <= {200, 429} and 200 in statuses
    refused = [reply for reply in replies if reply.status_code == 429]
    assert all(int(reply.headers["retry-after"]) >= 1 for reply in refused)
    ask()
    assert replies[-1].status_code == 200
