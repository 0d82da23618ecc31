// Shows /openapi.json: at /redoc to read, at /docs with a form for each route.
"use strict";

const trying = location.pathname === "/docs";

function make(tag, content, attributes = {}) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  for (const part of [content].flat()) if (part !== undefined) node.append(part);
  return node;
}

function table(heads, rows) {
  const head = make("tr", heads.map((text) => make("th", text)));
  return make("table", [head, ...rows.map((row) => make("tr", row.map((cell) => make("td", cell))))]);
}

function resolve(api, schema) {
  if (!schema || !schema.$ref) return schema || {};
  return api.components.schemas[schema.$ref.split("/").pop()];
}

function kind(api, schema) {
  const found = resolve(api, schema);
  if (found.anyOf) return found.anyOf.map((part) => kind(api, part)).join(" or ");
  if (found.enum) return found.enum.map((value) => JSON.stringify(value)).join(", ");
  if (found.type === "array") return `list of ${kind(api, found.items)}`;
  const name = [found.type].flat().filter(Boolean).join(" or ") || "any JSON";
  return found.format ? `${name} (${found.format})` : name;
}

function bounds(schema) {
  const parts = schema.anyOf ? schema.anyOf : [schema];
  const told = ["default", "minimum", "maximum", "minLength", "maxLength", "maxItems"];
  return [schema, ...parts].flatMap((part) =>
    told.filter((name) => part[name] !== undefined && part[name] !== null)
      .map((name) => `${name} ${JSON.stringify(part[name])}`))
    .filter((text, at, all) => all.indexOf(text) === at).join(", ");
}

function fields(api, schema) {
  const found = resolve(api, schema);
  if (found.type === "array") return fields(api, found.items);
  const required = new Set(found.required || []);
  return table(["Field", "Type", "Bounds"], Object.entries(found.properties || {}).map(
    ([name, part]) => [make("code", required.has(name) ? `${name} *` : name), kind(api, part), bounds(part)]));
}

function example(api, schema) {
  const found = resolve(api, schema);
  if (found.type === "array") return [example(api, found.items)];
  const value = {};
  for (const name of found.required || Object.keys(found.properties || {}).slice(0, 1)) {
    const part = resolve(api, found.properties[name]);
    const first = part.anyOf ? part.anyOf[0] : part;
    value[name] = first.enum ? first.enum[0]
      : first.format === "date-time" ? new Date().toISOString()
      : first.type === "integer" ? 0
      : name === "event_id" ? String(Math.random()).slice(2)
      : name === "commit_hash" ? "0123abc" : name;
  }
  return value;
}

function form(api, method, path, operation) {
  const inputs = (operation.parameters || []).map((parameter) => {
    const input = make("input", undefined, { type: "text" });
    return { parameter, input, label: make("label", [`${parameter.name} (${parameter.in}) `, input]) };
  });
  const schema = operation.requestBody && operation.requestBody.content["application/json"].schema;
  const body = schema && make("textarea", JSON.stringify(example(api, schema), null, 2), { "aria-label": "Body" });
  const output = make("pre", "", { "aria-live": "polite" });
  output.hidden = true;
  const button = make("button", "Send", { type: "submit" });
  const node = make("form", [...inputs.map((entry) => entry.label), body || undefined, button, output]);
  node.addEventListener("submit", async (event) => {
    event.preventDefault();
    let target = path;
    const query = new URLSearchParams();
    for (const { parameter, input } of inputs) {
      if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      else if (input.value) query.set(parameter.name, input.value);
    }
    const headers = {};
    const token = document.getElementById("token").value;
    if (token) headers.Authorization = `Bearer ${token}`;
    if (body) headers["Content-Type"] = "application/json";
    output.hidden = false;
    try {
      const answer = await fetch(target + (query.size ? `?${query}` : ""), { method, headers, body: body && body.value });
      const text = await answer.text();
      let shown = text;
      try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* no JSON: as it came */ }
      const cursor = answer.headers.get("X-Next-Cursor");
      output.textContent = `${answer.status} ${answer.statusText}\n${cursor ? `X-Next-Cursor: ${cursor}\n` : ""}\n${shown}`;
    } catch (error) {
      output.textContent = `There was no answer: ${error.message}`;
    }
  });
  return node;
}

function route(api, path, method, operation) {
  const id = `${method}${path}`.replace(/[^a-z0-9]+/gi, "-");
  const link = make("a", [make("span", method, { class: "method" }), ` ${path}`], { href: `#${id}` });
  const schema = operation.requestBody && operation.requestBody.content["application/json"].schema;
  const parts = [make("h2", [make("span", method, { class: "method" }), ` ${path}`]), make("p", `${operation.summary}.`)];
  if (operation.security) parts.push(make("p", "Needs the token where one is set."));
  if (operation.parameters) {
    parts.push(make("h3", "Parameters"), table(["Name", "Where", "Type", "Bounds"], operation.parameters.map(
      (one) => [make("code", one.name), one.in, kind(api, one.schema), bounds(one.schema)])));
  }
  if (schema) parts.push(make("details", [make("summary", `Body: ${kind(api, schema)}`), fields(api, schema)]));
  const answers = Object.entries(operation.responses).map(([status, answer]) => {
    const json = answer.content && answer.content["application/json"].schema;
    const is = json ? make("details", [make("summary", answer.description), fields(api, json)]) : answer.description;
    return [status, is];
  });
  parts.push(make("h3", "Answers"), table(["Status", "What"], answers));
  if (trying) parts.push(make("h3", "Try it"), form(api, method.toUpperCase(), path, operation));
  return [make("li", link), make("section", parts, { id })];
}

async function show() {
  const answer = await fetch("/openapi.json");
  const api = await answer.json();
  const other = trying ? ["/redoc", "to read"] : ["/docs", "to try things out"];
  document.getElementById("about").replaceChildren(
    `${api.info.description} Version ${api.info.version}. `, make("a", "openapi.json", { href: "/openapi.json" }),
    " · ", make("a", other[0], { href: other[0] }), ` ${other[1]}.`);
  document.getElementById("token-field").hidden = !trying;
  const list = make("ul");
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const [entry, section] = route(api, path, method, operation);
      list.append(entry);
      document.getElementById("routes").append(section);
    }
  }
  document.getElementById("contents").append(list);
}

show().catch((error) => {
  document.getElementById("about").textContent = `The document cannot be shown: ${error.message}`;
});
