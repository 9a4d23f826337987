"""What text-generation-inference counts too, under its names: dashboards made for it work."""

import re

NAMES = {
    "aurora_generation_requests": "tgi_request_count",
    "aurora_request_success": "tgi_request_success",
    "aurora_request_failure": "tgi_request_failure",
    "aurora_e2e_request_latency_seconds": "tgi_request_duration",
    "aurora_request_queue_time_seconds": "tgi_request_queue_duration",
    "aurora_request_inference_time_seconds": "tgi_request_inference_duration",
    "aurora_request_mean_time_per_token_seconds": "tgi_request_mean_time_per_token_duration",
    "aurora_request_prompt_tokens": "tgi_request_input_length",
    "aurora_request_params_max_tokens": "tgi_request_max_new_tokens",
    "aurora_request_generation_tokens": "tgi_request_generated_tokens",
    "aurora_num_requests_waiting": "tgi_queue_size",
    "aurora_num_requests_running": "tgi_batch_current_size",
}
"""Our metric, and the one of text-generation-inference that measures the same."""

_LINE = re.compile(rf"((?:# (?:HELP|TYPE) )?)({'|'.join(NAMES)})(?:_total)?((?:_[a-z]+)?[ {{].*)")


def renamed(page: str) -> str:
    """Return once more, under its other name, what of a page in Prometheus' format has one.

    Counters lose their `_total`, which those of text-generation-inference do not have.
    """
    found = (_LINE.fullmatch(line) for line in page.splitlines())
    return "".join(f"{one[1]}{NAMES[one[2]]}{one[3]}\n" for one in found if one)
