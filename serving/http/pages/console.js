"use strict";
const $ = (id) => document.getElementById(id);

function element(tag, text, kind) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;  // as text: titles come from the shop
  if (kind) made.className = kind;
  return made;
}

async function call(method, path, body) {
  const answer = await fetch(path, {method, body: body && JSON.stringify(body)});
  const content = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(content.error.message), {status: answer.status});
  return content;
}

function row(item, note, ...tags) {
  const made = element("li"), text = element("span", undefined, "name");
  const pick = element("button", item.title || item.item_id, "link");
  pick.title = "Show this item on a page of its own";
  pick.onclick = () => showItem(item.item_id);
  text.append(pick);
  made.append(text, ...tags.filter(Boolean).map((tag) => element("span", tag, "tag")));
  if (note) made.append(element("div", note, "soft note"));
  titles.set(item.item_id, item.title || "");
  return made;
}

const titles = new Map();  // of all items shown so far: the item picker offers them
const ABOUT_AN_ITEM = ["similar", "upgrade", "bought_together"];
const words = (name) => name.replaceAll("_", " ");

function fill(id, rows, empty) {
  $(id).replaceChildren(...(rows.length ? rows : [element("li", empty, "soft")]));
}

function showRecommendations(answer) {
  $("release").textContent = `release ${answer.release_id}`;
  $("strategy").textContent = words(answer.strategy);
  $("strategy").hidden = false;
  fill("items", answer.items.map((item) => row(item, item.reason, item.strategy && words(item.strategy), item.score.toFixed(3))), "Nothing to show.");
}

const number = (value) => value.toLocaleString("en", {maximumFractionDigits: 2});
const counted = (value, one) => `${number(value)} ${one}${value === 1 ? "" : "s"}`;
const money = (value, {currency, minor_units}) => currency
  ? (value / minor_units).toLocaleString("en", {style: "currency", currency})
  : `${number(Math.round(value))} minor units`;
const outOfFive = (value) => `${value} of 5`;
const plain = (value) => value === true ? "yes" : typeof value === "number" ? number(value) : [value].flat().join(", ");
const day = (value) => String(value).slice(0, 10);

/** Columns of the customer table in people's words, in order; a column that is not here keeps its name. */
const FIELDS = {
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
  last_region: ["Region", plain],
  last_device_id: ["Device", plain],
};

function label(name) {
  const text = words(name.replace(/^tag_/, ""));
  return text[0].toUpperCase() + text.slice(1);
}

const isEmpty = (value) => value === null || value === "" || value === false || (Array.isArray(value) && !value.length);

function showCustomer(customer) {
  const profile = (customer && customer.profile) || {};
  const names = new Set([...Object.keys(FIELDS), ...Object.keys(profile)]);
  const shown = [...names].filter((name) => name in profile && !isEmpty(profile[name]));
  $("profile").replaceChildren(...shown.flatMap((name) => {
    const [title, format] = FIELDS[name] || [label(name), plain];
    return [element("dt", title), element("dd", format(profile[name], customer))];
  }));
  if (!shown.length) $("profile").append(element("dt", "Not in the customer table."));
  $("as-of").textContent = shown.length && customer.as_of ? `as of ${day(customer.as_of)}` : "";
  const when = (ts) => ts ? new Date(ts).toLocaleString() : "";
  const events = (customer && customer.history) || [];
  fill("history", events.map((e) => row(e, when(e.ts), e.live ? `${e.event_type}, live` : e.event_type)), "No events.");
}

/** What is asked for, as the form says; the item is the newest of the history where none was picked. */
function asked(user, customer) {
  const surface = $("surface").value, request = {surface, k: 12, explain: true, exclude_seen: $("unseen").checked};
  if (user) request.user_id = user;
  if ($("repeat").value) request.repeat = $("repeat").value;
  if (ABOUT_AN_ITEM.includes(surface)) {
    const newest = customer && customer.history[0];
    if (!$("item").value.trim()) $("item").value = newest ? newest.item_id : titles.keys().next().value || "";
    request.item_id = $("item").value.trim() || undefined;
  }
  return request;
}

function showForm() {
  const isAbout = ABOUT_AN_ITEM.includes($("surface").value);
  $("about").hidden = !isAbout;
  $("item-title").textContent = isAbout ? titles.get($("item").value.trim()) || "" : "";
  $("known").replaceChildren(...[...titles].slice(0, 200).map(([value, label]) => Object.assign(element("option"), {value, label})));
}

function showItem(id) {
  if (!ABOUT_AN_ITEM.includes($("surface").value)) $("surface").value = "similar";
  $("item").value = id;
  show($("user").value.trim());
}

let lastShown = 0;

async function show(user) {
  const mine = ++lastShown;
  $("error").textContent = "";
  try {
    const customer = user ? await call("GET", `/v1/customers/${encodeURIComponent(user)}`).catch((error) => {
      if (error.status === 404 || error.status === 503) return null;
      throw error;
    }) : null;
    if (mine !== lastShown) return;  // someone else was asked for meanwhile: two customers are never mixed
    showCustomer(customer);
    const answer = await call("POST", "/v1/recommend", asked(user, customer));
    if (mine !== lastShown) return;
    showRecommendations(answer);
  } catch (error) {
    if (mine !== lastShown) return;
    $("error").textContent = error.message;
    $("strategy").hidden = true;
    fill("items", [], "No answer.");
  } finally {
    showForm();
  }
}

async function start() {
  const {user_ids} = await call("GET", "/v1/customers").catch(() => ({user_ids: []}));
  $("users").append(...user_ids.map((id) => Object.assign(element("option"), {value: id})));
  $("picks").append(...user_ids.slice(0, 8).map((id) => {
    const pick = element("button", id, "quiet");
    pick.onclick = () => { $("user").value = id; show(id); };
    return pick;
  }));
  // A view can be linked to: /#user=u1&surface=similar&item=i1; what stands behind # never leaves the browser.
  const linked = new URLSearchParams(location.hash.slice(1));
  for (const id of ["surface", "repeat", "item"]) if (linked.has(id)) $(id).value = linked.get(id);
  $("user").value = linked.has("user") ? linked.get("user") : user_ids[0] || "";
  await show($("user").value);
}

for (const id of ["surface", "repeat", "unseen", "item"]) $(id).onchange = () => show($("user").value.trim());
$("form").onsubmit = (event) => { event.preventDefault(); show($("user").value.trim()); };
start();
