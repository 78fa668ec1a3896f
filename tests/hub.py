"""A Hub on 127.0.0.1 that the real clients take for the real one through ``HF_ENDPOINT``, with faults to switch on."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from hub_store import Refused, Store, blob_id, entries

WRITER, READER, OUTSIDER = "hf_writer", "hf_reader", "hf_outsider"
"""Tokens: a member who may write, the same member's token that may only read, somebody outside every organisation."""

KINDS = ("model", "dataset", "space")


@dataclass
class Faults:
    """What goes wrong, until it is switched off again.

    Attributes:
        unavailable: Share of requests answered 503 instead of being served.
        seed: Of the draws that choose them.
        cut_uploads: How many of the next commits lose their connection in mid-upload; nothing is stored.
        lost_answers: How many of the next commits are stored, but lose their connection before the answer.
        seconds: How long every answer takes.
    """

    unavailable: float = 0.0
    seed: int = 0
    cut_uploads: int = 0
    lost_answers: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.draws = random.Random(self.seed)


class LoopbackHub(Store):
    """Models, data sets and spaces in memory, served on an ephemeral port of 127.0.0.1.

    Attributes:
        faults: What goes wrong.
        requests: (method, path) of every request, in order.
        url: What ``HF_ENDPOINT`` is set to.
    """

    def __init__(self) -> None:
        self.faults, self.requests, self.lock = Faults(), [], threading.RLock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": self}))
        self.server.daemon_threads = True
        super().__init__(f"http://127.0.0.1:{self.server.server_port}")

    @contextmanager
    def running(self) -> Iterator[LoopbackHub]:
        """Serve in a thread for as long as this lasts."""
        thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.server.shutdown()
            self.server.server_close()
            thread.join(10)


class Handler(BaseHTTPRequestHandler):
    """Turns requests into calls of the Hub's methods, and lets them go wrong."""

    hub: LoopbackHub
    protocol_version = "HTTP/1.1"
    users = {WRITER: ("writer", "write"), READER: ("writer", "read"), OUTSIDER: ("outsider", "write")}

    def log_message(self, *args: object) -> None:
        """Print nothing."""

    def handle_one_request(self) -> None:
        """Serve one request; a client that goes away is no error."""
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        hub, faults, size = self.hub, self.hub.faults, int(self.headers.get("Content-Length") or 0)
        is_commit = "/commit/" in self.path
        with hub.lock:
            hub.requests.append((self.command, self.path))
            cut = is_commit and faults.cut_uploads > 0
            faults.cut_uploads -= cut
            unavailable = not cut and faults.draws.random() < faults.unavailable
        body = self.rfile.read(size // 2 if cut else size)
        if cut:
            self.close_connection = True
            return
        time.sleep(faults.seconds)
        if unavailable:
            self._answer(503, b"<html>Service Unavailable</html>", {"Content-Type": "text/html"})
            return
        try:
            with hub.lock:
                answer = self._route(body)
        except Refused as refusal:
            code = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message} if refusal.code else {}
            text = refusal.message if refusal.message.startswith("{") else json.dumps({"error": refusal.message})
            self._answer(refusal.status, text.encode(), {"Content-Type": "application/json", **code})
            return
        if is_commit and faults.lost_answers > 0:
            faults.lost_answers -= 1
            self.close_connection = True
            return
        if isinstance(answer, tuple):
            self._file(*answer)
        else:
            self._answer(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _route(self, body: bytes) -> dict | list | tuple[str, bytes]:
        hub, url = self.hub, urlsplit(self.path)
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        query = parse_qs(url.query)
        user = self.users.get(self.headers.get("Authorization", "").removeprefix("Bearer "))
        routes: dict[str, Callable] = {
            "api/whoami-v2": lambda: hub.whoami(user),
            "api/repos/create": lambda: hub.create(user, json.loads(body)),
            "api/validate-yaml": lambda: hub.validate(json.loads(body)),
        }
        if "/".join(parts) in routes:
            return routes["/".join(parts)]()
        if parts == ["api", "models"]:
            return hub.listed(query["author"][0], query.get("filter", []))
        if parts[:2] == ["api", "organizations"]:
            return hub.organization(parts[2])
        kind = next((kind for kind in KINDS if f"{kind}s" in (parts[0], parts[1:2] and parts[1])), "model")
        if parts[0] != "api":
            at = 1 if parts[0] == f"{kind}s" else 0
            if parts[at + 2 : at + 3] != ["resolve"]:
                raise Refused(404, f"No page {url.path}")
            oid, files = hub.repo(kind, "/".join(parts[at : at + 2])).at(parts[at + 3])
            path = "/".join(parts[at + 4 :])
            if path not in files:
                raise Refused(404, f"{path} does not exist", "EntryNotFound")
            return oid, files[path]
        name, what, rest = "/".join(parts[2:4]), parts[4] if len(parts) > 4 else "revision", parts[5:]
        revision = rest[0] if rest else "main"
        if what == "revision":
            return hub.info(kind, name, revision)
        if what == "refs":
            main = {"name": "main", "ref": "refs/heads/main", "targetCommit": hub.repo(kind, name).commits[-1][0]}
            return {"branches": [main], "converts": [], "tags": [], "pullRequests": []}
        if what == "tree":
            return hub.tree(kind, name, revision, "/".join(rest[1:]), query.get("recursive", [""])[0].lower() == "true")
        if what == "paths-info":
            is_json = "json" in self.headers.get("Content-Type", "")
            asked = json.loads(body)["paths"] if is_json else parse_qs(body.decode()).get("paths", [])
            found = entries(hub.repo(kind, name).at(revision)[1])
            return [found[path] for path in asked if path in found]
        if what == "preupload":
            return hub.preupload(user, kind, name, revision, json.loads(body), "create_pr" in query)
        if what == "commit":
            return hub.commit(user, kind, name, [json.loads(line) for line in body.splitlines()], "create_pr" in query)
        if what == "discussions":
            return hub.discussions(kind, name, query["status"][0])
        raise Refused(404, f"This Hub has no {url.path}")

    def _file(self, oid: str, content: bytes) -> None:
        headers = {"ETag": f'"{blob_id(content)}"', "X-Repo-Commit": oid, "Accept-Ranges": "bytes"}
        wanted = self.headers.get("Range", "").removeprefix("bytes=")
        if wanted:
            first, _, last = wanted.partition("-")
            start, end = int(first), min(int(last or len(content)), len(content) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
            content = content[start : end + 1]
        self._answer(206 if wanted else 200, content, {"Content-Type": "application/octet-stream", **headers})

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
