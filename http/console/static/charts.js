// Line charts over time, drawn with D3 as SVG, for eyes, keyboards and screen readers alike.
//
//   const chart = lineChart(element, options);   // element: an empty block
//   chart.update(options);                       // draws anew; what is left out stays as it was
//
// options:
//   title   what the chart shows, for its label and its table
//   unit    what the numbers are, such as "frames/s"
//   series  [{ name, values: [number | null, …], low?: […], high?: […], style?: "line" | "area" |
//           "step" | "points" | "rings", dashed?: true, slot?: 1…6, axis?: "right" }]; null is a
//           gap; low and high are a band of confidence around the line, or a bar at each point;
//           slot picks the colour (else by order). Rings mark points of other series
//   x       the time of each value: milliseconds since 1970, the same for all series; or another
//           figure in ascending order, with `time` to write it and `across` to name it
//   names   what each value is, where its x alone does not tell
//   across  the name of the x axis, in the table; else "Time"
//   bands   [{ from, to, label?, kind?: "problem" | "warning" }] are shaded; `to` null is open
//   marks   [{ at, label }] are upright lines with a label: what changed when
//   domain  [from, to] of the time axis; else what x spans
//   time    (ms) => text for moments; else the clock's time in UTC
//   max, max2  the least upper end of the value axis (left, right), so that calm does not look wild
//
// Everything that is drawn is told in text as well: the legend, a readout of the moment under the
// pointer or the arrow keys, and the whole as a table. Colours are classes; console.css has them.

/* global d3 */

const MARGIN = { top: 26, right: 14, bottom: 24, left: 52 };
const RIGHT_AXIS = 52;
const TABLE_ROWS = 200;
let charts = 0;

export const utc = (ms) => new Date(ms).toISOString().slice(11, 19);

export function plain(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "no data";
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(3)));
}

function short(value) {
  const size = Math.abs(value);
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
  return size >= 1e3 ? `${Number((value / 1e3).toPrecision(3))}k` : plain(value);
}

function make(tag, attributes = {}, parent = null) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") node.textContent = value;
    else node.setAttribute(name, value);
  }
  parent?.append(node);
  return node;
}

export function lineChart(element, options) {
  const id = `chart-${++charts}`;
  let now = { series: [], x: [], bands: [], marks: [], unit: "", time: utc, ...options };
  let cursor = null; // an index into x, or null
  let view = null; // scales of the last drawing

  element.classList.add("chart");
  element.replaceChildren();
  const legend = make("ul", { class: "legend" }, element);
  const plot = make("div", { class: "chart-plot", tabindex: "0", role: "img" }, element);
  const readout = make("p", { class: "readout", "aria-live": "polite", id: `${id}-readout` }, element);
  plot.setAttribute("aria-describedby", `${id}-readout`);
  const details = make("details", {}, element);
  make("summary", { text: "Show as a table" }, details);
  const box = make("div", { class: "table-box", tabindex: "0", role: "region" }, details);
  const svg = d3.select(plot).append("svg").attr("aria-hidden", "true").attr("focusable", "false");

  const slot = (series, index) => `series-${series.slot ?? (index % 6) + 1}`;
  const onRight = (series) => series.axis === "right";
  const when = (index) => [now.time(now.x[index]), now.names?.[index]].filter(Boolean).join(" · ");
  // A point belongs to one series: that others have none there is no gap of theirs.
  const told = (index) => now.series.filter((series) => series.style !== "rings"
    && (series.style !== "points" || (series.values[index] ?? null) !== null));

  function draw() {
    const { width, height } = plot.getBoundingClientRect();
    if (width < 40 || height < 40) return;
    const right = now.series.some(onRight) ? RIGHT_AXIS : MARGIN.right;
    const inner = { width: width - MARGIN.left - right, height: height - MARGIN.top - MARGIN.bottom };
    const [from, to] = now.domain ?? d3.extent(now.x);
    const x = d3.scale.linear().domain([from ?? 0, to ?? 1]).range([0, inner.width]);
    const scaleOf = (series, least) => {
      const all = series.flatMap((one) => [...one.values, ...(one.high ?? []), ...(one.low ?? [])]);
      const low = Math.min(0, d3.min(all) ?? 0);
      const high = Math.max(least ?? 0, d3.max(all) ?? 0) || 1;
      return d3.scale.linear().domain([low, high]).nice(4).range([inner.height, 0]);
    };
    const left = scaleOf(now.series.filter((one) => !onRight(one)), now.max);
    const second = scaleOf(now.series.filter(onRight), now.max2);
    const scale = (series) => (onRight(series) ? second : left);
    view = { x, inner, scale };

    svg.attr("viewBox", `0 0 ${width} ${height}`).selectAll("*").remove();
    svg.append("clipPath").attr("id", `${id}-clip`).append("rect")
      .attr("width", inner.width).attr("height", inner.height);
    const root = svg.append("g").attr("transform", `translate(${MARGIN.left},${MARGIN.top})`);
    drawAxes(root, x, left, right === RIGHT_AXIS ? second : null, inner);
    const inside = root.append("g").attr("clip-path", `url(#${id}-clip)`);
    drawBands(inside, root, x, inner);
    now.series.forEach((series, index) => drawSeries(inside, series, slot(series, index), x, scale(series)));
    drawMarks(root, x, inner);
    root.append("g").attr("class", "pointer");
    drawCursor();
  }

  function drawAxes(root, x, left, second, inner) {
    const grid = root.append("g").attr("class", "grid");
    for (const value of left.ticks(4)) {
      grid.append("line").attr("x2", inner.width).attr("y1", left(value)).attr("y2", left(value));
      grid.append("text").attr("x", -8).attr("y", left(value)).attr("dy", "0.32em")
        .attr("text-anchor", "end").text(short(value));
    }
    for (const value of second?.ticks(4) ?? []) {
      grid.append("text").attr("x", inner.width + 8).attr("y", second(value)).attr("dy", "0.32em")
        .text(short(value));
    }
    grid.append("text").attr("x", -MARGIN.left).attr("y", -14).text(now.unit);
    const axis = root.append("g").attr("transform", `translate(0,${inner.height})`);
    axis.append("line").attr("class", "axis-line").attr("x2", inner.width);
    const count = Math.max(2, Math.min(6, Math.floor(inner.width / 90)));
    const [from, to] = x.domain();
    for (let step = 0; step < count; step += 1) {
      const at = from + ((to - from) * step) / (count - 1);
      const anchor = step === 0 ? "start" : step === count - 1 ? "end" : "middle";
      axis.append("text").attr("x", x(at)).attr("y", 17).attr("text-anchor", anchor).text(now.time(at));
    }
  }

  function drawBands(inside, root, x, inner) {
    for (const band of now.bands) {
      const start = Math.max(x(band.from), 0);
      const end = Math.min(band.to === null || band.to === undefined ? inner.width : x(band.to), inner.width);
      if (end < 0 || start > inner.width) continue;
      inside.append("rect").attr("class", `band ${band.kind ?? ""}`).attr("x", start)
        .attr("width", Math.max(end - start, 2)).attr("height", inner.height);
      if (band.label && end - start > 7 * band.label.length) {
        root.append("text").attr("class", "band-label").attr("x", start + 4).attr("y", 12).text(band.label);
      }
    }
  }

  function drawSeries(inside, series, colour, x, y) {
    const points = now.x.map((at, index) => ({ at, index }));
    const there = (list) => (point) => list[point.index] !== null && list[point.index] !== undefined;
    if (series.style === "points" || series.style === "rings") {
      drawPoints(inside, series, colour, x, y, points.filter(there(series.values)));
      return;
    }
    const interpolate = series.style === "step" ? "step-after" : "linear";
    if (series.low && series.high) {
      const area = d3.svg.area().interpolate(interpolate)
        .defined((point) => there(series.low)(point) && there(series.high)(point))
        .x((point) => x(point.at)).y0((point) => y(series.low[point.index])).y1((point) => y(series.high[point.index]));
      inside.append("path").attr("class", `area confidence ${colour}`).attr("d", area(points));
    }
    const shape = series.style === "area"
      ? d3.svg.area().y0(y(0)).y1((point) => y(series.values[point.index]))
      : d3.svg.line().y((point) => y(series.values[point.index]));
    shape.interpolate(interpolate).x((point) => x(point.at)).defined(there(series.values));
    const kind = series.style === "area" ? "area" : "line";
    inside.append("path").attr("class", `${kind} ${colour}${series.dashed ? " dashed" : ""}`).attr("d", shape(points) || "M0,0");
  }

  function drawPoints(inside, series, colour, x, y, points) {
    for (const { at, index } of points) {
      if (series.low && series.high) {
        inside.append("line").attr("class", `bar ${colour}`).attr("x1", x(at)).attr("x2", x(at))
          .attr("y1", y(series.low[index])).attr("y2", y(series.high[index]));
      }
      const ring = series.style === "rings";
      inside.append("circle").attr("class", `${ring ? "ring" : "dot"} ${colour}`)
        .attr("r", ring ? (series.radius ?? 8) : 4.5).attr("cx", x(at)).attr("cy", y(series.values[index]));
    }
  }

  function drawMarks(root, x, inner) {
    let free = -Infinity; // where the labels so far end: those that do not fit are in the table
    for (const mark of [...now.marks].sort((one, other) => one.at - other.at)) {
      const at = x(mark.at);
      if (at < 0 || at > inner.width) continue;
      root.append("line").attr("class", "mark").attr("x1", at).attr("x2", at).attr("y1", -4).attr("y2", inner.height);
      const width = 6.6 * mark.label.length;
      const start = Math.min(Math.max(at + 3, 0), inner.width - width);
      if (start <= free || start < 0) continue;
      root.append("text").attr("class", "mark-label").attr("x", start).attr("y", -6).text(mark.label);
      free = start + width + 8;
    }
  }

  function drawCursor() {
    if (!view) return;
    const group = svg.select("g.pointer");
    group.selectAll("*").remove();
    if (cursor === null || cursor >= now.x.length) {
      readout.textContent = now.x.length ? "" : "There is no data yet.";
      return;
    }
    const at = view.x(now.x[cursor]);
    group.append("line").attr("class", "cursor").attr("x1", at).attr("x2", at).attr("y2", view.inner.height);
    now.series.forEach((series, index) => {
      const value = series.values[cursor];
      if (value === null || value === undefined) return;
      group.append("circle").attr("class", `dot ${slot(series, index)}`).attr("r", 4).attr("cx", at)
        .attr("cy", view.scale(series)(value));
    });
    const values = told(cursor).map((series) => `${series.name} ${plain(series.values[cursor])}`);
    const marks = now.marks.filter((mark) => Math.abs(view.x(mark.at) - at) < 4).map((mark) => mark.label);
    const within = (band) => band.from <= now.x[cursor] && (band.to ?? Infinity) >= now.x[cursor];
    const bands = now.bands.filter(within).map((band) => band.label).filter(Boolean);
    readout.textContent = [when(cursor), ...values, ...marks, ...bands].join(" · ");
    // The room that it has once taken stays: what is below must not move away under a pointer.
    readout.style.minHeight = `${readout.offsetHeight}px`;
  }

  function nearest(clientX) {
    if (!view || now.x.length === 0) return null;
    const at = view.x.invert(clientX - plot.getBoundingClientRect().left - MARGIN.left);
    const index = d3.bisectLeft(now.x, at);
    if (index === 0) return 0;
    if (index >= now.x.length) return now.x.length - 1;
    return at - now.x[index - 1] < now.x[index] - at ? index - 1 : index;
  }

  function move(index) {
    cursor = index;
    drawCursor();
  }

  function drawLegend() {
    const names = now.series.map((series) => (onRight(series) ? `${series.name} (right)` : series.name));
    if (legend.childElementCount === names.length && [...legend.children].every((item, i) => item.textContent === names[i])) return;
    legend.replaceChildren(...now.series.map((series, index) => make("li", { class: `${slot(series, index)}${series.dashed ? " dashed" : ""}`, text: names[index] })));
  }

  function fillTable() {
    if (!details.open) return;
    const table = make("table");
    const step = Math.max(1, Math.ceil(now.x.length / TABLE_ROWS));
    const every = step > 1 ? `, one of ${step} values` : "";
    make("caption", { text: `${now.title ?? ""}, ${now.unit}${every}` }, table);
    const head = make("tr", {}, make("thead", {}, table));
    make("th", { scope: "col", text: now.across ?? "Time" }, head);
    const columns = now.series.filter((series) => series.style !== "rings");
    for (const series of columns) {
      make("th", { scope: "col", class: "number", text: series.name }, head);
      if (series.low && series.high) make("th", { scope: "col", class: "number", text: `${series.name}, band` }, head);
    }
    const body = make("tbody", {}, table);
    for (let index = (now.x.length - 1) % step; index < now.x.length; index += step) {
      const row = make("tr", {}, body);
      make("th", { scope: "row", text: when(index) }, row);
      for (const series of columns) {
        const none = !told(index).includes(series);
        make("td", { class: "number", text: none ? "" : plain(series.values[index]) }, row);
        if (series.low && series.high) make("td", { class: "number", text: none ? "" : `${plain(series.low[index])} to ${plain(series.high[index])}` }, row);
      }
    }
    const notes = [
      ...now.marks.map((mark) => [mark.at, mark.label]),
      ...now.bands.filter((band) => band.label).map((band) => [band.from, `${band.label}${band.to ? ` until ${now.time(band.to)}` : ""}`]),
    ].sort((one, other) => one[0] - other[0]);
    const list = make("ul");
    for (const [at, text] of notes) make("li", { text: `${now.time(at)}: ${text}` }, list);
    box.setAttribute("aria-label", `${now.title ?? "Chart"} as a table`);
    box.replaceChildren(table, ...(notes.length ? [list] : []));
  }

  function summarise() {
    const parts = now.series.map((series) => {
      const values = series.values.filter((value) => value !== null && value !== undefined);
      if (values.length === 0) return `${series.name}: no data`;
      if (series.style === "rings") return `${series.name}: ${values.map(plain).join(", ")}`;
      return `${series.name}: ${plain(d3.min(values))} to ${plain(d3.max(values))}, last ${plain(values[values.length - 1])}`;
    });
    const keys = "Arrow keys read single values.";
    plot.setAttribute("aria-label", `${now.title ?? "Chart"}, ${now.unit}. ${parts.join(". ")}. ${keys}`);
  }

  function update(change = {}) {
    const watched = cursor === null ? null : now.x[cursor];
    now = { ...now, ...change };
    if (watched !== null) cursor = now.x.length ? Math.min(d3.bisectLeft(now.x, watched), now.x.length - 1) : null;
    drawLegend();
    draw();
    summarise();
    fillTable();
  }

  plot.addEventListener("pointermove", (event) => move(nearest(event.clientX)));
  plot.addEventListener("pointerleave", () => {
    if (document.activeElement !== plot) move(null);
  });
  plot.addEventListener("blur", () => move(null));
  plot.addEventListener("keydown", (event) => {
    const last = now.x.length - 1;
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };
    if (!(event.key in steps) || last < 0) return;
    event.preventDefault();
    move(Math.max(0, Math.min(last, (cursor ?? last) + steps[event.key])));
  });
  details.addEventListener("toggle", fillTable);
  new ResizeObserver(() => {
    readout.style.minHeight = "";
    draw();
  }).observe(plot);
  update();
  return { update, element };
}
