"use strict";

const TABLE_PAGE = 25; // rows of the table at once
const RETRIES = 3; // of a busy server, before the reader is asked
const MAX_BYTES = 16 * 1024 * 1024; // what the server accepts, unless the model's limits say otherwise
const BANDS = [[0.05, 0.95], [0.25, 0.75]];
const INDEX_NAMES = ["time", "timestamp", "date", "datetime", "", "series"];
const METHODS = { samples: "samples of the pruned sampler", head: "marginal head (fast)" };
const LEVELS = [0.05, 0.25, 0.5, 0.75, 0.95];
const INK = { soft: "#51606e", line: "#d5dce3", accent: "#175a86", gap: "#a8470b", band: ["rgba(214,120,40,0.18)", "rgba(214,120,40,0.38)"] };

const byId = (id) => document.getElementById(id);
const state = { models: [], file: null, rows: [], answer: null, filled: new Set(), decimals: {}, page: 0, running: null };

// ------------------------------------------------------------------------------ asking the server

/** An error whose text the reader may see. */
class PageError extends Error {
  constructor(title, details = [], { canRetry = false, field = null } = {}) {
    super(title);
    Object.assign(this, { details, canRetry, field });
  }
}

const TITLES = {
  401: "This server needs an API key.",
  403: "This API key may not do that.",
  404: "The server has no such model.",
  413: "The file is too large for this server. Send fewer rows.",
  415: "The server cannot read this file. It takes CSV here.",
  422: "The file or an option does not fit.",
  429: "The server is busy.",
  503: "The server is not ready.",
  504: "It took longer than the server allows. Send fewer rows or draw fewer samples.",
};

/** Where a mistake is: a row and a column of the file instead of indices of what was read from it. */
function place(location) {
  const parts = location.filter((part) => !["body", "file"].includes(part));
  const names = (state.rows[0] ?? []).filter((name) => !INDEX_NAMES.includes(name.toLowerCase()));
  const column = (at) => `column ${names[at] ?? at + 1}`;
  if (parts[0] === "column") return column(parts[1]);
  if (parts[0] === "timestamps" && parts.length > 1) return `row ${parts[1] + 1}, time`;
  if (parts[0] !== "rows" || parts.length < 2) return parts.join(" ");
  return [`row ${parts[1] + 1}`, ...parts.slice(2).map(column)].join(", ");
}

async function errorOf(response) {
  const body = await response.json().catch(() => ({}));
  const { message = "", details = [] } = body.error ?? {};
  const lines = details.slice(0, 8).map((one) => [place(one.location ?? []), one.message].filter(Boolean).join(": "));
  if (details.length > 8) lines.push(`and ${details.length - 8} more`);
  if (message && !lines.some((line) => line.endsWith(message))) lines.unshift(message);
  if (body.request_id) lines.push(`Request ${body.request_id}`);
  const title = TITLES[response.status] ?? `The server failed (${response.status}).`;
  return new PageError(title, lines, {
    canRetry: response.status === 429 || response.status >= 500,
    field: response.status === 401 || response.status === 403 ? byId("key") : null,
  });
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
  });
}

async function fetchOnce(path, options) {
  const key = byId("key").value.trim();
  try {
    return await fetch(path, { ...options, headers: key ? { "X-API-Key": key } : {} });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new PageError("The server cannot be reached.", ["Check the connection, then try again."], { canRetry: true });
  }
}

/** The JSON answer; a busy server is asked again when it says so. */
async function ask(path, options = {}) {
  for (let attempt = 1; ; attempt += 1) {
    const response = await fetchOnce(path, options);
    if (response.ok) return response.json();
    if (![429, 503].includes(response.status) || attempt > RETRIES) throw await errorOf(response);
    for (let left = Math.ceil(Number(response.headers.get("Retry-After")) || attempt); left > 0; left -= 1) {
      say(`The server is busy. Trying again in ${left} s (${attempt} of ${RETRIES}).`);
      await pause(1, options.signal);
    }
  }
}

// ------------------------------------------------------------------------------- what is reported

function say(text) { byId("status").textContent = text; }

function element(tag, text, className = "") {
  const node = document.createElement(tag);
  node.textContent = text;
  node.className = className;
  return node;
}

function showError(error) {
  const known = error instanceof PageError;
  const box = byId("error");
  const details = element("ul", "");
  details.append(...(known ? error.details : [String(error)]).map((line) => element("li", line)));
  box.replaceChildren(element("strong", known ? error.message : "The page failed."), details);
  if (known && error.canRetry) {
    const again = element("button", "Try again", "quiet");
    again.type = "button";
    again.addEventListener("click", guarded(state.file ? impute : loadModels));
    box.append(again);
  }
  box.hidden = false;
  (error.field ?? box).focus();
}

function clearError() { byId("error").hidden = true; }

/** A number of a column as text; a cell that the model refused has none. */
const number = (value, column) => value === null ? "" : value.toFixed(state.decimals[column]).replace(/^-(0\.?0*)$/, "$1");
const count = (n, thing) => `${n.toLocaleString("en")} ${thing}${n === 1 ? "" : "s"}`;

// ---------------------------------------------------------------------------------- choosing

const chosenModel = () => state.models[byId("model").selectedIndex];

async function loadModels() {
  clearError();
  state.models = (await ask("/models")).models;
  if (state.models.length === 0) throw new PageError("The server has no model ready yet.", [], { canRetry: true });
  byId("model").replaceChildren(...state.models.map((model) => new Option(`${model.name} (version ${model.version})`)));
  byId("model").disabled = false;
  showModel();
}

function showModel() {
  const model = chosenModel();
  if (!model) return;
  const names = model.features.slice(0, 8).join(", ") + (model.features.length > 8 ? ", …" : "");
  byId("model-text").textContent = `Expects ${count(model.features.length, "column")}: ${names}.`;
  byId("samples").placeholder = model.n_samples;
  byId("method").replaceChildren(...model.methods.map((name) => new Option(METHODS[name] ?? name, name)));
}

/** Rows of a CSV as lists of cells as they are written, quotes and all; empty lines are no rows. */
function parseCsv(text) {
  const rows = [[]];
  for (const [, cell, end] of text.replace(/^\uFEFF/, "").matchAll(/("(?:[^"]|"")*"|[^,\r\n]*)(,|\r?\n|\r|$)/g)) {
    rows.at(-1).push(cell);
    if (end === "") break;
    if (end !== ",") rows.push([]);
  }
  return rows.filter((row) => row.length > 1 || row[0].trim() !== "");
}

function checkRows([header, ...rows]) {
  const wrong = rows.findIndex((row) => row.length !== header.length);
  if (wrong < 0) return;
  const lines = [`row ${wrong + 1}: got ${count(rows[wrong].length, "cell")}, expected ${header.length} as in the header`];
  throw new PageError("The rows of this file differ in length.", lines);
}

async function choose(file) {
  state.running?.abort();
  state.file = null;
  clearError();
  say("No file chosen.");
  byId("run").disabled = byId("results").hidden = true;
  const limit = chosenModel()?.limits?.body_bytes ?? MAX_BYTES;
  if (file.size === 0) throw new PageError("This file is empty.", [file.name]);
  if (file.size > limit) {
    const size = `${(file.size / 2 ** 20).toFixed(1)} MiB`;
    throw new PageError(TITLES[413], [`got ${size}, expected at most ${limit / 2 ** 20} MiB`]);
  }
  state.rows = parseCsv(await file.text());
  checkRows(state.rows);
  state.file = file;
  byId("run").disabled = false;
  return impute();
}

function drop(event) {
  if (event.dataTransfer.files.length === 0) return undefined;
  byId("file").files = event.dataTransfer.files;
  return choose(event.dataTransfer.files[0]);
}

async function tryExample() {
  const response = await fetchOnce("/page/example.csv", {});
  if (!response.ok) throw await errorOf(response);
  byId("file").value = "";
  return choose(new File([await response.blob()], "example.csv", { type: "text/csv" }));
}

function formData() {
  const form = new FormData();
  form.append("file", state.file);
  form.append("quantiles", LEVELS.join(","));
  form.append("model", chosenModel().name);
  form.append("version", chosenModel().version);
  for (const [field, id] of [["n_samples", "samples"], ["seed", "seed"], ["method", "method"]]) {
    const value = byId(id).value.trim();
    if (value) form.append(field, value);
  }
  return form;
}

async function impute() {
  if (state.models.length === 0) await loadModels();
  state.running?.abort();
  const running = new AbortController();
  state.running = running;
  clearError();
  byId("form").classList.add("busy");
  byId("cancel").hidden = false;
  say(`Filling the gaps of ${state.file.name}…`);
  try {
    show(await ask("/impute?answer=json", { method: "POST", body: formData(), signal: running.signal }));
  } catch (error) {
    if (state.running !== running) return; // a newer run has taken over
    if (error.name === "AbortError") return say("Cancelled.");
    say("Nothing was filled.");
    throw error;
  } finally {
    if (state.running === running) {
      byId("form").classList.remove("busy");
      byId("cancel").hidden = true;
    }
  }
}

// ---------------------------------------------------------------------------------- showing

function show(answer) {
  const { n_samples: samples, method, model, seed, steps, timing, imputed, median, columns } = answer;
  state.answer = answer;
  state.filled = new Set(imputed.map((cell) => `${cell.row}/${cell.column}`));
  state.decimals = Object.fromEntries(columns.map((column) => [column, decimalsOf(answer, column)]));
  state.page = 0;
  const share = (100 * imputed.length) / (median.length * columns.length);
  byId("title").textContent = state.file.name;
  byId("summary").textContent = [
    `${count(imputed.length, "cell")} filled of ${count(median.length * columns.length, "cell")} (${share.toFixed(1)} %)`,
    `${model.name} version ${model.version}`, ...(method === "head" ? ["marginal head, 1 evaluation"] : [count(samples, "sample"), count(steps, "step"), `seed ${seed}`]),
    `${timing.total_s.toFixed(2)} s`,
  ].join(" · ");
  const results = byId("results");
  results.hidden = false;
  if (results.getBoundingClientRect().top > 0.6 * innerHeight) results.scrollIntoView();
  showSeries();
  showTable();
  say(`Done: ${count(imputed.length, "cell")} filled.`);
}

/** Decimals that show three digits of the 90 % band's mean width: no more is known. */
function decimalsOf({ imputed, values, columns }, column) {
  const at = columns.indexOf(column);
  const widths = imputed.filter((cell) => cell.column === column).map(({ row }) => values[0.95][row][at] - values[0.05][row][at]);
  const width = widths.reduce((sum, one) => sum + one, 0) / widths.length;
  return width > 0 ? Math.min(12, Math.max(0, 2 - Math.floor(Math.log10(width)))) : 3;
}

function showSeries() {
  const names = [...new Set(state.answer.series ?? [])];
  byId("series").replaceChildren(...names.map((name) => new Option(name)));
  byId("series-field").hidden = names.length < 2;
  showCharts();
}

function rowsOfSeries() {
  const { series, median } = state.answer;
  const rows = median.map((_, row) => row);
  return series ? rows.filter((row) => String(series[row]) === byId("series").value) : rows;
}

// Plots are drawn when they come into view: a file may have many features.
const drawer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    drawer.unobserve(target);
    draw(target, rowsOfSeries(), target.dataset.column);
  }
}, { rootMargin: "200px" });

function showCharts() {
  drawer.disconnect();
  document.querySelectorAll(".chart").forEach((chart) => Plotly.purge(chart));
  const { columns } = state.answer;
  const rows = rowsOfSeries();
  byId("charts").className = columns.length > 1 ? "many" : "";
  byId("charts").replaceChildren(...columns.map((column) => {
    const filled = rows.filter((row) => state.filled.has(`${row}/${column}`)).length;
    const panel = element("div", "", "panel");
    const chart = element("div", "", "chart");
    Object.assign(chart, { tabIndex: 0, role: "group", ariaLabel: `Plot of ${column}: ${rows.length} rows, ${filled} filled` });
    chart.dataset.column = column;
    chart.addEventListener("keydown", moveByKey);
    panel.append(element("h3", column), chart);
    drawer.observe(chart);
    return panel;
  }));
}

function tracesOf(rows, column) {
  const { columns, median, values, timestamps } = state.answer;
  const at = columns.indexOf(column);
  const x = rows.map((row) => timestamps?.[row] ?? row + 1);
  const quantile = (level) => rows.map((row) => values[level][row][at]);
  const isFilled = rows.map((row) => state.filled.has(`${row}/${column}`));
  const y = rows.map((row) => median[row][at]);
  const quiet = { x, mode: "lines", hoverinfo: "skip", line: { width: 0 } };
  const bands = BANDS.flatMap(([low, high], band) => [
    { ...quiet, y: quantile(low), name: `${low}` },
    { ...quiet, y: quantile(high), name: `${high}`, fill: "tonexty", fillcolor: INK.band[band] },
  ]);
  const texts = rows.map((row) => [0.5, ...BANDS.flat()].map((level) => number(values[level][row][at], column)));
  const spot = { x, mode: "markers" };
  return [
    ...bands,
    { ...quiet, y, name: "line", line: { width: 1, color: "#8fa3b3" } },
    { ...spot, y: y.map((value, i) => (isFilled[i] ? null : value)), name: "observed", marker: { size: 5, color: INK.accent },
      hovertemplate: "%{x}<br>observed <b>%{y}</b><extra></extra>" },
    { ...spot, y: y.map((value, i) => (isFilled[i] ? value : null)), name: "filled", customdata: texts,
      marker: { size: 6, color: "#fff", line: { width: 1.6, color: INK.gap } },
      hovertemplate: "%{x}<br>filled <b>%{customdata[0]}</b><br>50 %: %{customdata[3]} to %{customdata[4]}<br>90 %: %{customdata[1]} to %{customdata[2]}<extra></extra>" },
  ];
}

function draw(chart, rows, column) {
  const axis = { gridcolor: "#e6ebef", zeroline: false, linecolor: INK.line, automargin: true };
  const layout = {
    showlegend: false,
    hovermode: "closest",
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom", // a finger scrolls the page
    modebar: { color: INK.soft, activecolor: INK.accent, bgcolor: "rgba(255,255,255,0)" },
    margin: { l: 44, r: 12, t: 30, b: 30 },
    font: { family: "inherit", color: INK.soft, size: 12 },
    xaxis: { ...axis, title: state.answer.timestamps ? undefined : { text: "row" } },
    yaxis: axis,
  };
  // An allow list: what plotly offers by itself includes a button that sends the data elsewhere.
  const modeBarButtons = [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]];
  const config = { responsive: true, displaylogo: false, displayModeBar: true, modeBarButtons, plotlyServerURL: "" };
  return Plotly.newPlot(chart, tracesOf(rows, column), layout, config);
}

/** Zoom and move a plot in time: factor of the width, share of the width to go right. */
const MOVES = { "+": [0.5, 0], "=": [0.5, 0], "-": [2, 0], ArrowLeft: [1, -0.25], ArrowRight: [1, 0.25] };

function moveByKey(event) {
  const chart = event.currentTarget;
  if (event.target !== chart || event.ctrlKey || event.metaKey || event.altKey || !chart.layout) return;
  if (event.key === "0") {
    Plotly.relayout(chart, { "xaxis.autorange": true, "yaxis.autorange": true });
  } else if (event.key in MOVES) {
    const [zoom, shift] = MOVES[event.key];
    const axis = chart._fullLayout.xaxis;
    const [low, high] = axis.range.map((end) => axis.r2l(end));
    const [middle, half] = [(low + high) / 2 + shift * (high - low), (zoom * (high - low)) / 2];
    Plotly.relayout(chart, { "xaxis.range": [axis.l2r(middle - half), axis.l2r(middle + half)] });
  } else return;
  event.preventDefault();
}

// ------------------------------------------------------------------------------------- the table

/** What a line of the table holds: heading, class, text of a filled cell. */
function tableColumns() {
  const { timestamps, series, values, columns } = state.answer;
  const interval = (band) => ({ row, column }) =>
    BANDS[band].map((level) => number(values[level][row][columns.indexOf(column)], column)).join(" to ");
  return [
    ["Row", "row", ({ row }) => row + 1],
    ...(timestamps ? [["Time", "text", ({ row }) => timestamps[row]]] : []),
    ...(series ? [["Series", "text", ({ row }) => series[row]]] : []),
    ["Column", "text", ({ column }) => column],
    ["Median", "median", ({ median, column }) => number(median, column)],
    ["50 % interval", "interval", interval(1)],
    ["90 % interval", "interval", interval(0)],
  ];
}

function tableLine(tag, cells) {
  const line = document.createElement("tr");
  line.setAttribute("role", "row"); // said aloud: on a phone the style makes no table of it
  for (const [text, kind, label] of cells) {
    const cell = element(tag, text, kind);
    cell.setAttribute("role", tag === "th" ? "columnheader" : "cell");
    if (label) cell.dataset.label = label;
    line.append(cell);
  }
  return line;
}

function showTable() {
  const { imputed } = state.answer;
  const shape = tableColumns();
  const first = state.page * TABLE_PAGE;
  const shown = imputed.slice(first, first + TABLE_PAGE);
  byId("table-head").replaceChildren(tableLine("th", shape.map(([head, kind]) => [head, kind])));
  byId("table-body").replaceChildren(...shown.map((cell) =>
    tableLine("td", shape.map(([head, kind, text]) => [text(cell), kind, ["row", "interval"].includes(kind) && head]))));
  const last = Math.ceil(imputed.length / TABLE_PAGE) - 1;
  byId("pager").hidden = last < 1;
  byId("page-text").textContent = `${first + 1} to ${first + shown.length} of ${imputed.length.toLocaleString("en")}`;
  byId("previous").disabled = state.page === 0;
  byId("next").disabled = state.page >= last;
}

function turnPage(by) {
  state.page += by;
  showTable();
}

// ---------------------------------------------------------------------------------- the download

const csvCell = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : String(value));

/** The file as it was sent with its holes filled by the median, then the quantiles of each feature. */
function filledCsv() {
  const { columns, median, values, quantiles, imputed } = state.answer;
  const [header, ...rows] = state.rows.map((row) => [...row]);
  if (rows.length !== median.length) throw new PageError("The filled file cannot be put together.", ["Ask POST /impute for it."]);
  const leading = header.length - columns.length; // columns that name rows come first
  for (const { row, column, median: value } of imputed) rows[row][leading + columns.indexOf(column)] = value;
  const percent = (level) => String(Math.round(100 * level)).padStart(2, "0");
  header.push(...columns.flatMap((column) => quantiles.map((level) => csvCell(`${column}_q${percent(level)}`))));
  rows.forEach((row, i) => row.push(...columns.flatMap((_, at) => quantiles.map((level) => values[level][i][at]))));
  return [header, ...rows].map((row) => `${row.join(",")}\n`).join("");
}

function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([filledCsv()], { type: "text/csv" }));
  link.download = state.file.name.replace(/(\.csv)?$/i, "_filled.csv");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// -------------------------------------------------------------------------------------- wiring

/** An event handler whose errors are shown. */
function guarded(act) {
  return async (event) => {
    try {
      await act(event);
    } catch (error) {
      showError(error);
    }
  };
}

function on(id, event, act) { byId(id).addEventListener(event, guarded(act)); }

on("file", "change", (event) => event.target.files[0] && choose(event.target.files[0]));
on("example", "click", tryExample);
on("form", "submit", (event) => { event.preventDefault(); return impute(); });
on("cancel", "click", () => state.running?.abort());
on("key", "change", loadModels);
on("model", "change", showModel);
on("series", "change", showCharts);
on("previous", "click", () => turnPage(-1));
on("next", "click", () => turnPage(1));
on("download", "click", download);
for (const type of ["dragover", "drop"]) document.addEventListener(type, (event) => event.preventDefault());
document.addEventListener("drop", guarded(drop));
on("drop", "dragover", () => byId("drop").classList.add("over"));
for (const type of ["dragleave", "drop"]) on("drop", type, () => byId("drop").classList.remove("over"));
guarded(loadModels)();
