// A tuning's page: frames lost against each error, a point for each policy and load.

import { lineChart, plain } from "./charts.js";

const CHARTS = {
  range_degrees: ["Error of the range of motion", "degrees off"],
  repetitions: ["Error of the repetitions", "repetitions off"],
  tempo_ms: ["Error of the tempo", "ms off"],
};
const COLOURS = 4;

function draw(key, [title, unit], { loads, points, bounds }) {
  const there = points.filter((point) => point[key] !== null);
  const element = document.getElementById(`chart-${key}`);
  if (there.length === 0) {
    element.textContent = "No session tells it.";
    return;
  }
  const part = (of, index) => there.map((point) => (of(point) ? point[key][index] : null));
  const series = loads.map((load, index) => {
    const own = (point) => point.load === load;
    return {
      name: `${plain(load)} × capacity`, style: "points", slot: (index % COLOURS) + 1,
      values: part(own, 0), low: part(own, 1), high: part(own, 2),
    };
  });
  series.push({ name: "in force then", style: "rings", slot: 6, radius: 8, values: part((point) => point.in_force, 0) });
  if (there.some((point) => point.best)) {
    series.push({ name: "best", style: "rings", slot: 5, radius: 11, values: part((point) => point.best, 0) });
  }
  if (bounds[key] !== null) {
    series.push({ name: "the bound", dashed: true, slot: 6, values: there.map(() => bounds[key]) });
  }
  const most = Math.max(...there.map((point) => point.lost));
  lineChart(element, {
    title, unit, series,
    x: there.map((point) => point.lost),
    names: there.map((point) => [point.policy, point.best ? "best" : ""].filter(Boolean).join(", ")),
    across: "Frames lost, and the policy",
    time: (lost) => `${Number(lost.toFixed(lost < 10 ? 1 : 0))} % lost`,
    domain: [0, Math.max(1, most * 1.05)],
  });
}

const place = document.getElementById("tuning");
const answer = await fetch(place.dataset.points, { headers: { Accept: "application/json" } }).catch(() => null);
const told = answer?.ok ? await answer.json().catch(() => null) : null;
if (told) {
  for (const [key, words] of Object.entries(CHARTS)) draw(key, words, told);
} else {
  document.getElementById("trouble").textContent = "The points could not be had; open the page again.";
}
