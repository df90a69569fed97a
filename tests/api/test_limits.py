"""What is refused, how, and that nothing of it comes back."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import httpx
import pytest

from tests.api.conftest import FEATURES, Server, Starter, body, series, wait_until

CANARY = 271828.18284
ROW = [1.0, None, 2.0]


def post(server: Server, content: bytes, kind: str = "application/json") -> httpx.Response:
    with server.client() as client:
        return client.post("/impute", content=content, headers={"Content-Type": kind})


def wide(row: str, rest: str = "") -> bytes:
    return f'{{"columns":["a","b","c"],"rows":[[1,2,3],{row}]{rest}}}'.encode()


@pytest.mark.parametrize(
    ("content", "where", "kind"),
    [
        (wide("[1,NaN,2]"), ["body", "rows", 1, 1], "finite_number"),
        (wide("[1,Infinity,2]"), ["body", "rows", 1, 1], "finite_number"),
        (wide("[-Infinity,1,2]"), ["body", "rows", 1, 0], "finite_number"),
        (wide("[1e999,1,2]"), ["body", "rows", 1, 0], "finite_number"),
        (wide("[1," + "9" * 400 + ",2]"), ["body", "rows", 1, 1], None),
        (wide('["1",1,2]'), ["body", "rows", 1, 0], "float_type"),
        (wide("[true,1,2]"), ["body", "rows", 1, 0], "float_type"),
        (wide("[[1],1,2]"), ["body", "rows", 1, 0], "float_type"),
        (wide("[1.1e12,1,2]"), ["body", "rows", 1, 0], "magnitude"),
        (wide("[1,1,-2e12]"), ["body", "rows", 1, 2], "magnitude"),
        (wide("[1,2]"), ["body", "rows", 1], "ragged"),
        (wide("[1,2,3,4]"), ["body", "rows", 1], "ragged"),
        (wide("[]"), ["body", "rows", 1], "ragged"),
        (wide("[1,2,3]", ',"n_samples":0'), ["body", "n_samples"], "greater_than_equal"),
        (wide("[1,2,3]", ',"n_samples":201'), ["body", "n_samples"], "too_large"),
        (wide("[1,2,3]", ',"n_samples":2.5'), ["body", "n_samples"], "int_type"),
        (wide("[1,2,3]", ',"n_samples":true'), ["body", "n_samples"], "int_type"),
        (wide("[1,2,3]", ',"quantiles":[]'), ["body", "quantiles"], "too_short"),
        (wide("[1,2,3]", ',"quantiles":[0.0]'), ["body", "quantiles", 0], "greater_than"),
        (wide("[1,2,3]", ',"quantiles":[1]'), ["body", "quantiles", 0], "less_than"),
        (wide("[1,2,3]", ',"quantiles":[0.5,0.1]'), ["body", "quantiles"], "quantiles"),
        (wide("[1,2,3]", ',"quantiles":[0.5,0.5]'), ["body", "quantiles"], "quantiles"),
        (wide("[1,2,3]", ',"seed":-1'), ["body", "seed"], "greater_than_equal"),
        (wide("[1,2,3]", ',"seed":4294967296'), ["body", "seed"], "less_than_equal"),
        (wide("[1,2,3]", ',"method":"magic"'), ["body", "method"], "literal_error"),
        (wide("[1,2,3]", ',"deadline_s":121'), ["body", "deadline_s"], "too_large"),
        (wide("[1,2,3]", ',"deadline_s":0'), ["body", "deadline_s"], "greater_than"),
        (wide("[1,2,3]", ',"series":[1]'), ["body", "series"], "length"),
        (wide("[1,2,3]", ',"timestamps":["2026-01-01"]'), ["body", "timestamps"], "length"),
        (
            wide("[1,2,3]", ',"timestamps":["2026-01-01","yesterday"]'),
            ["body", "timestamps", 1],
            "timestamp",
        ),
        (
            wide("[1,2,3]", ',"timestamps":["2026-01-02","2026-01-01"]'),
            ["body", "timestamps", 1],
            "order",
        ),
        (wide("[1,2,3]", ',"unheard_of":1'), ["body"], "extra_forbidden"),
        (b'{"columns":["a","b"],"rows":[[1,2]]}', ["body", "columns"], "features"),
        (b'{"columns":["a","b","z"],"rows":[[1,2,3]]}', ["body", "columns"], "features"),
        (b'{"columns":["a","b","b"],"rows":[[1,2,3]]}', ["body", "columns"], "features"),
        (b'{"columns":["a","b","c"],"rows":[]}', ["body", "rows"], "too_short"),
        (b'{"columns":["a","b","c"]}', ["body"], "value_error"),
        (b"[]", ["body"], "model_type"),
        (b"null", ["body"], "model_type"),
        (b'"text"', ["body"], "model_type"),
    ],
)
def test_what_cannot_be_used_is_422_with_its_place(
    server: Server, content: bytes, where: list[Any], kind: str | None
) -> None:
    answer = post(server, content)
    assert answer.status_code == 422, answer.text
    detail = answer.json()["error"]["details"][0]
    assert set(detail) == {"location", "type", "message"}
    assert detail["location"] == where
    assert kind is None or detail["type"] == kind
    assert detail["message"]


@pytest.mark.parametrize("content", [b"", b"{", b"columns=1", b"\xff\xfe", b"[" * 100_000])
def test_what_is_not_json_is_415(server: Server, content: bytes) -> None:
    assert post(server, content).status_code == 415


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "", "image/png"])
def test_another_kind_of_body_is_415(server: Server, kind: str) -> None:
    answer = post(server, wide("[1,2,3]"), kind)
    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "unsupported_media_type"


def test_more_cells_than_allowed_are_422(server: Server) -> None:
    answer = server.impute({"columns": FEATURES, "rows": [ROW] * 83_334})
    assert answer.status_code == 422
    assert answer.json()["error"]["details"][0]["type"] == "too_many_cells"


def test_the_largest_numbers_that_are_promised_are_accepted(server: Server) -> None:
    n = 249_999 // 3
    most = {"columns": FEATURES, "rows": [[1e12, -1e12, 0]] * n, "quantiles": [0.5]}
    answer = server.impute(most | {"series": [i // 10_000 for i in range(n)]})
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["median"]) == n
    assert server.impute(body(series(3), n_samples=200, deadline_s=120)).status_code == 200


def test_far_more_cells_are_refused_before_they_are_parsed(server: Server) -> None:
    content = wide("[" + "1," * 7_000_000 + "1]")
    begun = time.perf_counter()
    answer = post(server, content)
    assert answer.status_code == 422
    assert answer.json()["error"]["details"][0]["type"] == "too_many_cells"
    assert time.perf_counter() - begun < 10


def test_more_steps_than_allowed_are_422(server: Server) -> None:
    answer = server.impute({"columns": FEATURES, "rows": [[1, 2, 3]] * 10_001})
    assert answer.json()["error"]["details"][0]["type"] == "too_many_steps"
    assert server.impute({"columns": FEATURES, "rows": [[1, 2, 3]] * 10_000}).status_code == 200


def test_more_series_than_allowed_are_422(server: Server) -> None:
    def answer(n: int) -> httpx.Response:
        return server.impute(
            {"columns": FEATURES, "rows": [ROW] * n, "series": list(range(n)), "n_samples": 1}
        )

    assert answer(65).json()["error"]["details"][0]["type"] == "too_many_series"
    assert answer(64).status_code == 200


def test_more_quantiles_than_allowed_are_422(server: Server) -> None:
    levels = [i / 100 for i in range(1, 21)]
    assert server.impute(body(series(3), quantiles=levels)).status_code == 422
    assert server.impute(body(series(3), quantiles=levels[:19])).status_code == 200


def test_a_body_that_is_too_large_is_413(server: Server) -> None:
    answer = post(server, b" " * (16 * 2**20 + 1))
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"


def test_a_body_is_counted_while_it_streams(server: Server) -> None:
    def chunks() -> Any:
        for _ in range(20):
            yield b" " * 2**20

    with server.client() as client:
        answer = client.post(
            "/impute", content=chunks(), headers={"Content-Type": "application/json"}
        )
    assert answer.status_code == 413


def test_a_body_of_the_largest_size_is_read(server: Server) -> None:
    content = wide("[1,2,3]")
    assert post(server, content + b" " * (16 * 2**20 - len(content))).status_code == 200


def test_a_body_in_tiny_chunks_is_put_together(server: Server) -> None:
    content = json.dumps(body(series(12), n_samples=2)).encode()
    with server.client() as client:
        answer = client.post(
            "/impute",
            content=(content[i : i + 7] for i in range(0, len(content), 7)),
            headers={"Content-Type": "application/json"},
        )
    assert answer.status_code == 200


def test_no_value_comes_back_or_is_logged(server: Server) -> None:
    key = "key-that-nobody-may-see"
    tries = [
        {"columns": FEATURES, "rows": [[CANARY, None, 1]], "n_samples": 1},
        {"columns": FEATURES, "rows": [[CANARY, "271828.18284", 1]]},
        {"columns": FEATURES, "rows": [[CANARY, 1]]},
        {"columns": FEATURES, "rows": [[CANARY * 1e12, 1, 2]]},
        {"columns": [str(CANARY), "b", "c"], "rows": [[1, 2, 3]]},
        {"columns": FEATURES, "rows": [[1, 2, 3]], "timestamps": [str(CANARY)]},
        {"columns": FEATURES, "rows": [[1, 2, 3]], "time_zone": str(CANARY)},
        {"columns": FEATURES, "rows": [[1, 2, 3]], "timestamps": [CANARY], "time_zone": "UTC"},
        {"columns": FEATURES, "rows": [[1, 2, 3]] * 2, "timestamps": [CANARY, CANARY]},
        {"columns": FEATURES, "rows": [[1, 2, 3]], "model": str(CANARY)},
        {"columns": FEATURES, "rows": [[1, 2, 3]], str(CANARY): CANARY},
        {"columns": FEATURES, "rows": [[1, 2, 3]], "seed": CANARY},
        {"columns": FEATURES, "rows": [[1, 2, 3]], "method": str(CANARY)},
        {"records": [{"timestamp": str(CANARY), "feature": "a", "value": CANARY}]},
    ]
    for sent in tries:
        answer = server.impute(sent, headers={"X-API-Key": key})
        assert (answer.status_code == 200) == (sent is tries[0]), answer.text
        if answer.status_code != 200:
            assert "271828" not in answer.text
    with server.client() as client:
        client.get(f"/{CANARY}", params={"value": CANARY})
        bad = client.post(
            "/impute",
            files={"file": (f"{CANARY}.csv", f"a,b,c\n{CANARY},{CANARY}x,1\n", "text/csv")},
            headers={"X-Request-Id": "the-last"},
        )
        assert bad.status_code == 422
        assert "271828" not in bad.text
    wait_until(lambda: '"the-last"' in server.log, 20, server)  # lines come after the answers
    assert "271828" not in server.log
    assert key not in server.log


def test_a_request_id_is_kept_if_it_fits_and_made_otherwise(server: Server) -> None:
    with server.client() as client:
        for given, kept in [("ab.C_1-2", True), ("x" * 128, True), ("x" * 129, False)]:
            answer = client.get("/health/live", headers={"X-Request-Id": given})
            assert (answer.headers["X-Request-Id"] == given) is kept
        other = client.get("/nothing", headers={"X-Request-Id": "a b<script>"})
    assert other.headers["X-Request-Id"] == other.json()["request_id"] != "a b<script>"


def test_one_log_line_a_request_holds_shapes_and_times(server: Server) -> None:
    answer = server.impute(body(series(14, seed=3), n_samples=3), headers={"X-Request-Id": "me"})
    assert answer.status_code == 200
    wait_until(lambda: '"me"' in server.log, 20, server)  # it is written after the answer
    lines = [json.loads(line) for line in server.log.splitlines()]
    (line,) = [line for line in lines if line.get("request_id") == "me"]
    assert line["route"] == "/impute"
    assert (line["status"], line["n_rows"], line["n_columns"]) == (200, 14, 3)
    assert (line["model"], line["version"], line["n_samples"]) == ("demo", "1", 3)
    assert 0 < line["missing_share"] < 1
    assert {"queue_s", "inference_s", "total_s", "timestamp"} <= set(line)


def test_every_answer_has_safe_headers(server: Server) -> None:
    with server.client() as client:
        for path in ("/health/live", "/nothing", "/metrics", "/impute"):
            headers = client.get(path).headers
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["X-Frame-Options"] == "DENY"
            assert "default-src 'none'" in headers["Content-Security-Policy"]
            assert headers["Cache-Control"] == "no-store"


def test_slow_clients_are_closed(start: Starter) -> None:
    server = start(slow_client_s=1.0)
    address = ("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
    head = b"POST /impute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    for sent in (b"", head, head + b"Content-Length: 1000\r\n\r\n{"):
        begun = time.perf_counter()
        with socket.create_connection(address, timeout=10) as connection:
            connection.sendall(sent)
            answer = b""
            while part := connection.recv(4096):
                answer += part
        assert 0.5 < time.perf_counter() - begun < 6
        assert not answer or answer.startswith(b"HTTP/1.1 408")


def test_a_client_that_does_not_read_is_closed(start: Starter) -> None:
    server = start(slow_client_s=1.0)
    content = json.dumps(
        {"columns": FEATURES, "rows": [[1.123456789, 2, 3]] * 10_000, "quantiles": LEVELS}
    ).encode()
    address = ("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        connection.connect(address)
        head = f"POST /impute HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n"
        connection.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + content)
        time.sleep(4)
        got = 0
        with pytest.raises(ConnectionResetError):
            while part := connection.recv(65536):
                got += len(part)
            raise ConnectionResetError  # ended early without a reset
    assert got < 5_000_000
    assert httpx.get(server.url + "/health/live", trust_env=False).status_code == 200


LEVELS = [i / 20 for i in range(1, 20)]


def test_hanging_up_while_sending_is_no_failure(server: Server) -> None:
    address = ("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
    for kind in (b"application/json", b"multipart/form-data; boundary=x"):
        with socket.create_connection(address) as connection:
            head = b"POST /impute HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
            connection.sendall(head + b"Content-Type: " + kind + b"\r\n\r\n--x")
    wait_until(lambda: server.log.count('"disconnected"') >= 2, 20, server)
    assert '"event": "failure"' not in server.log


def test_what_would_take_longer_than_the_deadline_is_422_before_it_queues(server: Server) -> None:
    costly = body(series(2000), model="slow", n_samples=200, deadline_s=20)
    begun = time.perf_counter()
    answer = server.impute(costly)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "too_costly"
    assert time.perf_counter() - begun < 10
