/** An item's page: what is known of it, its neighbours, and what it will sell. */

import {call, day, element, label, number, soft, words} from "./page.js";
import {deeds, fill, itemOf, lookUp, plainLine, priceOf} from "./lists.js";
import {forecastPlot} from "./plot.js";

const NEIGHBOURS = [["similar", "Similar"], ["upgrade", "A step up in price"], ["bought_together", "Bought together"]];
const DECISION = {lead_time_days: "Lead time, days", lead_mean: "Sold in the lead time, on average", on_hand: "On hand", days_of_cover: "Days of cover",
  stockout_risk: "Risk of running out", runs_out_on: "Runs out on", newsvendor_level: "Best service level", newsvendor_quantity: "Best order"};
const LEVELS = ["0.1", "0.5", "0.9"];

export async function showItem(id, {box, user, release, open, act}) {
  await lookUp([id]);
  const item = itemOf(id);
  const head = element("section", {class: "card wide", "aria-labelledby": "item-title"},
    element("h2", {id: "item-title", class: "title", tabindex: "-1"}, item.title || id),
    element("dl", {class: "facts"}, ...facts(item).flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)])),
    user ? element("p", {class: "row"}, soft(`As ${user}: `), deeds(id, act)) : null);
  for (const button of head.querySelectorAll("button")) button.tabIndex = 0;
  const lists = NEIGHBOURS.map(([surface, title]) => ({surface, list: element("ol", {"data-surface": surface}), title}));
  const demand = element("section", {class: "card wide", "aria-label": "Demand"}, element("h2", {}, "Demand"), soft("…"));
  box.replaceChildren(head, ...lists.map(({list, title}) => element("section", {class: "card"}, element("h2", {}, title), list)), demand);
  await Promise.all([...lists.map((one) => neighbours(id, one, {release, open})), forecast(id, demand)]);
}

function facts(item) {
  const known = [
    ["Item", item.item_id], ["Price", priceOf(item)], ["Category", item.category], ["Brand", item.brand],
    ["Labels", (item.labels || []).join(", ")],
    ["Stock", item.stock === null || item.stock === undefined ? "" : number(item.stock)],
    ["Bought again after", item.cycle_days ? `${number(item.cycle_days)} days` : ""],
    ["In the shop since", item.created_at ? day(item.created_at) : ""],
    ["Shown", item.available === undefined ? "" : item.available ? "yes" : "no"],
  ];
  return known.filter(([, value]) => value);
}

async function neighbours(id, {surface, list}, {release, open}) {
  try {
    const request = {surface, item_id: id, k: 8, explain: true, preview: true, ...(release && {release_id: release})};
    const answer = await call("POST", "/v1/recommend", request);
    await lookUp(answer.items.map((one) => one.item_id));
    fill(list, answer.items.map((one) => plainLine(one.item_id, {open, title: one.title,
      note: [priceOf(itemOf(one.item_id)), one.reason].filter(Boolean).join(" · "), tags: [one.strategy && words(one.strategy)]})), "None.");
  } catch (error) {
    fill(list, [], error.message);
  }
}

async function forecast(id, box) {
  try {
    const {items: [one], as_of, assumptions} = await call("POST", "/v1/demand", {item_ids: [id]});
    box.replaceChildren(element("h2", {}, "Demand ", soft(as_of ? `as of ${day(as_of)}` : "")),
      forecastPlot(one.forecast, Math.max(280, Math.min(900, box.clientWidth - 40))),
      element("p", {class: "soft legend"}, element("span", {class: "key mean"}), " mean ",
        element("span", {class: "key narrow"}), " 4 of 10 days ", element("span", {class: "key wide"}), " 8 of 10 days"),
      decision(one.decision),
      numbers(one.forecast),
      assumptions.length ? element("details", {}, element("summary", {}, "What this takes for granted"), element("ul", {}, assumptions.map((text) => element("li", {}, text)))) : "");
  } catch (error) {
    box.replaceChildren(element("h2", {}, "Demand"), soft(error.message));
  }
}

/** Reorder point and what goes with it, by service level. */
function decision(found) {
  if (!found) return element("p", {class: "soft"}, "The lead time lies beyond what is forecast, so there is no reorder point.");
  const levels = [...new Set(Object.keys(found).map((name) => (name.match(/_(\d\d)$/) || [])[1]).filter(Boolean))].sort();
  const rows = ["reorder_point", "safety_stock", "order_up_to"].filter((name) => levels.some((level) => `${name}_${level}` in found));
  const others = Object.entries(found).filter(([name]) => !/_(\d\d)$/.test(name) && name !== "new");
  return element("div", {class: "columns"},
    element("table", {},
      element("caption", {}, "Service level"),
      element("tr", {}, element("th", {scope: "col"}, "Units"), levels.map((level) => element("th", {scope: "col"}, `${level}%`))),
      rows.map((name) => element("tr", {}, element("th", {scope: "row"}, label(name)), levels.map((level) => {
        const value = found[`${name}_${level}`];
        return element("td", {}, value === undefined ? "" : number(value));
      })))),
    element("dl", {}, others.flatMap(([name, value]) => [element("dt", {}, DECISION[name] || label(name)), element("dd", {}, typeof value === "number" ? number(value) : day(value))])));
}

function numbers(periods) {
  return element("details", {}, element("summary", {}, "Numbers"), element("table", {},
    element("tr", {}, element("th", {scope: "col"}, "Day"), element("th", {scope: "col"}, "Mean"), LEVELS.map((level) => element("th", {scope: "col"}, `${Math.round(100 * level)}%`))),
    periods.map((one) => element("tr", {}, element("td", {}, day(one.day)), element("td", {}, number(one.mean)), LEVELS.map((level) => element("td", {}, number(one.quantiles[level])))))));
}
