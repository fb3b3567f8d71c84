/** The console: a customer as the shop sees them, what is recommended to them and why, and what their next click changes.
 *
 *  What is shown stands behind # in the address, which never leaves the browser: /#user=u1&surface=trending, /#user=u1&item=i1
 */

import {$, askForKey, call, day, element, forgetKey, hasKey, tag, words} from "./page.js";
import {search} from "./search.js";
import * as customers from "./customer.js";
import {fill, lookUp, ranksOf, recommended, titleOf, walkable} from "./lists.js";
import {showItem} from "./item.js";

const SURFACES = {for_you: "For you", buy_it_again: "Buy it again", new_arrivals: "New arrivals", trending: "Trending"};
const LENGTH = 12, PICKS = 8;
const DONE = {view: "viewed", favorite: "marked as a favourite", cart: "put in the cart", purchase: "bought"};

const view = {user: "", surface: "for_you", item: ""};
const before = new Map();  // ranks of each list when it was last shown, by customer, surface and release
let release = "", held = [], lastShown = 0;

const asked = () => new URLSearchParams(Object.entries(view).filter(([name, value]) => value && (name !== "surface" || value !== "for_you"))).toString();
const readAddress = () => {
  const said = new URLSearchParams(location.hash.slice(1));
  Object.assign(view, {user: said.get("user") || "", surface: said.get("surface") in SURFACES ? said.get("surface") : "for_you", item: said.get("item") || ""});
};

/** Go to another view; the browser's own back button comes back. */
function go(change) {
  Object.assign(view, change);
  const hash = `#${asked()}`;
  if (location.hash === hash || (!location.hash && hash === "#")) show();
  else location.hash = hash;
}
const openItem = (id) => go({item: id});
const openCustomer = (id) => go({user: id, item: ""});

function request(of) {
  const repeat = $("repeat").value;
  return {surface: view.surface, k: LENGTH, explain: true, preview: true, exclude_seen: $("unseen").checked,
    ...(view.user && {user_id: view.user}), ...(repeat && {repeat}), ...(of && {release_id: of})};
}

/** Ask one release; remember how its list stood before. */
async function ask(of) {
  const answer = await call("POST", "/v1/recommend", request(of));
  await lookUp(answer.items.flatMap((one) => [one.item_id, ...(one.because || [])]));
  return answer;
}

/** Show one list; say what came in and what went out where `compare` is the same list before. */
function showList(list, answer, compare, beside) {
  fill(list, answer.items.map((one, place) => recommended(one,
    {rank: place + 1, before: compare, beside, strategy: answer.strategy, open: openItem, act: view.user ? act : null})), "Nothing to show.");
  return compare ? [...compare.keys()].filter((id) => !answer.items.some((one) => one.item_id === id)) : [];
}

async function showRecommended(mine, after) {
  const beside = $("beside").value;
  const [answer, other] = await Promise.all([ask(release), beside && ask(beside)]);
  if (mine !== lastShown) return;
  const ids = answer.items.map((one) => one.item_id), name = JSON.stringify(request(release)), was = before.get(name);
  before.set(name, ranksOf(ids));
  $("release").textContent = `release ${answer.release_id}`;
  $("strategy").textContent = words(answer.strategy);
  $("strategy").hidden = false;
  $("noted").replaceChildren(...notes(answer).map((text) => tag(text)));
  const compare = other ? ranksOf(other.items.map((one) => one.item_id)) : after ? was : null;
  const gone = showList($("items"), answer, compare, Boolean(other));
  $("other").hidden = !other;
  $("this-release").hidden = !other;
  $("lists").className = other ? "columns" : "";
  if (other) {
    $("this-release").textContent = `${answer.release_id} (serves)`;
    $("other-release").textContent = other.release_id;
    showList($("other-items"), other, ranksOf(ids), true);
  }
  const came = compare && !other ? ids.filter((id) => !compare.has(id)) : [];
  $("gone").textContent = !other && gone.length ? `No longer in the list: ${gone.map(titleOf).join(", ")}` : "";
  if (after) $("said").textContent = `${after} ${came.length} came in, ${gone.length} went out.`;
}

function notes(answer) {
  const arms = Object.entries(answer.experiments || {}).map(([name, variant]) => `${words(name)}: ${words(variant)}`);
  return [
    ...arms, answer.rules_version && `rules ${answer.rules_version}`, answer.filled && `${answer.filled} filled up`,
    answer.personalised === false && "not personalised: no consent", answer.live_state === false && "live events are out of reach",
  ].filter(Boolean);
}

async function showCustomer(mine) {
  const customer = await customers.load(view.user);
  if (mine !== lastShown) return;  // someone else was asked for meanwhile: two customers are never mixed
  customers.profile(customer, $("profile"));
  customers.now(customer, {tags: $("tags"), triggers: $("triggers"), cart: $("cart"), intent: $("intent")}, openItem);
  customers.history(customer, $("history"), openItem);
  $("as-of").textContent = customer && customer.profile && customer.as_of ? `as of ${day(customer.as_of)}` : "";
}

/** Show what the address says. */
async function show(after = "") {
  const mine = ++lastShown;
  document.querySelector("main").setAttribute("aria-busy", "true");
  $("error").textContent = "";
  $("customer-page").hidden = Boolean(view.item);
  $("item-page").hidden = !view.item;
  if (document.activeElement !== $("find")) $("find").value = view.user;
  for (const one of $("surfaces").children) {
    one.setAttribute("aria-selected", String(one.dataset.surface === view.surface));
    one.tabIndex = one.dataset.surface === view.surface ? 0 : -1;
  }
  try {
    if (view.item) {
      await showItem(view.item, {box: $("item-box"), user: view.user, release, open: openItem, act});
      if (mine === lastShown && !after) $("item-title").focus();
      $("back").textContent = view.user ? `Back to ${view.user} (Esc)` : "Back (Esc)";
    } else {
      await Promise.all([showCustomer(mine), showRecommended(mine, after)]);
    }
  } catch (error) {
    if (mine !== lastShown) return;
    $("error").textContent = error.message;
    $("strategy").hidden = true;
    fill($("items"), [], "No answer.");
  } finally {
    if (mine === lastShown) document.querySelector("main").setAttribute("aria-busy", "false");
  }
}

/** Do with an item what a customer would, and show what that changes; the line keeps the focus. */
async function act(deed, id) {
  try {
    const event = {event_id: crypto.randomUUID ? crypto.randomUUID() : `console-${Date.now()}-${Math.random()}`, user_id: view.user, event_type: deed.event, item_id: id, ts: new Date().toISOString(), channel: "console"};
    const kept = await call("POST", "/v1/events", {events: [event]});
    if (!kept.accepted) throw new Error(`${titleOf(id)}: nothing was kept${kept.without_consent ? ", since the customer consents to nothing" : ""}.`);
    const said = `${titleOf(id)} ${DONE[deed.event]}.`;
    $("said").textContent = said;
    $("said").classList.add("shown");
    await show(said);
    const line = $("items").querySelector(`[data-item="${CSS.escape(id)}"]`) || $("items").querySelector("li[tabindex]");
    if (line && !view.item) focusLine(line);
  } catch (error) {
    $("error").textContent = error.message;
  }
}

function focusLine(line) {
  for (const one of line.parentNode.children) one.tabIndex = -1;
  line.tabIndex = 0;
  line.focus();
}

function makeTabs() {
  $("surfaces").append(...Object.entries(SURFACES).map(([name, title]) => element("button",
    {type: "button", role: "tab", class: "tab", "data-surface": name, "aria-controls": "panel", onclick: () => go({surface: name})}, title)));
  $("surfaces").addEventListener("keydown", (event) => {
    const names = Object.keys(SURFACES), step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (!step) return;
    const next = names[(names.indexOf(view.surface) + step + names.length) % names.length];
    go({surface: next});
    $("surfaces").querySelector(`[data-surface=${next}]`).focus();
  });
}

/** Offer the releases that are held beside the one that serves; those who may not ask for them see none. */
async function offerReleases() {
  const answer = await call("GET", "/v1/releases").catch(() => ({release_id: "", held: []}));
  release = answer.release_id;
  held = answer.held.filter((id) => id !== release);
  $("beside").replaceChildren(element("option", {value: ""}, "no other"), ...held.map((id) => element("option", {value: id}, id)));
  $("beside-label").hidden = !held.length;
}

function showKeyButton() {
  $("use-key").textContent = hasKey() ? "Forget key" : "Key";
}

async function start() {
  makeTabs();
  for (const list of ["items", "other-items"]) walkable($(list));
  search($("find"), $("found"), (one) => {
    if (one.kind === "item") openItem(one.id);
    else openCustomer(one.id);
    $("find").blur();
  });
  for (const id of ["repeat", "unseen", "beside"]) $(id).addEventListener("change", () => show());
  $("back").addEventListener("click", () => go({item: ""}));
  $("use-key").addEventListener("click", async () => {
    if (hasKey()) forgetKey();
    else await askForKey();
    showKeyButton();
    await offerReleases();
    show();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && view.item && !document.querySelector("dialog[open]") && document.activeElement !== $("find")) go({item: ""});
  });
  addEventListener("hashchange", () => { readAddress(); show(); });
  readAddress();
  await offerReleases();
  const {user_ids} = await call("GET", `/v1/customers?limit=${PICKS}`).catch(() => ({user_ids: []}));
  $("picks").append(...user_ids.map((id) => element("button", {type: "button", class: "quiet", onclick: () => openCustomer(id)}, id)));
  if (!view.user && !view.item) view.user = user_ids[0] || "";
  showKeyButton();
  await show();
}

start();
