"""The client code that the README shows, run as it stands there."""

import re

from tests.documents import ROOT


def test_the_clients_of_the_readme_get_an_answer(server, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
    parts = code.replace("http://127.0.0.1:8000", server).split("\nfrom huggingface_hub")
    assert len(parts) == 2
    for part in (parts[0], f"from huggingface_hub{parts[1]}"):
        exec(part, {})
        assert capsys.readouterr().out
