/** What is known of a customer: profile, tags, open triggers, cart, intent and history. */

import {call, counted, day, element, instant, label, money, number, plain, soft, tag, words} from "./page.js";
import {fill, plainLine} from "./lists.js";

const outOfFive = (value) => `${value} of 5`;

/** Columns of the customer table in people's words, in order; a column that is not here keeps its name. */
const FIELDS = {
  growth_stage: ["Growth stage", words],
  lifecycle: ["Stage", plain],
  favourite_category: ["Likes best", plain],
  frequency: ["Orders", number],
  monetary: ["Spent in all", money],
  average_basket: ["Average basket", money],
  recency_days: ["Last order", (value) => `${counted(value, "day")} before`],
  last_purchase_day: ["Last order on", day],
  first_purchase_day: ["First order on", day],
  num_interactions: ["Events", number],
  first_interaction_day: ["First seen on", day],
  last_interaction_day: ["Last seen on", day],
  recency_score: ["Recency score", outOfFive],
  frequency_score: ["Frequency score", outOfFive],
  monetary_score: ["Spending score", outOfFive],
  value_tier: ["Value", words],
  churn_risk: ["Churn risk", (value) => typeof value === "number" ? `${Math.round(100 * value)}%` : plain(value)],
  best_hour: ["Around most at", (value) => `${value}:00`],
  last_region: ["Region", plain],
  last_device_id: ["Device", plain],
};
const MOST_AT_ONCE = 14;
const isEmpty = (value) => value === null || value === "" || value === false || (Array.isArray(value) && !value.length);
const isRecord = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** Return a customer, `null` for someone new, or `{refusal}` where nothing may be shown. */
export async function load(user) {
  if (!user) return null;
  try {
    return await call("GET", `/v1/customers/${encodeURIComponent(user)}`);
  } catch (error) {
    if (error.status === 404 || error.status === 503) return null;
    if (error.status === 403) return {refusal: error.message};
    throw error;
  }
}

export function profile(customer, box) {
  const found = (customer && customer.profile) || {};
  const names = new Set([...Object.keys(FIELDS), ...Object.keys(found)]);
  const shown = [...names].filter((name) => name in found && !isEmpty(found[name]));
  const pairs = shown.map((name) => {
    const [title, format] = FIELDS[name] || [label(name), (value) => isRecord(value) ? JSON.stringify(value) : plain(value)];
    return [element("dt", {}, title), element("dd", {}, format(found[name], customer))];
  });
  const refusal = customer && customer.refusal;
  if (!shown.length) return box.replaceChildren(element("dl", {}, element("dt", {}, refusal || "Not in the customer table.")));
  const rest = pairs.slice(MOST_AT_ONCE);
  box.replaceChildren(element("dl", {}, ...pairs.slice(0, MOST_AT_ONCE).flat()));
  if (rest.length) box.append(element("details", {}, element("summary", {}, `${rest.length} more`), element("dl", {}, ...rest.flat())));
}

export function now(customer, boxes, open) {
  const {tags = [], open_triggers = [], cart = [], purchase_intent = null} = customer || {};
  boxes.tags.replaceChildren(...(tags.length ? tags.map((one) => tag(one.title || words(one.tag), "", since(one))) : [soft("None.")]));
  fill(boxes.triggers, open_triggers.map((one) => element("li", {},
    element("span", {class: "name"}, one.title || words(one.trigger)),
    one.held_back ? tag("held back", "down", one.held_back) : one.send_at ? tag(`send ${instant(one.send_at)}`) : null,
    element("div", {class: "note"}, soft(one.reason), one.held_back ? soft(` Held back: ${one.held_back}.`) : null))), "None open.");
  fill(boxes.cart, cart.map((one) => plainLine(one.item_id, {open, title: one.title, note: instant(one.since), tags: [one.live && "live"]})), "Empty.");
  const intent = purchase_intent || {probability: null, note: ""};
  boxes.intent.textContent = intent.probability === null || intent.probability === undefined ? intent.note
    : `${Math.round(100 * intent.probability)}% that this visit ends in a purchase: ${intent.because.map((one) => one.reason).join("; ")}`;
}

export function history(customer, list, open) {
  const events = (customer && customer.history) || [];
  fill(list, events.map((one) => plainLine(one.item_id,
    {open, title: one.title, note: instant(one.ts), tags: [one.live ? `${words(one.event_type)}, live` : words(one.event_type)]})), "No events.");
}

function since(one) {
  const found = one.evidence.map((part) => isRecord(part) ? Object.values(part).join(" ") : String(part)).join("; ");
  return [one.since && `since ${day(one.since)}`, one.until && `until ${day(one.until)}`, found].filter(Boolean).join("; ");
}
