/** The API as its own document describes it, with a form for each call. */

import {askForKey, keyHeaders} from "./page.js";

const EXAMPLES = {
  RecommendRequest: {user_id: "", surface: "for_you", k: 5, explain: true},
  EventsRequest: {events: [{event_id: "e-1", user_id: "", event_type: "purchase", item_id: ""}]},
  SegmentsRequest: {user_ids: [""]},
  DemandRequest: {item_ids: [""], days: 7, what_if: [{item_id: "", plan: {promotion: 0.2}}]},
};
const nameOf = (ref) => ref.split("/").pop();

function element(tag, text, kind) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function link(name) {
  return Object.assign(element("a", name), {href: `#type-${name}`});
}

/** What a value may be, as words and links: `list of Event`, `integer 1 .. 1000`. */
function kind(schema) {
  if (schema.$ref) return [link(nameOf(schema.$ref))];
  if (schema.anyOf) return schema.anyOf.flatMap((one, n) => n ? [" or ", ...kind(one)] : kind(one));
  if (schema.enum) return [schema.enum.join(" | ")];
  if (schema.type === "array") return ["list of ", ...kind(schema.items || {})];
  const low = schema.minimum ?? schema.minLength, high = schema.maximum ?? schema.maxLength;
  const range = low === undefined && high === undefined ? "" : ` ${low ?? ""} .. ${high ?? ""}`;
  const unit = range && schema.type === "string" ? " characters" : "";
  return [(schema.format || schema.type || "anything") + range + unit];
}

function typeTable(name, schema) {
  const card = element("details", undefined, "card");
  card.id = `type-${name}`;
  card.append(element("summary", name), element("p", schema.description || "", "soft"));
  const table = element("table");
  for (const [field, value] of Object.entries(schema.properties || {})) {
    const line = element("tr"), cell = element("td");
    cell.append(...kind(value));
    const needed = (schema.required || []).includes(field);
    const note = [needed ? "required" : "", value.default !== undefined && value.default !== null ? `default ${JSON.stringify(value.default)}` : "", value.description || ""];
    line.append(element("td", field), cell, element("td", note.filter(Boolean).join("; "), "soft"));
    table.append(line);
  }
  card.append(table);
  return card;
}

function tryIt(method, path, request, parameters) {
  const box = element("form"), line = element("p", undefined, "row");
  const id = path.includes("{user_id}") ? Object.assign(element("input"), {type: "text", placeholder: "user_id"}) : null;
  const asked = parameters.filter((one) => one.in === "query").map((one) => Object.assign(element("input"), {type: "text", placeholder: one.name, name: one.name}));
  const body = request ? Object.assign(element("textarea"), {value: JSON.stringify(EXAMPLES[request] || {}, null, 2)}) : null;
  const out = element("pre");
  if (id) line.append(id);
  line.append(...asked);
  line.append(element("button", "Send"));
  box.append(...(body ? [body] : []), line, out);
  box.onsubmit = async (event) => {
    event.preventDefault();
    const query = new URLSearchParams(asked.filter((one) => one.value).map((one) => [one.name, one.value])).toString();
    const target = path.replace("{user_id}", encodeURIComponent(id ? id.value : "")) + (query ? `?${query}` : "");
    const send = () => fetch(target, {method: method.toUpperCase(), headers: keyHeaders(), body: body ? body.value : undefined});
    let answer = await send();
    if (answer.status === 401 && await askForKey()) answer = await send();
    out.textContent = `${answer.status}\n${JSON.stringify(await answer.json(), null, 2)}`;
  };
  return box;
}

function call(path, method, operation) {
  const card = element("details", undefined, "card"), head = element("summary");
  head.append(element("span", method.toUpperCase(), "method"), element("code", path), element("span", ` ${operation.summary}`, "soft"));
  const schemaOf = (part) => part && nameOf(part.content["application/json"].schema.$ref);
  const request = schemaOf(operation.requestBody), types = element("p", undefined, "soft");
  if (request) types.append("takes ", link(request), ", ");
  types.append("answers ", link(schemaOf(operation.responses["200"])), "; errors ", Object.keys(operation.responses).slice(1).join(", "), " answer ", link("ErrorAnswer"));
  card.append(head, types, tryIt(method, path, request, operation.parameters || []));
  return card;
}

fetch("/openapi.json").then((answer) => answer.json()).then((spec) => {
  document.getElementById("version").textContent = `${spec.info.title} ${spec.info.version}. ${spec.info.description}`;
  for (const [path, methods] of Object.entries(spec.paths))
    for (const [method, operation] of Object.entries(methods)) document.getElementById("calls").append(call(path, method, operation));
  for (const [name, schema] of Object.entries(spec.components.schemas)) document.getElementById("types").append(typeTable(name, schema));
  const open = () => { const at = document.querySelector(location.hash || "#none"); if (at) at.open = true; };
  addEventListener("hashchange", open);
  open();
});
