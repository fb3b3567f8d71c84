/** What all pages share: elements made of text, calls to the service with the caller's key, and words for values. */

const KEY = "footfall-key";

export const $ = (id) => document.getElementById(id);

/** Make an element. Children are nodes or texts: what the shop calls a thing is never read as HTML. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export const soft = (...children) => element("span", {class: "soft"}, ...children);
export const tag = (text, kind = "", title) => element("span", {class: `tag ${kind}`, title}, text);

/** The service's refusal, with its status and its word for programs. */
export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    Object.assign(this, {status, code});
  }
}

/** Return the headers of a call, with the key where there is one. */
export function keyHeaders() {
  const key = sessionStorage.getItem(KEY);
  return {"content-type": "application/json", ...(key && {authorization: `Bearer ${key}`})};
}

/** Call the service; ask for a key where it wants one, and call again. */
export async function call(method, path, body) {
  for (;;) {
    const answer = await fetch(path, {method, headers: keyHeaders(), body: body && JSON.stringify(body)});
    const content = await answer.json().catch(() => ({}));
    if (answer.ok) return content;
    const {code = "", message = `HTTP ${answer.status}`} = content.error || {};
    if (answer.status !== 401 || !(await askForKey(message))) throw new Refused(answer.status, code, message);
  }
}

let asking = null;

/** Ask for a key; calls that need one meanwhile wait for the same answer. */
export function askForKey(why = "") {
  asking ||= new Promise((resolve) => {
    const field = element("input", {type: "password", id: "key", autocomplete: "off", spellcheck: "false", required: true});
    const dialog = element("dialog", {"aria-labelledby": "key-title"},
      element("form", {method: "dialog"},
        element("h2", {id: "key-title"}, "API key"),
        element("p", {}, why, " It stays in this tab, and is gone when the tab is closed."),
        element("p", {class: "row"}, element("label", {for: "key", class: "aside"}, "Key"), field,
          element("button", {value: "use"}, "Use"),
          element("button", {value: "no", class: "quiet", formnovalidate: true}, "Cancel"))));
    dialog.addEventListener("close", () => {
      const isGiven = dialog.returnValue === "use" && field.value.trim();
      if (isGiven) sessionStorage.setItem(KEY, field.value.trim());
      dialog.remove();
      asking = null;
      resolve(Boolean(isGiven));
    });
    document.body.append(dialog);
    dialog.showModal();
  });
  return asking;
}

export function forgetKey() {
  sessionStorage.removeItem(KEY);
}
export const hasKey = () => sessionStorage.getItem(KEY) !== null;

export const words = (name) => name.replaceAll("_", " ");
export const label = (name) => {
  const text = words(name.replace(/^tag_/, ""));
  return text[0].toUpperCase() + text.slice(1);
};
export const number = (value) => value.toLocaleString("en", {maximumFractionDigits: 2});
export const counted = (value, one) => `${number(value)} ${one}${value === 1 ? "" : "s"}`;
export const money = (value, {currency, minor_units}) => currency
  ? (value / minor_units).toLocaleString("en", {style: "currency", currency})
  : `${number(Math.round(value))} minor units`;
export const day = (value) => String(value).slice(0, 10);
export const instant = (value) => value ? new Date(value).toLocaleString() : "";
export const plain = (value) => value === true ? "yes" : typeof value === "number" ? number(value) : [value].flat().join(", ");
