"""The page in a real browser, against the running server."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from tests.api.conftest import Server, make_imputer, serve
from tsimpute import load

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PAGE = Path(__file__).resolve().parents[2] / "api" / "page"
PATIENCE_MS = 60_000

if CHROMIUM is None:
    pytest.skip("needs Chromium: no chromium on the PATH", allow_module_level=True)


@dataclass
class Heard:
    """What the browser told while a page was open."""

    outside: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    # Not for the whole session: other tests have event loops of their own.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as engine:
        chromium = engine.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def desktop(browser: Any) -> Any:
    """Windows that share a cache: plotly is fetched once."""
    return browser.new_context(viewport={"width": 1280, "height": 900})


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def page(desktop: Any, server: Server, heard: Heard) -> Iterator[Any]:
    yield from opened(desktop, server, heard)


@pytest.fixture(scope="module")
def patient_page(desktop: Any, server: Server) -> Iterator[Any]:
    """One page for many bad files: opening it is what takes the time."""
    yield from opened(desktop, server, Heard())


def opened(desktop: Any, server: Server, heard: Heard) -> Iterator[Any]:
    """The page; in the end it has asked nobody else and complained of nothing."""
    tab = desktop.new_page()
    tab.set_default_timeout(PATIENCE_MS)
    listen(tab, server.url, heard)
    tab.goto(server.url)
    tab.wait_for_selector("#model:enabled")
    yield tab
    tab.close()
    assert heard.outside == []
    # Chromium logs each refused request as an error; nothing else may be logged.
    assert [text for text in heard.complaints if "Failed to load resource" not in text] == []
    assert len(heard.complaints) == len(heard.refused)


def listen(tab: Any, url: str, heard: Heard) -> None:
    inside = (url.rstrip("/") + "/", "data:", "blob:" + url)

    def request(sent: Any) -> None:
        if not sent.url.startswith(inside):
            heard.outside.append(sent.url)

    def console(message: Any) -> None:
        if message.type in ("error", "warning"):
            heard.complaints.append(message.text)

    tab.on("request", request)
    tab.on("console", console)
    tab.on("pageerror", lambda error: heard.complaints.append(str(error)))
    tab.on("response", lambda one: heard.refused.append(one.status) if one.status >= 400 else 0)


@pytest.fixture(scope="module")
def features(server: Server) -> list[str]:
    with server.client() as client:
        models = client.get("/models").json()["models"]
    return [str(name) for name in models[0]["features"]]


@pytest.fixture(scope="module")
def frame(features: list[str]) -> pd.DataFrame:
    """Days with numbers that no shorter text stands for, and holes."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(60, len(features))) / 3
    values[rng.random(values.shape) < 0.2] = np.nan
    values[20:25, 0] = np.nan
    index = pd.date_range("2026-01-01", periods=60, name="time").strftime("%Y-%m-%d")
    return pd.DataFrame(values, index=index, columns=features)


def csv_of(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(lineterminator="\n").encode()


def ask(server: Server, data: bytes, seed: int, answer: str) -> httpx.Response:
    """What the server says to the same file without the page."""
    form = {"seed": str(seed), "quantiles": "0.05,0.25,0.5,0.75,0.95"}
    files = {"file": ("gaps.csv", data, "text/csv")}
    with server.client() as client:
        params = {"answer": "json"} if answer == "json" else {}
        response = client.post("/impute", data=form, files=files, params=params)
    assert response.status_code == 200, response.text
    return response


def send(page: Any, data: bytes, name: str = "gaps.csv", seed: int | None = None) -> None:
    if seed is not None:
        page.locator("summary").click()
        page.get_by_label("Seed").fill(str(seed))
    page.set_input_files("#file", {"name": name, "mimeType": "text/csv", "buffer": data})


def drop(page: Any, content: str) -> None:
    """Let a file fall on the page; its content is an expression in JavaScript."""
    code = f"""() => {{
      const data = new DataTransfer();
      data.items.add(new File([{content}], "dropped.csv", {{ type: "text/csv" }}));
      const how = {{ dataTransfer: data, bubbles: true, cancelable: true }};
      document.querySelector("#drop").dispatchEvent(new DragEvent("drop", how));
    }}"""
    page.evaluate(code)


def wait_for_plot(page: Any) -> None:
    page.wait_for_selector(".chart .main-svg, #error:not([hidden])")
    assert page.locator("#error").is_hidden(), page.inner_text("#error")


def wait_for_error(page: Any) -> str:
    page.wait_for_selector("#error:not([hidden])")
    return str(page.inner_text("#error"))


def traces(page: Any) -> dict[str, list[Any]]:
    """Ordinates that are drawn in the first plot, by name."""
    code = "() => JSON.stringify(document.querySelector('.chart').data.map(t => [t.name, t.y]))"
    return dict(json.loads(page.evaluate(code)))


def table_rows(page: Any) -> list[list[str]]:
    code = "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    rows: list[list[str]] = page.eval_on_selector_all("#table-body tr", code)
    return rows


# ------------------------------------------------------------------------------ what is shown


def test_plot_and_table_show_what_the_server_answers(
    page: Any, server: Server, frame: pd.DataFrame
) -> None:
    data = csv_of(frame)
    send(page, data, seed=7)
    wait_for_plot(page)
    answer = ask(server, data, 7, "json").json()
    drawn = traces(page)
    for level in ("0.05", "0.25", "0.75", "0.95"):
        assert drawn[level] == [row[0] for row in answer["values"][level]]
    given = frame.iloc[:, 0].astype(object).where(frame.iloc[:, 0].notna(), None).tolist()
    median = [row[0] for row in answer["median"]]
    assert drawn["observed"] == given
    filled = [m if g is None else None for g, m in zip(given, median, strict=True)]
    assert drawn["filled"] == filled

    first, cell = table_rows(page)[0], answer["imputed"][0]
    expected = [cell["median"], *[cell["quantiles"][i] for i in (1, 3, 0, 4)]]
    assert first[:3] == [str(cell["row"] + 1), frame.index[cell["row"]], cell["column"]]
    shown = [first[3], *first[4].split(" to "), *first[5].split(" to ")]
    decimals = len(first[3].partition(".")[2])
    assert [float(text) for text in shown] == pytest.approx(expected, abs=0.51 * 10**-decimals)
    assert page.inner_text("#status") == f"Done: {len(answer['imputed'])} cells filled."


def test_the_table_is_read_page_by_page_and_holds_every_filled_cell(
    page: Any, frame: pd.DataFrame
) -> None:
    send(page, csv_of(frame))
    wait_for_plot(page)
    seen = table_rows(page)
    while page.locator("#next").is_visible() and page.locator("#next").is_enabled():
        page.locator("#next").click()
        seen += table_rows(page)
    holes = np.argwhere(frame.isna().to_numpy())
    assert [(int(row[0]) - 1, row[2]) for row in seen] == [
        (i, frame.columns[k]) for i, k in holes.tolist()
    ]


def test_the_download_is_what_the_server_would_have_sent(
    page: Any, server: Server, frame: pd.DataFrame
) -> None:
    data = csv_of(frame)
    send(page, data, seed=3)
    wait_for_plot(page)
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download filled CSV").click()
    assert waiting.value.suggested_filename == "gaps_filled.csv"
    from_page, from_server = (
        list(csv.reader(io.StringIO(one.decode())))
        for one in (Path(waiting.value.path()).read_bytes(), ask(server, data, 3, "csv").content)
    )
    assert from_page[0] == from_server[0]
    for ours, theirs in zip(from_page[1:], from_server[1:], strict=True):
        assert ours[0] == theirs[0]
        assert [float(cell) for cell in ours[1:]] == [float(cell) for cell in theirs[1:]]


def test_observed_cells_are_downloaded_as_they_were_written(page: Any, features: list[str]) -> None:
    rows = [[f"2026-01-{day:02}", *["1.50"] * len(features)] for day in range(1, 13)]
    rows[5][1] = ""
    lines = [["time", *features], *rows]
    send(page, "\r\n".join(",".join(line) for line in lines).encode())
    wait_for_plot(page)
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download filled CSV").click()
    back = Path(waiting.value.path()).read_text("utf-8").splitlines()
    width = 1 + len(features)
    kept = [line.split(",")[:width] for line in back]
    assert kept[5 + 1][1] != ""
    kept[5 + 1][1] = ""
    assert kept == lines


def test_each_series_is_chosen_by_its_name(page: Any, frame: pd.DataFrame) -> None:
    pair = pd.concat({name: frame.reset_index() for name in ("ward-1", "ward-2")}, names=["series"])
    pair = pair.reset_index("series").set_index(["series", "time"])
    send(page, csv_of(pair))
    wait_for_plot(page)
    assert len(traces(page)["observed"]) == len(frame)
    page.get_by_label("Series", exact=True).select_option("ward-2")
    wait_for_plot(page)
    assert len(traces(page)["observed"]) == len(frame)
    assert table_rows(page)[0][2] == "ward-1"


@pytest.fixture(scope="module")
def co2_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a marginal head that knows what the example holds."""
    models = tmp_path_factory.mktemp("co2") / "models"
    example = pd.read_csv(PAGE / "example.csv", index_col="time", parse_dates=True)
    imputer = make_imputer().fit(example).fit_marginals(example, iterations=2)
    imputer.save(models / "co2" / "1")
    return models


@pytest.fixture(scope="module")
def co2_server(co2_models: Path) -> Iterator[Server]:
    with serve(co2_models.parent, co2_models) as running:
        yield running


@pytest.fixture
def co2_page(desktop: Any, co2_server: Server, heard: Heard) -> Iterator[Any]:
    yield from opened(desktop, co2_server, heard)


def test_the_example_is_loaded_and_answered(co2_page: Any) -> None:
    co2_page.get_by_role("button", name="Try the example").click()
    wait_for_plot(co2_page)
    assert co2_page.inner_text("#title") == "example.csv"
    assert co2_page.inner_text("#status") == "Done: 34 cells filled."
    assert len(traces(co2_page)["observed"]) == 312
    assert "50 samples · 3 steps" in co2_page.inner_text("#summary")


def test_the_marginal_head_can_be_chosen(co2_page: Any, co2_models: Path) -> None:
    co2_page.locator("summary").click()
    co2_page.get_by_label("Method").select_option("head")
    co2_page.get_by_role("button", name="Try the example").click()
    wait_for_plot(co2_page)
    assert "marginal head, 1 evaluation" in co2_page.inner_text("#summary")
    assert "sample" not in co2_page.inner_text("#summary")
    example = pd.read_csv(PAGE / "example.csv", index_col="time", parse_dates=True)
    model = load(co2_models / "co2" / "1", device="cpu")
    found = model.predict_quantiles(example, (0.05, 0.95), method="head").values[:, :, 0]
    drawn = traces(co2_page)
    np.testing.assert_allclose(drawn["0.05"], found[0], rtol=1e-5)
    np.testing.assert_allclose(drawn["0.95"], found[1], rtol=1e-5)


def test_the_example_is_a_stretch_of_the_record() -> None:
    pytest.importorskip("statsmodels", reason="the CO2 record comes with statsmodels")
    from tsimpute import load_co2

    example = pd.read_csv(PAGE / "example.csv", index_col="time", parse_dates=True)
    record = load_co2().iloc[156:468]
    pd.testing.assert_frame_equal(example, record, check_exact=True, check_freq=False)


# ------------------------------------------------------------------------------ what goes wrong


def bad_files(features: list[str]) -> dict[str, tuple[bytes, str]]:
    header = ",".join(["time", *features])
    ones = ",1" * len(features)
    good = f"2026-01-01{ones}\n2026-01-02{ones}\n"
    return {
        "empty": (b"", "empty"),
        "only a header": (f"{header}\n".encode(), "at least one row"),
        "short row": (f"{header}\n{good}2026-01-03\n".encode(), "row 3"),
        "long row": (f"{header}\n2026-01-01{ones},1\n".encode(), "row 1"),
        "text": (f"{header}\n{good}2026-01-03,x{ones[2:]}\n".encode(), features[0]),
        "unknown column": (b"time,nobody\n2026-01-01,1\n", ", ".join(features)),
        "picture": (b"\x89PNG\0\0\0\0\x1a", "cannot read"),
        "a time twice": (
            f"{header}\n{good}2026-01-02{ones}\n".encode(),
            "row 3, time: expected each",
        ),
    }


@pytest.mark.parametrize(
    "kind",
    [
        "empty",
        "only a header",
        "short row",
        "long row",
        "text",
        "unknown column",
        "picture",
        "a time twice",
    ],
)
def test_a_bad_file_is_told_in_words(patient_page: Any, features: list[str], kind: str) -> None:
    data, expected = bad_files(features)[kind]
    page = patient_page
    page.evaluate("clearError()")
    send(page, data)
    text = wait_for_error(page)
    assert expected in text
    assert "undefined" not in text and "{" not in text
    assert page.locator("#results").is_hidden()
    assert page.evaluate("document.activeElement.id") == "error"


def test_a_good_file_after_a_bad_one_clears_the_error(page: Any, frame: pd.DataFrame) -> None:
    send(page, b"")
    wait_for_error(page)
    send(page, csv_of(frame))
    wait_for_plot(page)
    assert page.locator("#error").is_hidden()


def test_a_file_over_the_limit_is_not_sent_at_all(page: Any) -> None:
    sent: list[str] = []
    page.on("request", lambda one: sent.append(one.url))
    drop(page, "new Uint8Array(17 * 2 ** 20)")
    text = wait_for_error(page)
    assert "17.0 MiB" in text and "16 MiB" in text
    assert sent == []


def busy(route: Any) -> None:
    body = {"error": {"code": "queue_full", "message": "the queue is full", "details": []}}
    route.fulfill(status=429, json=body, headers={"Retry-After": "1"})


def test_a_busy_server_is_asked_again_when_it_says_so(page: Any, frame: pd.DataFrame) -> None:
    page.route("**/impute?*", busy, times=1)
    send(page, csv_of(frame))
    page.wait_for_selector("#status:has-text('again in 1 s')")
    wait_for_plot(page)
    assert page.locator("#error").is_hidden()


def test_a_server_that_stays_busy_leaves_a_button_to_try_again(
    page: Any, frame: pd.DataFrame
) -> None:
    page.route("**/impute?*", busy, times=4)
    send(page, csv_of(frame))
    assert "busy" in wait_for_error(page)
    page.get_by_role("button", name="Try again").click()
    wait_for_plot(page)


def test_waiting_can_be_cancelled(page: Any, frame: pd.DataFrame) -> None:
    page.route("**/impute?*", busy)
    send(page, csv_of(frame))
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_selector("#status:has-text('Cancelled.')")
    assert page.locator("#error").is_hidden()
    assert page.locator("#cancel").is_hidden()


def test_a_server_that_is_gone_is_told(page: Any, heard: Heard, frame: pd.DataFrame) -> None:
    page.route("**/impute?*", lambda route: route.abort())
    send(page, csv_of(frame))
    assert "cannot be reached" in wait_for_error(page)
    heard.refused.append(0)  # the browser logs a failed request too


def test_a_key_is_asked_for_and_sent_and_kept_nowhere(page: Any, frame: pd.DataFrame) -> None:
    def guard(route: Any) -> None:
        if route.request.headers.get("x-api-key") == "open-sesame":
            route.continue_()
        else:
            route.fulfill(status=401, json={"error": {"message": "a key is needed"}})

    page.route(re.compile("/(impute|models)"), guard)
    send(page, csv_of(frame))
    assert "API key" in wait_for_error(page)
    assert page.evaluate("document.activeElement.id") == "key"
    page.keyboard.type("open-sesame")
    page.get_by_role("button", name="Fill the gaps").click()
    wait_for_plot(page)
    kept = "JSON.stringify([localStorage, sessionStorage]) + document.cookie"
    assert "sesame" not in page.evaluate(kept) + page.url


# ------------------------------------------------------------------------------ for whom it is


def test_a_file_can_be_dropped_on_the_page(page: Any, frame: pd.DataFrame) -> None:
    drop(page, json.dumps(csv_of(frame).decode()))
    wait_for_plot(page)
    assert page.inner_text("#title") == "dropped.csv"


def test_the_keyboard_alone_is_enough(page: Any, frame: pd.DataFrame) -> None:
    send(page, csv_of(frame))
    wait_for_plot(page)
    reached = []
    page.evaluate("document.activeElement.blur()")
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("(one => one.id || one.className)(document.activeElement)"))
        if "chart" in reached[-1]:
            break
    assert {"file", "example", "model", "key", "run", "download"} <= set(reached)
    ends = "document.querySelector('.chart')._fullLayout.xaxis.range.map(end => new Date(end))"
    width = f"(([low, high]) => high - low)({ends})"
    before = page.evaluate(width)
    page.keyboard.press("+")
    assert page.evaluate(width) == pytest.approx(before / 2, rel=0.01)
    page.keyboard.press("0")
    assert page.evaluate(width) == pytest.approx(before, rel=0.01)


def test_every_field_has_a_label_and_news_are_announced(page: Any) -> None:
    unnamed = "[...document.querySelectorAll('input, select')].filter(one => !one.labels.length)"
    assert page.evaluate(f"{unnamed}.map(one => one.id)") == []
    assert page.get_attribute("#status", "aria-live") == "polite"
    assert page.get_attribute("#error", "role") == "alert"
    assert page.get_attribute("html", "lang") == "en"


def test_no_button_of_the_plot_sends_the_data_elsewhere(page: Any, frame: pd.DataFrame) -> None:
    send(page, csv_of(frame))
    wait_for_plot(page)
    titles = page.eval_on_selector_all(".modebar-btn", "all => all.map(one => one.dataset.title)")
    assert len(titles) > 0
    assert not [title for title in titles if re.search("share|cloud|edit|upload", title, re.I)]


def test_a_phone_needs_no_scrolling_sideways(
    browser: Any, server: Server, frame: pd.DataFrame
) -> None:
    phone = browser.new_page(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    phone.goto(server.url)
    phone.wait_for_selector("#model:enabled")
    send(phone, csv_of(frame))
    wait_for_plot(phone)
    assert phone.evaluate("document.documentElement.scrollWidth") == 390
    hidden = "(one => one.scrollWidth - one.clientWidth)(document.querySelector('.scroll'))"
    assert phone.evaluate(hidden) == 0
    phone.close()


def luminance(colour: str) -> float:
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("ink", ["ink", "soft", "accent", "accent-dark", "gap", "bad"])
@pytest.mark.parametrize("ground", ["card", "paper", "bad-paper"])
def test_text_can_be_told_from_its_ground(ink: str, ground: str) -> None:
    colours = dict(re.findall(r"--([\w-]+): (#\w{6});", (PAGE / "style.css").read_text("utf-8")))
    light, dark = luminance(colours[ground]), luminance(colours[ink])
    assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2, level AA


def test_the_page_asks_only_its_own_server_by_its_policy(server: Server) -> None:
    with server.client() as client:
        policy = client.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "connect-src 'self'" in policy
    assert "http" not in policy and "unsafe-eval" not in policy


def test_the_files_of_the_page_name_no_other_host() -> None:
    for name in ("index.html", "app.js", "style.css"):
        text = (PAGE / name).read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.findall(r"https?://|(?<=[\"'(])//\w", text), name
