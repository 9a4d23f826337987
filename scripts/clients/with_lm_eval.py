"""lm_eval's local-completions scores a task of two questions: python with_lm_eval.py URL MODEL."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from checks import report

QUESTIONS = [
    {"text": "The capital of France is", "choices": [" Paris", " a fish"], "label": 0},
    {"text": "Two and two make", "choices": [" four", " a river"], "label": 0},
]
TASK = """\
task: two_questions
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: text
doc_to_choice: choices
doc_to_target: label
metric_list: [{{metric: acc}}]
"""


def scores():
    """lm_eval --model local-completions (echo, logprobs, max_tokens 1)"""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = folder / "data.jsonl"
        data.write_text("".join(json.dumps(one) + "\n" for one in QUESTIONS), encoding="utf-8")
        (folder / "task.yaml").write_text(TASK.format(data=data), encoding="utf-8")
        options = f"base_url={sys.argv[1]}/v1/completions,model=x,tokenizer={sys.argv[2]}"
        command = [sys.executable, "-m", "lm_eval", "--model", "local-completions"]
        command += ["--model_args", options, "--include_path", name, "--tasks", "two_questions"]
        subprocess.run([*command, "--output_path", name], check=True, stdout=sys.stderr)
        [found] = folder.rglob("results*.json")
        assert json.loads(found.read_text(encoding="utf-8"))["results"]["two_questions"]


report("lm_eval", [scores])
