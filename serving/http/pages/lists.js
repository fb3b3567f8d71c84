/** Lists of items: what a merchandiser wants to know of each, what moved, and what a customer could do with it. */

import {call, element, money, number, soft, tag, words} from "./page.js";

/** What a customer does with an item: the event, its word, its key, and what is said when it is done. */
export const DEEDS = [
  {event: "view", word: "View", key: "v"},
  {event: "favorite", word: "Favourite", key: "f"},
  {event: "cart", word: "Cart", key: "c"},
  {event: "purchase", word: "Buy", key: "b"},
];

const known = new Map();  // items by id, as far as they were looked up
let coins = {currency: null, minor_units: 1};
const MOST = 1000;

/** Look up items that are not known yet; a list is shown without prices where that fails. */
export async function lookUp(ids) {
  const missing = [...new Set(ids)].filter((id) => !known.has(id)).slice(0, MOST);
  if (!missing.length) return;
  const answer = await call("POST", "/v1/items", {item_ids: missing}).catch(() => null);
  if (!answer) return;
  coins = {currency: answer.currency, minor_units: answer.minor_units};
  for (const item of answer.items) known.set(item.item_id, item);
}
export const itemOf = (id) => known.get(id) || {item_id: id};
export const titleOf = (id) => itemOf(id).title || id;
export const priceOf = ({price}) => price === null || price === undefined ? "" : money(price, coins);

/** Where each item stood before: rank by id, counted from 1. */
export const ranksOf = (ids) => new Map(ids.map((id, place) => [id, place + 1]));

/** Say how an item moved: came in, up 3, down 2, nothing; `beside` compares with another list instead. */
export function moved(id, rank, before, beside) {
  if (!before) return null;
  const was = before.get(id);
  if (was === undefined) return {kind: "in", text: beside ? "only here" : "new", title: beside ? "not in the other list" : "was not in the list before"};
  if (was === rank) return null;
  const title = beside ? `place ${was} of the other list` : `was at place ${was} before`;
  return was > rank ? {kind: "up", text: `▲${was - rank}`, title} : {kind: "down", text: `▼${rank - was}`, title};
}

function facts(item) {
  const stock = item.stock === null || item.stock === undefined ? null : `${number(item.stock)} in stock`;
  const shown = [item.category, stock, item.available === false && "not shown"].filter(Boolean);
  return shown.length ? soft(shown.join(" · ")) : null;
}

const EFFECTS = {pin: "pinned", boost: "boosted", bury: "buried", freshness: "fresh", diversity: "diverse", cap: "capped", fill: "fills", explore: "explored"};

/** One line of a recommendation list. */
export function recommended(one, {rank, before, beside, strategy, open, act}) {
  const item = itemOf(one.item_id), move = moved(one.item_id, rank, before, beside);
  const because = (one.because || []).filter((id) => id !== one.item_id);
  const line = element("li", {class: move ? `moved ${move.kind}` : "", "data-item": one.item_id, tabindex: rank === 1 ? "0" : "-1", "aria-label": `${rank}. ${one.title || one.item_id}`},
    element("span", {class: "rank"}, String(rank)),
    element("span", {class: "name"},
      element("button", {class: "link", type: "button", tabindex: "-1", onclick: () => open(one.item_id)}, one.title || one.item_id)),
    move && tag(move.text, move.kind, move.title),
    element("span", {class: "price"}, priceOf(item)),
    element("div", {class: "note"},
      facts(item), one.reason ? soft(one.reason) : null,
      because.length ? soft(`because of ${because.map(titleOf).join(", ")}`) : null),
    element("div", {class: "note marks"},
      tag(words(one.strategy || strategy), "", "what chose it"),
      (one.rules || []).map(({rule, effect}) => tag(`${EFFECTS[effect] || effect}: ${words(rule)}`, "rule", "a rule of the shop")),
      soft(`score ${Number(one.score.toPrecision(3))}`),
      act && deeds(one.item_id, act)));
  line.addEventListener("keydown", (event) => {
    if (event.target !== line || event.ctrlKey || event.metaKey || event.altKey) return;
    const deed = DEEDS.find(({key}) => key === event.key);
    if (event.key === "Enter") open(one.item_id);
    else if (deed && act) act(deed, one.item_id);
    else return;
    event.preventDefault();
  });
  return line;
}

/** Buttons for what a customer could do with an item. */
export function deeds(id, act) {
  return element("span", {class: "deeds"}, DEEDS.map((deed) => element("button",
    {type: "button", class: "quiet", tabindex: "-1", title: `As the customer: ${deed.event} (${deed.key})`, "aria-label": `${deed.word} ${titleOf(id)}`, onclick: () => act(deed, id)},
    deed.word)));
}

/** Let arrow keys, Home and End walk over the lines of a list; one of them is in the order of focus. */
export function walkable(list) {
  list.addEventListener("keydown", (event) => {
    const lines = [...list.querySelectorAll(":scope > li[tabindex]")], at = lines.indexOf(document.activeElement);
    const to = {ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: lines.length - 1}[event.key];
    if (at < 0 || to === undefined || !lines[to]) return;
    event.preventDefault();
    lines[at].tabIndex = -1;
    lines[to].tabIndex = 0;
    lines[to].focus();
  });
}

/** One line that only names an item and leads to it. */
export function plainLine(id, {open, title, note, tags = []}) {
  return element("li", {},
    element("span", {class: "name"}, element("button", {class: "link", type: "button", onclick: () => open(id)}, title || titleOf(id))),
    tags.filter(Boolean).map((text) => tag(text)),
    note ? element("div", {class: "note"}, soft(note)) : null);
}

export function fill(list, lines, empty) {
  list.replaceChildren(...(lines.length ? lines : [element("li", {}, soft(empty))]));
}
