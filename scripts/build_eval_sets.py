"""Writes public evaluation sets as JSON lines that `aurora evaluate` and `train.watch.sets` read.

    python -m scripts.build_eval_sets DATA OUT

DATA holds what is published: texts of PUD (en, fi, hi), XQuAD (en, hi, vi), JSQuAD (ja), Finnish
TDT, Vietnamese VTB and held-out Python; choices of ARC, PIQA, LAMBADA (as in llm-foundry) and
JCommonsenseQA; questions of XQuAD and JSQuAD; programs of HumanEval, also line by line to be filled
in, and MBPP. What is absent is left out, and nothing of it is kept in this repository. `next-*` is
a choice task of our own in every language: which of four sentences ends a paragraph. A set whose
bytes are not those that our results were measured on (`evaluate/tasks/SHA256SUMS`) is named.
"""

import json
import re
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from aurora_release import atomic
from aurora_release.evidence import canonical, sha256
from aurora_release.shipped import package_folder

Rows = Iterator[tuple[str, str]]
Items = Iterator[dict[str, Any]]


def pud(data: Path, language: str) -> Rows:
    """Yield the sentences of Parallel Universal Dependencies in one language."""
    for row in _lines(data / "eval-pud" / "pud_en_fi_hi.jsonl"):
        yield row["id"], row[language]


def xquad(data: Path, language: str) -> Rows:
    """Yield the paragraphs of XQuAD in one language."""
    for row in _lines(data / "eval-xquad" / f"xquad.{language}.jsonl"):
        yield row["id"], row["context"]


def jsquad(data: Path) -> Rows:
    """Yield the paragraphs of JSQuAD's validation set, their titles left out."""
    path = data / "eval-jglue" / "jsquad-v1.3.valid.json"
    for article in json.loads(path.read_bytes())["data"]:
        for number, paragraph in enumerate(article["paragraphs"]):
            yield f"{article['title']}-{number}", paragraph["context"].partition("[SEP]")[2].strip()


def tdt(data: Path) -> Rows:
    """Yield the documents of Finnish TDT's test set, sentences joined."""
    rows = _lines(data / "eval-ud-text" / "fi_tdt-test.jsonl")
    for document, sentences in groupby(rows, key=lambda row: row["id"].partition(".")[0]):
        yield document, " ".join(sentence["text"] for sentence in sentences)


def python(data: Path) -> Rows:
    """Yield held-out Python files, cut into pieces of about 1,500 characters at line ends."""
    for row in _lines(data / "code-python" / "python.heldout.jsonl"):
        piece, number = "", 0
        for line in row["text"].splitlines(keepends=True):
            piece += line
            if len(piece) >= 1500:
                yield f"{row['id']}#{number}", piece
                piece, number = "", number + 1


def vtb(data: Path) -> Rows:
    """Yield the sentences of Vietnamese VTB's test set, ten at a time."""
    rows = list(_lines(data / "eval-ud-text" / "vi_vtb-test.jsonl"))
    for start in range(0, len(rows), 10):
        some = rows[start : start + 10]
        yield some[0]["id"], " ".join(row["text"] for row in some)


def foundry(data: Path, name: str) -> Items:
    """Yield a choice task of llm-foundry: `query`, `choices` and `gold`."""
    for row in _lines(data / "eval-english" / f"{name}.jsonl"):
        context = row["query"].rstrip() + "\nAnswer: "
        yield {"context": context, "choices": row["choices"], "answer": row["gold"]}


def lambada(data: Path) -> Items:
    """Yield the passages of LAMBADA, whose last word is to be said."""
    for row in _lines(data / "eval-english" / "lambada_openai.jsonl"):
        yield {"context": row["context"], "choices": [" " + row["continuation"]], "answer": 0}


def jcommonsenseqa(data: Path) -> Items:
    """Yield the questions of JCommonsenseQA's validation set."""
    for row in _lines(data / "eval-jglue" / "jcommonsenseqa-v1.3.valid.json"):
        choices = [row[f"choice{number}"] for number in range(5)]
        context = f"質問：{row['question']}\n回答："
        yield {"context": context, "choices": choices, "answer": row["label"]}


def endings(rows: Rows) -> Items:
    """Yield ends of texts, whose last sentence is to be told from those of the next three texts.

    A cheap choice task for languages that have no free one: chance is a quarter.
    """
    halves = [found for _, text in rows if (found := _halves(text))]
    for place, (beginning, _) in enumerate(halves):
        choices = [halves[(place + further) % len(halves)][1] for further in range(4)]
        answer = place % 4
        # the right one stands in every place equally often
        choices = choices[-answer:] + choices[:-answer] if answer else choices
        yield {"context": beginning, "choices": choices, "answer": answer}


def _halves(text: str) -> tuple[str, str] | None:
    """Return the last sentences but one of a text, and the last; None where there is only one."""
    sentences = [each for each in re.split(r"(?<=[.।] )|(?<=。)", text.strip()) if each] or [""]
    last = sentences.pop()
    before = "".join(sentences[-3:])
    return (before.rstrip(), before[len(before.rstrip()) :] + last) if before and last else None


def questions(data: Path, language: str) -> Items:
    """Yield the questions of XQuAD in one language, each after its paragraph."""
    for row in _lines(data / "eval-xquad" / f"xquad.{language}.jsonl"):
        for each in row["qas"]:
            yield _question(row["context"], each["id"], each["q"], [each["a"]])


def japanese_questions(data: Path) -> Items:
    """Yield the questions of JSQuAD's validation set, each after its paragraph."""
    path = data / "eval-jglue" / "jsquad-v1.3.valid.json"
    for article in json.loads(path.read_bytes())["data"]:
        for paragraph in article["paragraphs"]:
            text = paragraph["context"].partition("[SEP]")[2].strip()
            for each in paragraph["qas"]:
                answers = list(dict.fromkeys(answer["text"] for answer in each["answers"]))
                yield _question(text, each["id"], each["question"], answers)


def _question(text: str, identity: str, asked: str, answers: list[str]) -> dict[str, Any]:
    prompt = f"{text}\n\nQ: {asked}\nA:"
    return {"id": identity, "prompt": prompt, "answers": answers, "stop": ["\n"]}


def humaneval(data: Path) -> Items:
    """Yield HumanEval: a function to complete, and what its tests call."""
    for row in _lines(data / "eval-humaneval" / "HumanEval.jsonl"):
        yield {
            "id": row["task_id"],
            "prompt": row["prompt"],
            "tests": f"{row['test']}\ncheck({row['entry_point']})",
            "stop": ["\nclass ", "\ndef ", "\n#", "\nif ", "\nprint("],
        }


def infill(data: Path) -> Items:
    """Yield every line of HumanEval's solutions that is not blank, to be filled in.

    Source: Bavarian et al. 2022, arXiv:2207.14255 (single-line infilling, 1,033 items).
    """
    for row in _lines(data / "eval-humaneval" / "HumanEval.jsonl"):
        lines = row["canonical_solution"].splitlines()
        for place, line in enumerate(lines):
            if line.strip():
                yield {
                    "id": f"{row['task_id']}#{place}",
                    "prompt": "".join([row["prompt"], *(f"{each}\n" for each in lines[:place])]),
                    "suffix": "".join(f"\n{each}" for each in lines[place + 1 :]) + "\n",
                    "tests": f"{row['test']}\ncheck({row['entry_point']})",
                    "stop": ["\n"],
                }


def mbpp(data: Path) -> Items:
    """Yield sanitized MBPP: a task and its first test in a docstring, as InCoder asked it."""
    for row in json.loads((data / "eval-mbpp" / "sanitized-mbpp.json").read_bytes()):
        yield {
            "id": f"mbpp/{row['task_id']}",
            "prompt": f'"""\n{row["prompt"]}\n{row["test_list"][0]}\n"""\n',
            "tests": "\n".join([*row["test_imports"], *row["test_list"]]),
            "stop": ["\nclass ", "\nassert", '\n"""', "\nprint(", "\nif "],
        }


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def texts(data: Path) -> dict[str, tuple[str, Rows]]:
    """Return every set of texts by name, with its language."""
    return {
        **{f"pud-{name}": (name, pud(data, name)) for name in ("en", "fi", "hi")},
        **{f"xquad-{name}": (name, xquad(data, name)) for name in ("en", "hi", "vi")},
        "jsquad-ja": ("ja", jsquad(data)),
        "tdt-fi": ("fi", tdt(data)),
        "vtb-vi": ("vi", vtb(data)),
        "python-heldout": ("code", python(data)),
    }


def tasks(data: Path) -> dict[str, tuple[str, Items]]:
    """Return every task of choices, answers and code by name, with its language."""
    return {
        "arc-easy": ("en", foundry(data, "arc_easy")),
        "piqa": ("en", foundry(data, "piqa")),
        "lambada": ("en", lambada(data)),
        "jcommonsenseqa": ("ja", jcommonsenseqa(data)),
        "next-en": ("en", endings(xquad(data, "en"))),
        "next-fi": ("fi", endings(tdt(data))),
        "next-hi": ("hi", endings(xquad(data, "hi"))),
        "next-ja": ("ja", endings(jsquad(data))),
        "next-vi": ("vi", endings(xquad(data, "vi"))),
        "qa-en": ("en", questions(data, "en")),
        "qa-hi": ("hi", questions(data, "hi")),
        "qa-ja": ("ja", japanese_questions(data)),
        "qa-vi": ("vi", questions(data, "vi")),
        "humaneval": ("code", humaneval(data)),
        "humaneval-infill": ("code", infill(data)),
        "mbpp": ("code", mbpp(data)),
    }


def main() -> None:
    """Write every set into OUT."""
    data, out = (Path(argument) for argument in sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    for name, (language, rows) in texts(data).items():
        _write(out, name, language, ({"id": identity, "text": text} for identity, text in rows))
    for name, (language, items) in tasks(data).items():
        _write(out, name, language, items)


def _write(out: Path, name: str, language: str, items: Items) -> None:
    """Write a set; a file of DATA that is absent leaves it out."""
    try:
        rows = [canonical({"language": language, **item}) + b"\n" for item in items]
    except FileNotFoundError as error:
        sys.stdout.write(f"{name:<16} left out: no {error.filename}\n")
        return
    content = b"".join(rows)
    atomic.write_bytes(out / f"{name}.jsonl", content)
    same = sha256(content) == pinned().get(f"{name}.jsonl")
    sys.stdout.write(f"{name:<16} {len(rows):5} items{'' if same else ', not the pinned ones'}\n")


def pinned() -> dict[str, str]:
    """Return the SHA-256 of every set that our results were measured on."""
    sums = package_folder() / "evaluate" / "tasks" / "SHA256SUMS"
    lines = (line.split() for line in sums.read_text(encoding="utf-8").splitlines())
    return {name: digest for digest, name in lines}


if __name__ == "__main__":
    main()
