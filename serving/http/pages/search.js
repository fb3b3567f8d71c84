/** A search box for customers and items: suggestions while typing, by mouse or by keys alone. */

import {call, element, soft} from "./page.js";

const WAIT_MS = 120;

/** Make an input a combobox (ARIA authoring practices, editable with list).
 *
 *  pick({kind: "customer" | "item", id}) is called with what was chosen; what was typed is a customer's id where nothing was.
 */
export function search(input, list, pick) {
  let found = [], active = -1, timer, asked = 0;

  function close() {
    found = [];
    active = -1;
    list.hidden = true;
    list.replaceChildren();
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }
  function choose(one) {
    close();
    clearTimeout(timer);
    asked += 1;
    if (one.kind === "customer") input.value = one.id;
    pick(one);
  }
  function show() {
    list.replaceChildren(...found.map((one, place) => element("li",
      {role: "option", id: `found-${place}`, "aria-selected": String(place === active), onmousedown: (event) => { event.preventDefault(); choose(one); }},
      element("span", {class: "name"}, one.title || one.id), soft(one.kind === "item" ? `item ${one.id}` : "customer"))));
    list.hidden = !found.length;
    input.setAttribute("aria-expanded", String(found.length > 0));
    if (active < 0) return input.removeAttribute("aria-activedescendant");
    input.setAttribute("aria-activedescendant", `found-${active}`);
    list.children[active].scrollIntoView({block: "nearest"});
  }
  async function look() {
    const text = input.value.trim(), mine = ++asked;
    if (!text) return close();
    const none = () => ({user_ids: [], items: []});
    const [customers, items] = await Promise.all([
      call("GET", `/v1/customers?limit=6&prefix=${encodeURIComponent(text)}`).catch(none),
      call("GET", `/v1/items?limit=6&search=${encodeURIComponent(text)}`).catch(none),
    ]);
    if (mine !== asked) return;  // something else was typed meanwhile
    found = [...customers.user_ids.map((id) => ({kind: "customer", id})),
      ...items.items.map(({item_id, title}) => ({kind: "item", id: item_id, title}))];
    active = -1;
    show();
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(look, WAIT_MS);
  });
  input.addEventListener("keydown", (event) => {
    const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
    if (step && found.length) {
      event.preventDefault();
      active = (active + step + found.length + (active < 0 && step < 0 ? 1 : 0)) % found.length;
      show();
    } else if (event.key === "Enter") {
      event.preventDefault();
      const text = input.value.trim();
      if (active >= 0) choose(found[active]);
      else choose({kind: "customer", id: text});
    } else if (event.key === "Escape") {
      if (list.hidden) input.blur();
      else close();
    }
  });
  input.addEventListener("blur", close);
  document.addEventListener("keydown", (event) => {
    const isWriting = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName);
    if (event.key !== "/" || isWriting || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    input.focus();
    input.select();
  });
}
