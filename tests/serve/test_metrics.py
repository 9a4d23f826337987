"""What a dashboard asks for is what the page of metrics says."""

import json
import re
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from aurora_release.serve.engines.embedded import Limits
from aurora_release.serve.engines.protocol import EngineStats
from aurora_release.serve.metrics import Metrics
from tests.running import until

ROOT = Path(__file__).parent.parent.parent

TGI = {
    "tgi_request_count": "counter",
    "tgi_request_success": "counter",
    "tgi_request_failure": "counter",
    "tgi_request_duration": "histogram",
    "tgi_request_queue_duration": "histogram",
    "tgi_request_inference_duration": "histogram",
    "tgi_request_mean_time_per_token_duration": "histogram",
    "tgi_request_input_length": "histogram",
    "tgi_request_max_new_tokens": "histogram",
    "tgi_request_generated_tokens": "histogram",
    "tgi_queue_size": "gauge",
    "tgi_batch_current_size": "gauge",
}
"""Names and types of text-generation-inference 3.3 (docs/source/reference/metrics.md there)."""


def page():
    """Return the metrics of a server that has answered nothing, with the gauge the app adds."""
    metrics = Metrics(lambda: EngineStats(True, 0, 0, 1))
    metrics.gauge("engine_restarts", "", lambda: 0)
    return metrics.page().decode()


def names():
    """Return the names that can be asked for, those of histograms' parts included."""
    known = set()
    for family in text_string_to_metric_families(page()):
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
        known |= {family.name + ending for ending in endings.get(family.type, ("",))}
    return known


def test_the_dashboard_asks_for_metrics_that_there_are():
    board = json.loads((ROOT / "serve" / "grafana.json").read_text("utf-8"))
    asked = {
        name
        for panel in board["panels"]
        for target in panel["targets"]
        for name in re.findall(r"aurora_\w+", target["expr"])
    }
    assert len(asked) > 10
    assert asked <= names()


def test_the_rule_of_the_guide_gives_the_names_of_vllm():
    guide = (ROOT / "docs" / "guides" / "serve.md").read_text("utf-8")
    rule = re.search(r"regex: (aurora_\S+)", guide)
    assert rule is not None
    renamed = {f"vllm:{m[1]}" for name in names() if (m := re.fullmatch(rule[1], name))}
    assert {
        "vllm:time_to_first_token_seconds_bucket",
        "vllm:inter_token_latency_seconds_bucket",
        "vllm:e2e_request_latency_seconds_count",
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "vllm:prompt_tokens_total",
        "vllm:generation_tokens_total",
        "vllm:request_success_total",
        "vllm:request_queue_time_seconds_bucket",
        "vllm:request_inference_time_seconds_sum",
        "vllm:request_prompt_tokens_bucket",
        "vllm:request_generation_tokens_sum",
        "vllm:request_params_max_tokens_count",
    } <= renamed


def samples(url):
    """Return every number of a server's page by its name, labels behind it."""
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    named = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in named}


def ask(url, tokens, prompt="The dog"):
    parameters = {"max_new_tokens": tokens, "details": True, "decoder_input_details": True}
    body = {"inputs": prompt, "parameters": parameters}
    return httpx.post(f"{url}/generate", json=body, timeout=60).json()


def test_names_and_types_of_tgi_stand_on_the_page():
    types = dict(re.findall(r"^# TYPE (tgi_\w+) (\w+)$", page(), re.MULTILINE))
    assert {name: kind for name, kind in types.items() if not name.endswith("_created")} == TGI
    guide = (ROOT / "docs" / "guides" / "serve.md").read_text("utf-8")
    assert set(re.findall(r"`(tgi_\w+)`", guide)) >= set(TGI)


def test_tgi_counts_what_was_asked_and_answered(start_server):
    url, _ = start_server()
    first, second = ask(url, 3), ask(url, 5)
    assert ask(url, 0)["error_type"] == "validation"
    httpx.post(f"{url}/tokenize", json={"inputs": "The dog"})
    page = samples(url)
    assert page["tgi_request_count"] == 3
    ends = {name: value for name, value in page.items() if name.startswith("tgi_request_success{")}
    assert sum(ends.values()) == 2
    assert page['tgi_request_failure{err="validation"}'] == 1
    prompts = [len(answer["details"]["prefill"]) for answer in (first, second)]
    made = [answer["details"]["generated_tokens"] for answer in (first, second)]
    assert page["tgi_request_input_length_sum"] == sum(prompts) > 0
    assert page["tgi_request_max_new_tokens_sum"] == 8
    assert page["tgi_request_generated_tokens_sum"] == sum(made) > 0
    for name in ("duration", "queue_duration", "inference_duration", "generated_tokens"):
        assert page[f"tgi_request_{name}_count"] == 2


def test_the_times_of_tgi_are_parts_of_the_whole(start_server):
    url, _ = start_server()
    made = ask(url, 8)["details"]["generated_tokens"]
    page = samples(url)
    mean = page["tgi_request_mean_time_per_token_duration_sum"]
    held, waited = (page[f"tgi_request_{name}_duration_sum"] for name in ("inference", "queue"))
    assert held > 0
    assert mean * made == pytest.approx(held)
    assert held + waited <= page["tgi_request_duration_sum"]


def test_tgi_sees_the_queue_and_who_left_it(start_server):
    url, _ = start_server(limits=Limits(slots=1))
    body = {
        "model": "x",
        "prompt": "The",
        "n": 8,
        "stream": True,
        "temperature": 1,
        "max_tokens": 100,
    }

    def queued():
        page = samples(url)
        return page["tgi_batch_current_size"] == 1 and page["tgi_queue_size"] > 0

    with httpx.stream("POST", f"{url}/v1/completions", json=body, timeout=60):
        until(queued)
    until(lambda: samples(url)["tgi_queue_size"] == 0)
    until(lambda: 'tgi_request_failure{err="dropped"}' in samples(url))
    page = samples(url)
    ended = page["tgi_request_generated_tokens_count"]
    assert ended + page['tgi_request_failure{err="dropped"}'] == 8
    assert page["tgi_request_input_length_count"] == 8
