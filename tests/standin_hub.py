"""A stand-in for the public Hub, which cannot be reached from a test: real HTTP, on a real port.

It speaks as much of the Hub's API as the real `huggingface_hub` client needs to create, fill, tag,
list and download model repositories over Git LFS (not Xet), and it can be told to fail. By hand:

    python -m tests.standin_hub --port 8400     # then HF_ENDPOINT, HF_TOKEN, HF_HUB_DISABLE_XET=1
"""

import argparse
import asyncio
import base64
import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse

from tests.running import running
from tests.standin_state import Commit, File, Repo, StandIn

TOKEN = "hf_" + "standin" * 4 + "abcdef"  # belongs to nobody

_PAGE = 20  # entries of a page of a tree; the Hub has 1000
_SAMPLE = 10 * 2**20


class Faulty:
    """Wraps the app: counts calls, and spoils those that a fault fits."""

    def __init__(self, app: FastAPI, hub: StandIn) -> None:
        self.app, self.hub, self.state = app, hub, app.state

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        call = f"{scope['method']} {scope['path']}"
        self.hub.calls.append(call)
        fault = next((f for f in self.hub.faults if f.times and f.where in call), None)
        if fault is None:
            await self.app(scope, receive, send)
            return
        fault.times -= 1
        if fault.how == "move":
            self.hub.move()
            await self.app(scope, receive, send)
        elif fault.how == "stall":
            await asyncio.sleep(5)
        elif fault.how == "drop":
            await receive()  # a part of what is being sent
            receive.__self__.transport.abort()
        else:
            await JSONResponse({"error": "Internal Error"}, 503)(scope, receive, send)


def create_app(hub: StandIn) -> Any:
    """Return the app of a stand-in."""
    app = FastAPI()
    app.add_exception_handler(Refusal, lambda request, refusal: refusal.response)
    _repositories(app, hub)
    _uploads(app, hub)
    _storage(app, hub)
    _downloads(app, hub)
    _collections(app, hub)
    return Faulty(app, hub)


class Refusal(Exception):
    """The Hub's answer to a call that it does not do."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": message}
        self.response = JSONResponse({"error": message}, status, headers=headers)


def _repo(request: Request, hub: StandIn, write: bool = False) -> Repo:
    """Return the repository in a path, for those who may read or write it."""
    name = "{owner}/{repo}".format(**request.path_params)
    known = _known(request, needed=write)
    if name not in hub.repos or (hub.repos[name].private and not known):
        raise Refusal(404 if known else 401, "Repository not found", "RepoNotFound")
    return hub.repos[name]


def _known(request: Request, needed: bool = True) -> bool:
    """Return whether a call brings the token."""
    known = request.headers.get("authorization") == f"Bearer {TOKEN}"
    if needed and not known:
        raise Refusal(401, "Invalid username or password.")
    return known


def _commit(request: Request, hub: StandIn) -> Commit:
    """Return the commit in a path."""
    revision = request.path_params.get("revision", "main")
    commit = _repo(request, hub).at(revision)
    if commit is None:
        raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    return commit


def _repositories(app: FastAPI, hub: StandIn) -> None:
    @app.post("/api/repos/create")
    async def create(request: Request) -> Response:
        _known(request)
        asked = await request.json()
        name = f"{asked['organization'] or 'aino'}/{asked['name']}"
        url = f"{request.base_url}{name}"
        if name in hub.repos:
            return JSONResponse({"error": "You already created this model repo", "url": url}, 409)
        hub.repos[name] = Repo(asked.get("visibility") == "private")
        first = hub.keep(b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n")
        hub.repos[name].add("initial commit", {".gitattributes": first})
        return JSONResponse({"url": url, "id": name})

    @app.get("/api/models/{owner}/{repo}")
    @app.get("/api/models/{owner}/{repo}/revision/{revision}")
    async def info(request: Request, owner: str, repo: str) -> Response:
        name, commit = f"{owner}/{repo}", _commit(request, hub)
        return JSONResponse(
            {"id": name, "modelId": name, "sha": commit.oid, "private": hub.repos[name].private,
             "tags": [], "downloads": 0, "likes": 0,
             "siblings": [{"rfilename": path} for path in sorted(commit.files)]}
        )  # fmt: skip

    @app.get("/api/models/{owner}/{repo}/refs")
    async def refs(request: Request) -> Response:
        found = _repo(request, hub)
        head = {"name": "main", "ref": "refs/heads/main", "targetCommit": found.commits[-1].oid}
        tags = [{"name": tag, "ref": f"refs/tags/{tag}", "targetCommit": oid}
                for tag, oid in found.tags.items()]  # fmt: skip
        return JSONResponse({"branches": [head], "converts": [], "tags": tags})

    @app.post("/api/models/{owner}/{repo}/tag/{revision}")
    async def tag(request: Request) -> Response:
        name, tags = (await request.json())["tag"], _repo(request, hub, write=True).tags
        if name in tags:
            raise Refusal(409, "Tag reference exists already")
        tags[name] = _commit(request, hub).oid
        return JSONResponse({})


def _uploads(app: FastAPI, hub: StandIn) -> None:
    @app.post("/api/validate-yaml")
    async def validate(request: Request) -> Response:
        text = (await request.json())["content"]
        try:
            yaml.safe_load(text.split("---\n")[1])
        except (yaml.YAMLError, IndexError) as error:
            return JSONResponse({"errors": [{"message": str(error)}], "warnings": []}, 400)
        return JSONResponse({"errors": [], "warnings": []})

    @app.post("/api/models/{owner}/{repo}/preupload/{revision}")
    async def preupload(request: Request) -> Response:
        asked, there = await request.json(), _repo(request, hub, write=True).commits[-1].files
        return JSONResponse({"files": [_mode(each, there) for each in asked["files"]]})

    @app.post("/api/models/{owner}/{repo}/commit/{revision}")
    async def commit(request: Request, owner: str, repo: str) -> Response:
        found = _repo(request, hub, write=True)
        header, *changes = [json.loads(line) for line in (await request.body()).splitlines()]
        if header["value"].get("parentCommit") not in (None, found.commits[-1].oid):
            raise Refusal(412, "A commit has happened since. Please refresh and try again.")
        files = dict(found.commits[-1].files)
        for change in changes:
            _apply(hub, files, change["key"], change["value"])
        oid = found.add(header["value"]["summary"], files).oid
        url = f"{request.base_url}{owner}/{repo}/commit/{oid}"
        return JSONResponse({"success": True, "commitOid": oid, "commitUrl": url})


def _storage(app: FastAPI, hub: StandIn) -> None:
    @app.post("/{owner}/{repo}.git/info/lfs/objects/batch")
    async def batch(request: Request) -> Response:
        _repo(request, hub, write=True)
        asked = await request.json()
        found = [
            each if (hub.blobs / each["oid"]).exists() else
            {**each, "actions": {"upload": {"href": f"{request.base_url}storage/{each['oid']}"}}}
            for each in asked["objects"]
        ]  # fmt: skip
        return JSONResponse({"transfer": "basic", "objects": found})

    @app.put("/storage/{oid}")
    async def store(request: Request, oid: str) -> Response:
        digest = hashlib.sha256()
        with tempfile.NamedTemporaryFile(dir=hub.blobs, delete=False) as file:
            async for part in request.stream():
                digest.update(part)
                file.write(part)
        if digest.hexdigest() != oid:
            Path(file.name).unlink()
            raise Refusal(400, "the digest is another")
        Path(file.name).rename(hub.blobs / oid)
        hub.stored.append(oid)
        return Response()

    @app.api_route("/storage/{oid}", methods=["GET", "HEAD"])
    async def stored(oid: str) -> Response:
        return FileResponse(hub.blobs / oid, headers={"ETag": f'"{oid}"'})


def _mode(asked: dict[str, Any], there: dict[str, File]) -> dict[str, Any]:
    """Return how a file is to be sent: binary and large ones over LFS."""
    binary = b"\0" in base64.b64decode(asked["sample"]) or asked["size"] > _SAMPLE
    lfs = binary or asked["path"].endswith((".safetensors", ".gguf"))
    old = there.get(asked["path"])
    oid = None if old is None else old.sha256 if old.lfs else old.oid
    return {"path": asked["path"], "uploadMode": "lfs" if lfs else "regular",
            "shouldIgnore": False, "oid": oid}  # fmt: skip


def _apply(hub: StandIn, files: dict[str, File], key: str, value: Any) -> None:
    """Apply one line of a commit to a tree."""
    path = value["path"]
    if key == "file":
        files[path] = hub.keep(base64.b64decode(value["content"]))
    elif key == "lfsFile" and (hub.blobs / value["oid"]).exists():
        files[path] = hub.kept(value["oid"])
    elif key == "deletedFile" and path in files:
        del files[path]
    else:
        raise Refusal(404, f"{key} {path}: there is no such file", "EntryNotFound")


def _downloads(app: FastAPI, hub: StandIn) -> None:
    @app.get("/api/models/{owner}/{repo}/tree/{revision}")
    async def tree(request: Request) -> Response:
        files = _commit(request, hub).files
        entries = [
            {"type": "file", "oid": file.oid, "size": file.size, "path": path,
             **({"lfs": {"oid": file.sha256, "size": file.size, "pointerSize": 134}}
                if file.lfs else {})}
            for path, file in sorted(files.items())
        ]  # fmt: skip
        start = int(request.query_params.get("cursor", 0))
        url = request.url.include_query_params(cursor=start + _PAGE)
        more = {"Link": f'<{url}>; rel="next"'} if len(entries) > start + _PAGE else {}
        return JSONResponse(entries[start : start + _PAGE], headers=more)

    @app.api_route("/{owner}/{repo}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
    async def resolve(request: Request, path: str) -> Response:
        commit = _commit(request, hub)
        file = commit.files.get(path)
        if file is None:
            raise Refusal(404, "Entry not found", "EntryNotFound")
        headers = {"X-Repo-Commit": commit.oid}
        if not file.lfs:
            headers["ETag"] = f'"{file.oid}"'
            return FileResponse(hub.blobs / file.sha256, headers=headers)
        headers |= {"X-Linked-Size": str(file.size), "X-Linked-ETag": f'"{file.sha256}"'}
        # large files are on another host, to which no token is sent
        storage = f"http://localhost:{request.url.port}/storage/{file.sha256}"
        return RedirectResponse(storage, 302, headers)


def _collections(app: FastAPI, hub: StandIn) -> None:
    @app.post("/api/collections")
    async def create(request: Request) -> Response:
        _known(request)
        asked = await request.json()
        slug = f"{asked['namespace']}/{asked['title'].lower().replace(' ', '-')}-64f9a55b"
        if slug in hub.collections:
            return JSONResponse({"error": "exists", "slug": slug}, 409)
        hub.collections[slug] = {
            "slug": slug, "title": asked["title"], "owner": {"name": asked["namespace"]},
            "items": [], "lastUpdated": "2024-03-30T00:00:00.000Z", "position": 0,
            "private": asked["private"], "theme": "blue", "upvotes": 0,
        }  # fmt: skip
        return JSONResponse(hub.collections[slug])

    @app.get("/api/collections/{owner}/{slug}")
    async def collection(owner: str, slug: str) -> Response:
        return JSONResponse(hub.collections[f"{owner}/{slug}"])

    @app.post("/api/collections/{owner}/{slug}/items")
    async def add(request: Request, owner: str, slug: str) -> Response:
        _known(request)
        asked = (await request.json())["item"]
        items = hub.collections[f"{owner}/{slug}"]["items"]
        if any(item["id"] == asked["id"] for item in items):
            return JSONResponse({"error": "already in the collection"}, 409)
        items.append({"_id": str(len(items)), "position": len(items), **asked})
        return JSONResponse(hub.collections[f"{owner}/{slug}"])


@contextmanager
def standin(blobs: Path) -> Iterator[tuple[StandIn, str]]:
    """Run a stand-in and give it with its address."""
    hub = StandIn(blobs)
    with running(create_app(hub)) as url:
        yield hub, url


def main() -> None:
    """Run a stand-in until Ctrl-C."""
    import uvicorn

    parser = argparse.ArgumentParser(description="A stand-in for the public Hub.")
    parser.add_argument("--port", type=int, default=8400)
    port = parser.parse_args().port
    with tempfile.TemporaryDirectory() as blobs:
        print(  # noqa: T201
            f"export HF_ENDPOINT=http://127.0.0.1:{port} HF_TOKEN={TOKEN} HF_HUB_DISABLE_XET=1",
            flush=True,
        )
        uvicorn.run(create_app(StandIn(Path(blobs))), port=port, log_level="warning")


if __name__ == "__main__":
    main()
