"""Names on the hub, against a hub of our own on the loopback address."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from sparsefield.data import load
from sparsefield.data.hub import fetch
from sparsefield.errors import InvalidInput

SHA = "0123456789abcdef0123456789abcdef01234567"
LOAD = """
import json, sys
from sparsefield.data import load
from sparsefield.errors import SparsefieldError
try:
    print(json.dumps({"digest": load(sys.argv[1]).digest, "asked": "datasets" in sys.modules}))
except SparsefieldError as error:
    print(json.dumps({"error": str(error)}))
"""


class Hub(http.server.BaseHTTPRequestHandler):
    """The part of the hub's interface that a download uses, for one dataset."""

    folder: Path
    requests: list[str]

    def do_GET(self) -> None:
        self.requests.append(self.path)
        path = self.path.split("?")[0]
        if path.startswith("/api/datasets/owner/shapes/tree/"):
            self.reply([self.entry(file) for file in self.files()])
        elif path.startswith("/api/datasets/owner/shapes"):
            siblings = [{"rfilename": self.name(file)} for file in self.files()]
            self.reply({"id": "owner/shapes", "sha": SHA, "siblings": siblings})
        elif "/datasets/owner/shapes/resolve/" in path:
            self.reply((self.folder / path.split(f"{SHA}/")[1]).read_bytes())
        elif path.startswith("/api/datasets/owner/secret"):
            self.missing("GatedRepo", 403)
        else:
            self.missing("RepoNotFound", 404)

    do_HEAD = do_GET  # noqa: N815

    def files(self) -> list[Path]:
        return [file for file in self.folder.rglob("*") if file.is_file()]

    def name(self, file: Path) -> str:
        return file.relative_to(self.folder).as_posix()

    def entry(self, file: Path) -> dict[str, Any]:
        size = file.stat().st_size
        return {"type": "file", "path": self.name(file), "size": size, "oid": f"{size:040x}"}

    def reply(self, content: Any) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{len(body):040x}"')
        self.send_header("X-Repo-Commit", SHA)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def missing(self, code: str, status: int) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


class Silent(Hub):
    """A hub that takes a request and never answers, if it can help it."""

    closing = threading.Event()

    def do_GET(self) -> None:
        self.requests.append("taken")
        if not self.closing.wait(60):
            self.requests.append("let go")

    do_HEAD = do_GET  # noqa: N815


@contextmanager
def serving(handler: type[Hub], folder: Path) -> Iterator[tuple[str, list[str]]]:
    requests: list[str] = []
    bound = type("Bound", (handler,), {"folder": folder, "requests": requests})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), bound)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        Silent.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
        Silent.closing.clear()


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that loads a name in a new process, as a user would."""

    def starter(name: str, endpoint: str, **environment: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-c", LOAD, name],
            env=os.environ | {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0"} | environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=600,
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return starter


@pytest.fixture
def point_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that makes this process take an address for the hub's."""

    def pointer(endpoint: str) -> None:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)

    return pointer


NOWHERE = "http://127.0.0.1:9"


def test_download_then_start_without_network(
    shapes: Path, own_cache: Path, start: Callable[..., dict[str, Any]]
) -> None:
    (shapes / "README.md").write_text("# shapes\n")
    (shapes / "unwanted.bin").write_bytes(b"never downloaded")
    with serving(Hub, shapes) as (endpoint, requests):
        first = start("owner/shapes", endpoint)
    assert first == {"digest": load(shapes).digest, "asked": True}
    assert not any("unwanted" in request for request in requests)
    assert start("owner/shapes", NOWHERE) == first | {"asked": False}
    # A damaged cache file is rebuilt from the hub's own cache, still without network.
    for path in own_cache.glob("*.safetensors"):
        path.write_bytes(b"")
    assert start("owner/shapes", NOWHERE, HF_HUB_OFFLINE="1") == first


def test_offline_by_choice(tmp_path: Path, start: Callable[..., dict[str, Any]]) -> None:
    with serving(Hub, tmp_path) as (endpoint, requests):
        error = start("mnist", endpoint, HF_HUB_OFFLINE="1")["error"]
    assert error.startswith("hub dataset 'ylecun/mnist' is not cached and HF_HUB_OFFLINE is set")
    assert "\n" not in error
    assert not requests


def test_hub_that_refuses(point_at: Callable[[str], None]) -> None:
    point_at(NOWHERE)
    with pytest.raises(InvalidInput, match="is not cached and the hub cannot be reached; connect"):
        load("cifar10")


def test_hub_that_never_answers(tmp_path: Path, point_at: Callable[[str], None]) -> None:
    with serving(Silent, tmp_path) as (endpoint, requests):
        point_at(endpoint)
        with pytest.raises(InvalidInput, match="the hub cannot be reached"):
            load("owner/shapes")
        assert set(requests) == {"taken"}  # who asked did not wait for the hub to let go


def test_no_such_dataset(tmp_path: Path, point_at: Callable[[str], None]) -> None:
    with serving(Hub, tmp_path) as (endpoint, _):
        point_at(endpoint)
        with pytest.raises(InvalidInput, match="'owner/shaqes' is neither an existing directory"):
            load("owner/shaqes")


def test_gated_dataset(tmp_path: Path, point_at: Callable[[str], None]) -> None:
    with serving(Hub, tmp_path) as (endpoint, _):
        point_at(endpoint)
        with pytest.raises(InvalidInput, match="'owner/secret' is gated; ask for access"):
            load("owner/secret")


def test_dataset_without_parquet(tmp_path: Path, point_at: Callable[[str], None]) -> None:
    folder = tmp_path / "csv"
    folder.mkdir()
    (folder / "train.csv").write_text("label\n0\n")
    with serving(Hub, folder) as (endpoint, requests):
        point_at(endpoint)
        with pytest.raises(InvalidInput, match="has no parquet files; save it as parquet"):
            fetch("owner/shapes")
    assert any("refs%2Fconvert%2Fparquet" in request for request in requests)
