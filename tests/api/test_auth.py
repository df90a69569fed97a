"""Keys: several, hashed, rotated; and none only on this machine."""

from __future__ import annotations

import hmac
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from api import auth
from api.auth import Keys, check_host_name, check_listening, digest, presented_key
from api.errors import ServiceError
from api.settings import Settings
from tests.api.conftest import ROOT, Server, Starter, body, environment, free_port, series


def test_two_keys_open_and_others_do_not(start: Starter) -> None:
    server = start(api_keys=f"{digest('one')},{digest('two')}", admin_keys=digest("chief"))
    sent = body(series(6), n_samples=1)
    for headers in ({"X-API-Key": "one"}, {"Authorization": "Bearer two"}, {"X-API-Key": "chief"}):
        assert server.impute(sent, headers=headers).status_code == 200
    for headers in ({}, {"X-API-Key": "three"}, {"Authorization": "Basic one"}, {"X-API-Key": ""}):
        answer = server.impute(sent, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.json()["error"]["code"] == "unauthorized"
    with server.client() as client:
        assert client.get("/models").status_code == 401
        assert client.get("/v2/models/demo").status_code == 401
        assert client.get("/health/live").status_code == 200
        assert client.get("/").status_code in (200, 404)
        assert client.post("/admin/reload").status_code == 401
        assert client.post("/admin/reload", headers={"X-API-Key": "one"}).status_code == 403
        assert client.post("/admin/reload", headers={"X-API-Key": "chief"}).status_code == 200
    for key in ("one", "two", "three", "chief", digest("one")):
        assert f'"{key}"' not in server.log


def test_keys_are_rotated_by_a_file_and_a_reload(start: Starter, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"# ours\napi {digest('old')}\nadmin {digest('chief')}  # on call\n")
    server = start(keys_file=keys)
    with server.client() as client:

        def status(key: str) -> int:
            return client.get("/models", headers={"X-API-Key": key}).status_code

        def reload() -> None:
            assert client.post("/admin/reload", headers={"X-API-Key": "chief"}).status_code == 200

        assert (status("old"), status("new")) == (200, 401)
        keys.write_text(f"api {digest('old')}\napi {digest('new')}\nadmin {digest('chief')}\n")
        reload()
        assert (status("old"), status("new")) == (200, 200)
        keys.write_text(f"api {digest('new')}\nadmin {digest('chief')}\n")
        reload()
        assert (status("old"), status("new")) == (401, 200)
        keys.write_text("nonsense\n")
        reload()
        assert (status("old"), status("new")) == (401, 200)


def test_a_key_instead_of_a_digest_is_refused_without_being_repeated() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(api_keys="my-secret-key")  # type: ignore[arg-type]
    assert "expected SHA-256 digests" in str(caught.value)


def test_every_digest_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, constant_time = [], hmac.compare_digest

    def compare(one: str, other: str) -> bool:
        seen.append(other)
        return constant_time(one, other)

    monkeypatch.setattr(auth.hmac, "compare_digest", compare)
    Keys((digest("a"), digest("b"), digest("c"))).check("a", admin=False)
    assert seen == [digest("a"), digest("b"), digest("c")]


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"x-api-key": "k"}, "k"),
        ({"authorization": "bearer k"}, "k"),
        ({"authorization": "Bearer "}, None),
        ({}, None),
    ],
)
def test_where_a_key_stands(headers: dict[str, str], key: str | None) -> None:
    assert presented_key(headers) == key


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org"])
def test_without_keys_it_does_not_listen_beyond_this_machine(host: str) -> None:
    with pytest.raises(ServiceError, match="this service has no keys"):
        check_listening(host, Keys(), Settings())
    check_listening(host, Keys(api=("0" * 64,)), Settings())
    check_listening(host, Keys(), Settings(allow_anonymous=True))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_is_served_without_keys(host: str) -> None:
    check_listening(host, Keys(), Settings())


def test_without_keys_foreign_names_are_not_answered() -> None:
    for name in ("localhost:8000", "127.0.0.1:8000", "[::1]:8000", "localhost"):
        check_host_name(name, Keys(), Settings())
    for name in ("evil.example:8000", "", "localhost.evil.example"):
        with pytest.raises(ServiceError):
            check_host_name(name, Keys(), Settings())


def test_the_command_refuses_an_open_address_without_keys(models_dir: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "api"],
        cwd=ROOT,
        env=environment(host="0.0.0.0", port=free_port(), models_dir=models_dir),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "without keys" in done.stderr


@pytest.mark.slow
def test_a_server_told_to_listen_everywhere_refuses_without_keys(start: Starter) -> None:
    """Also where the address was chosen by uvicorn's own command line."""
    command = ("-m", "uvicorn", "api.main:app", "--port", "{port}", "--host", "0.0.0.0")
    server = start(command=command)
    address = _own_address()
    if address is None:
        pytest.skip("needs an address beside loopback")
    port = server.url.rsplit(":", 1)[1]
    answer = httpx.get(f"http://{address}:{port}/models", trust_env=False)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "keys_needed"


def _own_address() -> str | None:
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
            address = str(probe.getsockname()[0])
        except OSError:
            return None
    return None if address.startswith("127.") else address


def test_the_docs_page_is_off_unless_asked_for(server: Server, start: Starter) -> None:
    with server.client() as client:
        assert client.get("/docs").status_code == 404
        assert client.get("/openapi.json").status_code == 200
    with start(docs_page=True).client() as client:
        assert client.get("/docs").status_code == 200
