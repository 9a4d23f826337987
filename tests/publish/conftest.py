"""A finished release, and the real client of the Hub pointed at a stand-in."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.card.conftest import recipe, released, small_run
from tests.standin_hub import TOKEN, StandIn, standin

__all__ = ["recipe", "released", "small_run"]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A stand-in that `huggingface_hub` in this process takes for the Hub."""
    from huggingface_hub import close_session, constants

    (tmp_path / "blobs").mkdir()
    with standin(tmp_path / "blobs") as (found, url):
        for name, value in {
            "ENDPOINT": url,
            "HUGGINGFACE_CO_URL_TEMPLATE": url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_CACHE": str(tmp_path / "home/hub"),
        }.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield found
        close_session()
