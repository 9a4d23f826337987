"""A model behind a URL that speaks OpenAI's /v1/completions, with `echo` and `logprobs`."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aurora_release.errors import AuroraError
from aurora_release.evaluate.likelihood import Likelihood, Window
from aurora_release.evidence import sha256

_NATS = 1.4426950408889634
"""Bits in a nat."""
_PROMPTS = 8
"""Prompts of one request: what `aurora serve` takes."""
_SECONDS = 300.0
_TRIES, _LONGEST_WAIT = 8, 30.0
_BUSY = (429, 503)


@dataclass(frozen=True)
class RemoteModel:
    """What a URL serves, and the tokenizer that its token ids are of."""

    id: str
    """The name the server gives it."""
    tokenizer: Any
    template_digest: str | None
    longest: int | None
    fingerprint: str | None
    """What `aurora serve` says of its weights; None where another server is asked."""
    url: str
    """Ends in `/v1/`."""
    headers: Mapping[str, str] = field(repr=False)

    def likelihoods(self, windows: Sequence[Window], batch_tokens: int) -> list[Likelihood]:
        """Return the likelihood of each window; the server batches as it likes."""
        found: list[Likelihood] = []
        for start in range(0, len(windows), _PROMPTS):
            some = windows[start : start + _PROMPTS]
            prompts = [list(window.ids) for window in some]
            asked = {
                "prompt": prompts,
                "max_tokens": 1,
                "temperature": 0,
                "echo": True,
                "logprobs": 1,
            }
            choices = self.complete(asked)
            found += [self._likelihood(*each) for each in zip(some, choices, strict=True)]
        return found

    def complete(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the choices of /v1/completions in their order.

        Raises:
            AuroraError: the server cannot be reached or refuses.
        """
        asked = {"model": self.id, **asked}
        choices = _listed(self.url, self.headers, "completions", "choices", asked)
        return sorted(choices, key=lambda choice: int(choice["index"]))

    def _likelihood(self, window: Window, choice: dict[str, Any]) -> Likelihood:
        if choice["finish_reason"] == "content_filter":
            raise AuroraError(
                f"The filter of {self.url} blocked an evaluation text, so nothing can "
                "be scored there. Serve the model with a policy that allows, or name its folder."
            )
        listed = choice.get("logprobs") or {}
        values, top = listed.get("token_logprobs") or (), listed.get("top_logprobs") or ()
        if len(values) < len(window.ids):
            raise AuroraError(
                f"{self.url} does not score prompts: its /v1/completions gave "
                f"{len(values)} logprobs for {len(window.ids)} tokens with `echo`. "
                "aurora serve and vLLM do."
            )
        counted = range(window.skip + 1, len(window.ids))
        greedy = all(values[place] >= max(top[place].values()) for place in counted)
        return Likelihood(-_NATS * sum(values[place] for place in counted), greedy)


def connect(url: str, tokenizer: Path, key: str | None = None) -> RemoteModel:
    """Return the one model at a URL (with or without `/v1`); `tokenizer` is a model folder.

    Raises:
        AuroraError: nothing answers there, or the folder has no tokenizer.
    """
    from aurora_release.evaluate.load import load_tokenizer

    base = url.rstrip("/").removesuffix("/v1") + "/v1/"
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    found = _listed(base, headers, "models", "data")[0]
    said = load_tokenizer(tokenizer)
    template = said.chat_template
    first = {"model": found["id"], "prompt": "1", "max_tokens": 1, "temperature": 0}
    return RemoteModel(
        id=found["id"],
        tokenizer=said,
        template_digest=sha256(template.encode()) if template else None,
        longest=_scored(found.get("max_model_len")),
        fingerprint=_fingerprint(_answer(base, headers, "completions", first)),
        url=base,
        headers=headers,
    )


def _fingerprint(reply: Mapping[str, Any]) -> str | None:
    """Return what identifies the weights; elsewhere it names the server's build, not the model."""
    said = str(reply.get("system_fingerprint"))
    return said if said.startswith("aurora-") else None


def _scored(longest: int | None) -> int | None:
    """Return the tokens before the last one that a request can hold, with one to generate."""
    return None if longest is None else longest - 2


def _answer(
    url: str, headers: Mapping[str, str], route: str, asked: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the JSON that a route answers; it is posted where something is asked."""
    import httpx

    method, headers = "GET" if asked is None else "POST", dict(headers)
    try:
        for _ in range(_TRIES):
            reply = httpx.request(
                method, url + route, json=asked, headers=headers, timeout=_SECONDS
            )
            if reply.status_code not in _BUSY:
                break
            time.sleep(_wait(reply.headers.get("retry-after", "")))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise AuroraError(
            f"{url} does not answer ({error or type(error).__name__}): "
            "start the server, or name another address."
        ) from None
    if reply.status_code != httpx.codes.OK:
        said = reply.text[:300].replace("\n", " ")
        raise AuroraError(f"{url}{route} answers {reply.status_code}: {said}")
    try:
        content: dict[str, Any] = dict(reply.json())
    except (ValueError, TypeError):
        raise _stranger(url + route) from None
    return content


def _wait(said: str) -> float:
    """Return the seconds after which a busy server wants to be asked again; it may not say."""
    return min(float(said), _LONGEST_WAIT) if said.isdecimal() else 1.0


def _listed(
    url: str, headers: Mapping[str, str], route: str, key: str, asked: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Return the objects that a route lists, at least one."""
    found = _answer(url, headers, route, asked).get(key)
    if (
        not isinstance(found, list)
        or not found
        or not all(isinstance(each, dict) for each in found)
    ):
        raise _stranger(url + route)
    return found


def _stranger(url: str) -> AuroraError:
    return AuroraError(
        f"{url} answers, but not as OpenAI's protocol does: name the address of a model server, "
        "up to /v1."
    )
