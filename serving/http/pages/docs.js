/** The API as its own document describes it, with a form for each call. */

import {askForKey, element, keyHeaders, soft} from "./page.js";

const EXAMPLES = {
  RecommendRequest: {user_id: "", surface: "for_you", k: 5, explain: true},
  EventsRequest: {events: [{event_id: "e-1", user_id: "", event_type: "purchase", item_id: ""}]},
  SegmentsRequest: {user_ids: [""]},
  DemandRequest: {item_ids: [""], days: 7, what_if: [{item_id: "", plan: {promotion: 0.2}}]},
};
const nameOf = (ref) => ref.split("/").pop();

const link = (name) => element("a", {href: `#type-${name}`}, name);

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
  const lines = Object.entries(schema.properties || {}).map(([field, value]) => {
    const needed = (schema.required || []).includes(field);
    const note = [needed ? "required" : "", value.default !== undefined && value.default !== null ? `default ${JSON.stringify(value.default)}` : "", value.description || ""];
    return element("tr", {}, element("td", {}, field), element("td", {}, kind(value)), element("td", {class: "soft"}, note.filter(Boolean).join("; ")));
  });
  return element("details", {class: "card", id: `type-${name}`},
    element("summary", {}, name), element("p", {class: "soft"}, schema.description || ""), element("table", {}, lines));
}

function tryIt(method, path, request, parameters) {
  const input = (name) => element("input", {type: "text", placeholder: name, name});
  const id = path.includes("{user_id}") ? input("user_id") : null;
  const asked = parameters.filter((one) => one.in === "query").map((one) => input(one.name));
  const body = request ? element("textarea", {}, JSON.stringify(EXAMPLES[request] || {}, null, 2)) : null;
  const out = element("pre");
  return element("form", {onsubmit: send}, body, element("p", {class: "row"}, id, asked, element("button", {}, "Send")), out);

  async function send(event) {
    event.preventDefault();
    const query = new URLSearchParams(asked.filter((one) => one.value).map((one) => [one.name, one.value])).toString();
    const target = path.replace("{user_id}", encodeURIComponent(id ? id.value : "")) + (query ? `?${query}` : "");
    const ask = () => fetch(target, {method: method.toUpperCase(), headers: keyHeaders(), body: body ? body.value : undefined});
    let answer = await ask();
    if (answer.status === 401 && await askForKey()) answer = await ask();
    out.textContent = `${answer.status}\n${JSON.stringify(await answer.json(), null, 2)}`;
  }
}

function call(path, method, operation) {
  const schemaOf = (part) => part && nameOf(part.content["application/json"].schema.$ref);
  const request = schemaOf(operation.requestBody), errors = Object.keys(operation.responses).slice(1).join(", ");
  return element("details", {class: "card"},
    element("summary", {}, element("span", {class: "method"}, method.toUpperCase()), element("code", {}, path), soft(` ${operation.summary}`)),
    element("p", {class: "soft"}, request ? ["takes ", link(request), ", "] : null,
      "answers ", link(schemaOf(operation.responses["200"])), `; errors ${errors} answer `, link("ErrorAnswer")),
    tryIt(method, path, request, operation.parameters || []));
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
