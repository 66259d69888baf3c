"""Fixtures shared by all tests: the bundled bank, apart from the host's, and a stub of the Hub."""

from __future__ import annotations

import base64
import gc
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distributions
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest

# Small matrices on shared machines: one thread is as fast and never slower than expected.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Torch, pandas and the tests themselves stay: to look through their objects for garbage again and
# again took a quarter of the tests' time.
gc.set_threshold(50_000, 20, 20)

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "tcga"
SHARED = (".json", ".safetensors", ".md")  # what of a package goes to the Hub


def install(site: Path, project: Path, *, copy: bool = False) -> Path:
    """Put a plugin project into a folder as pip would, with a hand-made ``dist-info``.

    Returns the folder of the package's files; linked to the project's unless ``copy`` is set.
    """
    import shutil
    import tomllib

    about = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    package = about["name"].replace("-", "_")
    target = site / package
    if copy:
        shutil.copytree(project / package, target)
    else:
        target.symlink_to(project / package)
    info = site / f"{package}-{about['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n"
    )
    groups = about["entry-points"].items()
    lines = [f"[{g}]\n" + "".join(f"{k} = {v}\n" for k, v in e.items()) for g, e in groups]
    (info / "entry_points.txt").write_text("\n".join(lines))
    files = sorted(path.relative_to(target) for path in target.iterdir() if path.is_file())
    (info / "RECORD").write_text("".join(f"{package}/{file},,\n" for file in files))
    return target


@pytest.fixture(scope="session", autouse=True)
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store of the tests' own, empty, in place of the host's; returns its folder."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CODENOISE_HOME", str(folder))
        yield folder


@pytest.fixture
def only_these(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Make discovery see the distributions of one folder and nothing of the host's."""

    def apply(site: Path) -> None:
        def there(path: list[str] | None = None) -> object:
            return distributions(path=path if path is not None else [str(site)])

        monkeypatch.setattr("codenoise.registry.installed.discovery.distributions", there)

    return apply


# What imports torch is imported in the fixture: the process that hands out tests needs none of it.
@pytest.fixture(scope="session")
def gaussian_expert() -> Callable[..., Any]:
    """Build an expert of modality ``condition`` -> ``x`` that knows its Gaussian exactly."""
    from exact_experts import gaussian_expert

    return gaussian_expert


@pytest.fixture(scope="session")
def latent_ensemble() -> Callable[..., Any]:
    """Build an ensemble of experts, settings and calibration, and of no spaces."""
    from exact_experts import LatentEnsemble

    return partial(LatentEnsemble, {})


@pytest.fixture(scope="session")
def bank_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every bundled plugin installed."""
    site = tmp_path_factory.mktemp("site")
    for project in sorted((ROOT / "plugins").glob("codenoise-*")):
        install(site, project)
    return site


@pytest.fixture(scope="session")
def example_ensemble(bank_site: Path) -> Any:
    """The example's ensemble, of the bundled bank; not to be changed."""
    import codenoise

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "codenoise.registry.installed.discovery.distributions",
            lambda path=None: distributions(path=path or [str(bank_site)]),
        )
        return codenoise.Ensemble.from_file(EXAMPLE / "ensemble.toml")


@pytest.fixture
def bank(bank_site: Path, only_these: Callable[[Path], None]) -> Path:
    """The bundled bank is what is installed; returns the folder."""
    only_these(bank_site)
    return bank_site


TOKEN = "hf_" + "a" * 34


@dataclass
class Repository:
    """A model repository of the stub: its files, and how it misbehaves.

    ``stated`` and ``served`` override the size that is listed and the bytes that come for a path;
    ``cuts`` says how many times its connection breaks off half way.
    """

    files: dict[str, bytes]
    commit: str = "c0ffee" + 34 * "0"
    refs: tuple[str, ...] = ("main",)
    access: str = "open"  # or "gated", "private"
    tags: tuple[str, ...] = ("codenoise",)
    stated: dict[str, int] = field(default_factory=dict)
    served: dict[str, bytes] = field(default_factory=dict)
    cuts: dict[str, int] = field(default_factory=dict)
    sizes: bool = True  # whether the listing has them, or only the tree
    delay: float = 0.0


@dataclass
class HubStub:
    """A server on the loopback that answers what the Hub answers; ``log`` has what was asked."""

    url: str
    repositories: dict[str, Repository] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)  # what came through LFS, by checksum
    messages: list[str] = field(default_factory=list)  # of the commits that were made
    log: list[str] = field(default_factory=list)
    page: bytes = b""  # where set, every request gets this page, as behind a hotel's login
    refusals: dict[str, int] = field(default_factory=dict)  # word of a path to status of writing


def _mode(file: dict[str, Any]) -> dict[str, Any]:
    """How the Hub takes a file: weights through LFS, all others within the commit."""
    mode = "lfs" if file["path"].endswith(".safetensors") else "regular"
    return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}


def _hub_handler(stub: HubStub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            stub.log.append(f"{self.command} {self.path}")
            path, _, query = self.path.partition("?")
            words = [unquote(word) for word in path.strip("/").split("/")]
            if stub.page:
                self.answer(200, stub.page)
            elif words == ["api", "models"]:
                self.search(parse_qs(query))
            elif words[:2] == ["api", "models"]:
                self.repository("/".join(words[2:4]), words[5:6], [])
            else:
                self.repository("/".join(words[:2]), words[3:4], words[4:])

        do_HEAD = do_GET  # noqa: N815 (the name that http.server calls)

        def do_POST(self) -> None:
            stub.log.append(f"{self.command} {self.path}")
            content = self.rfile.read(int(self.headers["Content-Length"]))
            words = self.path.partition("?")[0].strip("/").split("/")
            status = next((s for word, s in stub.refusals.items() if word in words), 200)
            if status == 200 and self.headers.get("authorization") != f"Bearer {TOKEN}":
                status = 401
            if status != 200:
                self.answer(status, b'{"error": "so the stub was told", "errors": []}')
            elif words == ["api", "repos", "create"]:
                asked = json.loads(content)
                name = f"{asked['organization']}/{asked['name']}"
                access = "private" if asked.get("visibility") == "private" else "open"
                stub.repositories[name] = Repository({".gitattributes": b""}, access=access)
                self.answer_json({"url": f"{stub.url}/{name}"})
            elif words[-1] == "batch":
                uploads = [
                    one | {"actions": {"upload": {"href": f"{stub.url}/lfs/{one['oid']}"}}}
                    for one in json.loads(content)["objects"]
                ]
                self.answer_json({"objects": uploads})
            elif "preupload" in words:
                self.answer_json({"files": [_mode(f) for f in json.loads(content)["files"]]})
            elif "commit" in words:
                self.commit("/".join(words[2:4]), [json.loads(x) for x in content.splitlines()])
            else:
                self.answer_json({})  # the card's front matter is in order

        def do_PUT(self) -> None:
            stub.log.append(f"{self.command} {self.path}")
            content = self.rfile.read(int(self.headers["Content-Length"]))
            stub.uploads[hashlib.sha256(content).hexdigest()] = content
            self.answer(200)

        def commit(self, name: str, lines: list[dict[str, Any]]) -> None:
            repository = stub.repositories[name]
            (header, *operations) = lines
            if header["value"].get("parentCommit") not in (None, repository.commit):
                self.answer(412)
                return
            for line in operations:
                kind, value = line["key"], line["value"]
                if kind == "file":
                    repository.files[value["path"]] = base64.b64decode(value["content"])
                elif kind == "lfsFile":
                    repository.files[value["path"]] = stub.uploads[value["oid"]]
                else:
                    del repository.files[value["path"]]
            stub.messages.append(header["value"]["summary"])
            known = f"{repository.commit}{sorted(repository.files.items())}"
            repository.commit = hashlib.sha1(known.encode()).hexdigest()
            url = f"{stub.url}/{name}/commit/{repository.commit}"
            self.answer_json({"commitUrl": url, "commitOid": repository.commit})

        def answer_json(self, content: object) -> None:
            self.answer(200, json.dumps(content).encode())

        def search(self, query: dict[str, list[str]]) -> None:
            found = [
                {"id": name, "tags": list(repository.tags)}
                for name, repository in stub.repositories.items()
                if set(query.get("filter", [])) <= set(repository.tags)
                and query.get("search", [""])[0] in name
            ]
            self.answer(200, json.dumps(found).encode())

        def repository(self, name: str, revision: list[str], path: list[str]) -> None:
            found = stub.repositories.get(name)
            known = self.headers.get("authorization") == f"Bearer {TOKEN}"
            if found is None or (found.access == "private" and not known):
                self.answer(404, error="RepoNotFound")
                return
            time.sleep(found.delay)
            if found.access == "gated" and (path or not known):
                self.answer(403, error="GatedRepo")
            elif revision and revision[0] not in (*found.refs, found.commit):
                self.answer(404, error="RevisionNotFound")
            elif not path:
                sizes = {p: found.stated.get(p, len(c)) for p, c in found.files.items()}
                files = [
                    {"rfilename": p} | ({"size": size} if found.sizes else {})
                    for p, size in sizes.items()
                ]
                tree = [{"type": "file", "path": p, "size": s, "oid": ""} for p, s in sizes.items()]
                private = found.access == "private"
                about = {"id": name, "sha": found.commit, "siblings": files, "private": private}
                self.answer_json(tree if "/tree/" in self.path else about)
            elif "/".join(path) not in found.files:
                self.answer(404, error="EntryNotFound")
            else:
                file = "/".join(path)
                whole = found.files[file]
                content = whole if self.command == "HEAD" else found.served.get(file, whole)
                etag = hashlib.sha256(content).hexdigest()
                cut = self.command == "GET" and found.cuts.get(file, 0) > 0
                found.cuts[file] = found.cuts.get(file, 0) - cut
                sent = content[: len(content) // 2] if cut else content
                about = {"ETag": f'"{etag}"', "X_Repo_Commit": found.commit}
                self.answer(200, sent, length=len(content), **about)

        def answer(
            self, status: int, body: bytes = b"", error: str = "", length: int = -1, **more: str
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if length < 0 else length))
            if error:
                self.send_header("X-Error-Code", error)
            for key, value in more.items():
                self.send_header(key.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    return Handler


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStub]:
    """The Hub is a stub on the loopback, the store an empty one of this test, nobody logged in."""
    from huggingface_hub import constants

    stub = HubStub("")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _hub_handler(stub))
    stub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("CODENOISE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_ENDPOINT", stub.url)  # for processes of their own; here it was read
    template = f"{stub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "ENDPOINT", stub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")  # a protocol of its own, which no stub speaks
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield stub
    server.shutdown()
    server.server_close()


@pytest.fixture
def repository() -> Callable[..., Repository]:
    """``repository(expert)``: a bundled expert as its author would put it on the Hub."""

    def apply(expert: str = "cna-to-wsi", *, spaces: bool = True, **fields: Any) -> Repository:
        folder = next(
            (ROOT / "plugins" / f"codenoise-expert-{expert}").glob("*/expert.json")
        ).parent
        files = {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix in SHARED}
        manifest = json.loads(files["expert.json"])
        for ref in (*manifest["condition"], manifest["target"]) if spaces else ():
            inner = ROOT / "plugins" / f"codenoise-space-{ref['name']}"
            for path in next(inner.glob("*/space.json")).parent.iterdir():
                if path.suffix in SHARED:
                    files[f"spaces/{ref['name']}/{path.name}"] = path.read_bytes()
        return Repository(files, **fields)

    return apply
