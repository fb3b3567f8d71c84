/* Footfall tracker: tells the shop's own service what a visitor sees and does, once they agreed.
   <script async src="https://footfall.example/tracker.js" data-key="KEY OF ROLE tracker"></script>
   footfall.consent(true)   before it nothing is sent or stored; consent(false) clears it */
(() => {
"use strict";
const script = document.currentScript, set = script.dataset, KEEP = "footfall", LOCAL = "localStorage", VISIT = "sessionStorage", LONG_MS = 1000, MOST = 200;
const url = new URL("/v1/events", set.url || script.src) + (set.key ? "?key=" + encodeURIComponent(set.key) : "");
const running = new Map(), totals = new Map(), done = new Set();
let agreed = false, me, queue = [], timer, tries = 0, mode, watcher, onPage;

const uuid = () => crypto.randomUUID ? crypto.randomUUID()
  : [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");
const refused = () => set.signals !== "ignore" && (navigator.globalPrivacyControl || navigator.doNotTrack === "1");
// storage may be forbidden
const load = (store) => { try { return JSON.parse(window[store].getItem(KEEP)) || {}; } catch { return {}; } };
const save = (store, what) => {
  try { what ? window[store].setItem(KEEP, JSON.stringify(what)) : window[store].removeItem(KEEP); } catch {}
};
const keep = () => {
  save(LOCAL, {id: me.id, user: me.user});
  save(VISIT, {session: me.session, queue});
};

function track(event_type, fields) {
  if (!agreed) return;
  const known = Object.entries(fields || {}).filter(([, value]) => value !== undefined && value !== "");
  queue.push({event_id: uuid(), event_type, ts: new Date().toISOString(), user_id: me.user || me.id, device_id: me.id,
    session_id: me.session, channel: "web", ...Object.fromEntries(known)});
  queue.splice(0, queue.length - MOST);
  timer = timer || setTimeout(send, 300);
}

function send() {
  clearTimeout(timer); timer = 0;
  if (!agreed || !queue.length) return;
  const batch = queue.splice(0, 50);
  const again = () => {  // under the same ids
    if (!agreed) return;
    queue = [...batch, ...queue].slice(0, MOST);
    if (++tries < 6) timer = timer || setTimeout(send, 1000 * 2 ** tries);
  };
  // text/plain asks for no preflight; where answers may not be read, it goes without
  fetch(url, {method: "POST", body: JSON.stringify({events: batch}), keepalive: true, credentials: "omit", mode}).then((r) => {
    if (r.status === 429 || r.status >= 500) return again();
    tries = 0;
    send();
  }, () => { mode = "no-cors"; again(); });
}

function leave() {
  if (!agreed) return;
  [...running.keys()].forEach(stop);
  for (const [what, ms] of totals)
    if (ms >= LONG_MS) track("view_section", {...JSON.parse(what), dwell_ms: Math.round(ms)});
  totals.clear(); clearTimeout(timer); timer = 0;
  while (queue.length && navigator.sendBeacon(url, JSON.stringify({events: queue.slice(0, 50)}))) queue.splice(0, 50);
  keep();
}
const start = (what) => running.has(what) || running.set(what, performance.now());
function stop(what) {
  if (running.has(what)) totals.set(what, (totals.get(what) || 0) + performance.now() - running.get(what));
  running.delete(what);
}

function about(element) {
  const around = (name) => (element.closest(`[data-footfall-${name}]`) || {dataset: {}}).dataset;
  const {footfallItem: item_id, footfallSlot: slot} = around("item");
  return {item_id, slot, section: around("section").footfallSection};
}
const seen = (entries) => entries.forEach(({target, isIntersecting, intersectionRatio, intersectionRect}) => {
  const what = JSON.stringify(about(target));
  const half = isIntersecting && (intersectionRatio >= .5 || intersectionRect.height >= innerHeight / 2);
  if (!("footfallItem" in target.dataset)) return half ? start(what) : stop(what);
  clearTimeout(target.footfall);
  if (half && !done.has(what)) target.footfall = setTimeout(() => {
    if (!done.has(what)) track("impression", JSON.parse(what));
    done.add(what);
  }, LONG_MS);
});
function watch() {
  if (watcher) watcher.disconnect();
  watcher = new IntersectionObserver(seen, {threshold: [0, .5, 1]});
  document.querySelectorAll("[data-footfall-item]:not([data-footfall-do]),[data-footfall-section]")
    .forEach((one) => watcher.observe(one));
  if (onPage) start(onPage);
}
function page() {
  if (!agreed) return;
  leave(); done.clear(); onPage = null;
  const of = document.querySelector("[data-footfall-view]");
  if (of) api.view(of.dataset.footfallView);
  watch();
}
const visible = () => document.visibilityState === "hidden" ? leave() : watch();
function click({target}) {
  const on = target.closest && target.closest("[data-footfall-do]");
  if (on) track(on.dataset.footfallDo, about(on));
}

function listen(method) {
  document[method]("visibilitychange", visible);
  document[method]("click", click, true);
  window[method]("pagehide", leave);
}
function begin() {
  const visit = load(VISIT);
  me = {id: "anon-" + uuid(), ...load(LOCAL), session: visit.session || uuid()};
  queue = visit.queue || [];
  agreed = true; keep(); listen("addEventListener");
  document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", page) : page();
}
function end() {
  agreed = false; queue = []; clearTimeout(timer); timer = 0;
  [running, totals, done].forEach((one) => one.clear());
  if (watcher) watcher.disconnect();
  listen("removeEventListener"); save(LOCAL); save(VISIT);
}

const api = {
  consent(yes) { if (!yes) end(); else if (!agreed && !refused()) begin(); return agreed; },
  identify(user) { if (agreed) { me.user = user; keep(); } },
  view(item_id) {
    track("view", {item_id});
    onPage = JSON.stringify({item_id, section: "page"});
    if (agreed) start(onPage);
  },
  favorite: (item_id) => track("favorite", {item_id}),
  cart: (item_id, quantity) => track("cart", {item_id, quantity}),
  purchase: (item_id, fields) => track("purchase", {item_id, ...fields}),
  track, page,
};
const early = window.footfall;  // said before
window.footfall = api;
if (early && early.calls) early.calls.forEach(([name, ...values]) => api[name](...values));
})();
