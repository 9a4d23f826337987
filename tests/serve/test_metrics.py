"""What a dashboard asks for is what the page of metrics says."""

import json
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from aurora_release.serve.engines.protocol import EngineStats
from aurora_release.serve.metrics import Metrics

ROOT = Path(__file__).parent.parent.parent


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
    } <= renamed
