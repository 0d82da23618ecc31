// The policy page: says what an edit would change before it is made, and draws the candidates
// beside the policy in force.

import { lineChart, plain } from "./charts.js";

const form = document.getElementById("edit");
const preview = document.getElementById("preview");
const WAIT_MS = 300;

function node(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function value(of) {
  return typeof of === "number" ? plain(of) : String(of);
}

// What an edit would change.

function showFaults(faults) {
  const told = new Map();
  for (const fault of faults) {
    for (const name of [fault.knob, fault.other]) {
      if (name && !told.has(name)) told.set(name, `${fault.scope}: ${fault.detail}`);
    }
  }
  for (const row of form.querySelectorAll(".knob")) {
    const error = told.get(row.dataset.knob) ?? "";
    const input = row.querySelector("input");
    row.querySelector(".error").textContent = error;
    row.classList.toggle("wrong", error !== "");
    if (error) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  }
}

function showChange(told) {
  showFaults([]);
  const parts = [];
  if (told.turned.length === 0) {
    parts.push(node("p", "No value would change: the scope would only set what it has already."));
  } else {
    const list = node("ul", "");
    for (const { knob, before, after, unit, kept_by: keptBy } of told.turned) {
      const item = node("li", "");
      const units = unit === "word" ? "" : ` ${unit.split(",")[0]}`;
      item.append(node("code", knob), `: ${value(before)} → `, node("strong", value(after)), units);
      if (keptBy.length > 0) item.append(`; ${keptBy.join(", ")} ${keptBy.length > 1 ? "keep their" : "keeps its"} own`);
      list.append(item);
    }
    parts.push(list);
  }
  const words = (rung) => rung.replace("_", " ");
  const same = told.rung_now === told.rung_then;
  parts.push(node("p", `At the present stress of ${plain(told.stress)} the policy ${same
    ? `stays at “${words(told.rung_now)}”` : `goes from “${words(told.rung_now)}” to “${words(told.rung_then)}”`}.`));
  preview.replaceChildren(...parts);
}

function showProblem(problem) {
  const faults = problem.faults ?? [];
  showFaults(faults);
  const parts = [node("p", "This would not be accepted:", "error")];
  const list = node("ul", "");
  for (const fault of faults) list.append(node("li", `${fault.knob}: ${fault.detail}`));
  if (faults.length === 0) list.append(node("li", problem.detail));
  preview.replaceChildren(...parts, list);
}

const turnsSomething = () => [...new FormData(form)].some(([name, text]) =>
  (name.startsWith("set.") && text.trim() !== "") || name.startsWith("clear."));

let asked = 0;

async function ask() {
  const number = ++asked;
  if (!turnsSomething()) {
    showFaults([]);
    preview.replaceChildren(node("p", "Set a knob: what would change is told here before anything does.", "dim"));
    return;
  }
  const fields = new URLSearchParams(new FormData(form));
  // The reason may still be written; what the edit would change does not hang on it.
  if (!(fields.get("reason") ?? "").trim()) fields.set("reason", "a look at what would change");
  const answer = await fetch(form.dataset.preview, {
    method: "POST", body: fields, headers: { Accept: "application/json" },
  }).catch(() => null);
  const unheard = { problem: { detail: "the service could not be asked; is it there, and are you signed in?" } };
  const told = answer?.ok ? await answer.json().catch(() => unheard) : unheard;
  if (number !== asked) return; // what was typed since then has been asked about
  if (told.problem) showProblem(told.problem);
  else showChange(told);
}

let timer = 0;
form.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(ask, WAIT_MS);
});
if (turnsSomething()) ask();

// Candidates beside the policy in force.

const compare = document.getElementById("compare");

function compareLive() {
  const names = compare.dataset.candidates.split(" ");
  const wanted = ["policy.lost", ...names.map((name) => `candidate.${name}.lost`)];
  let times = [];
  let columns = new Map();
  const series = () => wanted.map((name, index) => ({
    name: index === 0 ? "in force" : names[index - 1], slot: index + 1, dashed: index > 0,
    values: columns.get(name) ?? times.map(() => null),
  }));
  const domain = () => [Math.max(times.at(-1) - 300_000, Math.min(times[0], times.at(-1) - 60_000)), times.at(-1)];
  const chart = lineChart(compare, { title: "Frames given a second", unit: "frames/s", x: [], series: series(), max: 1 });
  const draw = () => chart.update({ x: times, series: series(), domain: domain() });
  const source = new EventSource(compare.dataset.live);
  source.addEventListener("history", ({ data }) => {
    const told = JSON.parse(data);
    const from = Math.max(0, told.at.length - 300);
    times = told.at.slice(from);
    columns = new Map(wanted.map((name) => [name, told.columns[name]?.slice(from) ?? times.map(() => null)]));
    draw();
  });
  source.addEventListener("sample", ({ data }) => {
    const told = JSON.parse(data);
    times.push(told.at);
    for (const name of wanted) columns.get(name).push(told.values[name] ?? null);
    if (times.length > 300) {
      times.shift();
      for (const column of columns.values()) column.shift();
    }
    const stress = document.getElementById("now-stress");
    stress.textContent = String(Math.round(told.values["stress.level"]));
    draw();
  });
  // A chart that has stopped looks like one in which nothing happens.
  const stopped = (words) => compare.after(node("p", `${words}: what is drawn ends there. Open the page again.`, "error"));
  source.addEventListener("signed-out", () => {
    source.close();
    stopped("Signed out");
  });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) stopped("The service does not tell any more");
  });
}

if (compare) compareLive();
