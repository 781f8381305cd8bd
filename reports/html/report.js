// The report's behaviour: the theme button and the explorer of changed answers. Foreign text is only ever set as textContent.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const root = document.documentElement;
  byId("theme").addEventListener("click", () => {
    const dark = root.classList.contains("dark")
      || (!root.classList.contains("light") && matchMedia("(prefers-color-scheme: dark)").matches);
    root.classList.toggle("dark", !dark);
    root.classList.toggle("light", dark);
  });
  if (!byId("flips-data")) return;

  const ROW = 46; // pixels; the height of .option in the style
  const SPARE = 6; // rows drawn above and below what is seen
  const words = JSON.parse(byId("words-data").textContent);
  const { suites, flips } = JSON.parse(byId("flips-data").textContent);
  const list = byId("list");
  const spacer = byId("spacer");
  const detail = byId("detail");
  const filters = { suite: byId("filter-suite"), kind: byId("filter-kind"), reason: byId("filter-reason"), text: byId("filter-text") };
  let shown = flips;
  let chosen = 0;

  const say = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
  const status = (name) => words[`status_${name}`] || name;
  const kind = (name) => words[name] || name;
  const reason = (flip) => flip.t[0] === flip.t[1] ? words.other_answer : `${status(flip.t[0])} → ${status(flip.t[1])}`;
  const number = (value) => String(Math.round(value * 1000) / 1000);
  const make = (tag, text, name) => {
    const node = document.createElement(tag);
    if (text !== undefined && text !== null) node.textContent = text;
    if (name) node.className = name;
    return node;
  };

  // ---- filters

  const offer = (select, all, values) => {
    select.append(new Option(all, ""));
    for (const [value, label] of values) select.append(new Option(label, value));
  };
  offer(filters.suite, words.all_suites, suites.map((label, index) => [String(index), label]));
  offer(filters.kind, words.all_kinds, [...new Set(flips.map((flip) => flip.k))].sort().map((name) => [name, kind(name)]));
  offer(filters.reason, words.all_reasons, [...new Set(flips.map(reason))].sort().map((name) => [name, name]));

  const matches = (flip, wanted) =>
    (!wanted.suite || String(flip.s) === wanted.suite)
    && (!wanted.kind || flip.k === wanted.kind)
    && (!wanted.reason || reason(flip) === wanted.reason)
    && (!wanted.text || [flip.i, flip.c + flip.r[0], flip.r[1]].some((part) => part.toLowerCase().includes(wanted.text)));

  const filter = () => {
    const wanted = { suite: filters.suite.value, kind: filters.kind.value, reason: filters.reason.value, text: filters.text.value.trim().toLowerCase() };
    shown = flips.filter((flip) => matches(flip, wanted));
    byId("count").textContent = say(words.shown, { shown: shown.length, all: flips.length });
    spacer.style.height = `${shown.length * ROW}px`;
    list.scrollTop = 0;
    choose(0);
  };

  // ---- the list: only what is seen is in the document

  const option = (flip, index) => {
    const node = make("div", null, "option");
    node.id = `option-${index}`;
    node.setAttribute("role", "option");
    node.setAttribute("aria-selected", String(index === chosen));
    node.setAttribute("aria-setsize", String(shown.length));
    node.setAttribute("aria-posinset", String(index + 1));
    node.style.top = `${index * ROW}px`;
    node.append(make("span", `${kind(flip.k)} ${number(flip.v[0])} → ${number(flip.v[1])} · ${flip.i}`));
    node.append(make("span", `${suites[flip.s]} · ${reason(flip)}`, "second"));
    node.addEventListener("click", () => choose(index));
    return node;
  };

  const draw = () => {
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - SPARE);
    const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + SPARE);
    const nodes = [];
    for (let index = first; index < last; index += 1) nodes.push(option(shown[index], index));
    spacer.replaceChildren(...nodes);
    if (byId(`option-${chosen}`)) list.setAttribute("aria-activedescendant", `option-${chosen}`);
    else list.removeAttribute("aria-activedescendant");
  };

  const choose = (index) => {
    chosen = Math.max(0, Math.min(shown.length - 1, index));
    const top = chosen * ROW;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
    draw();
    show(shown[chosen]);
  };

  // ---- both replies, from the first word in which they differ

  const reply = (flip, side, title) => {
    const box = make("div", null, "reply");
    box.append(make("h4", title));
    const facts = make("dl");
    facts.append(make("dt", words.score), make("dd", `${number(flip.v[side])} (${status(flip.t[side])})`));
    if (flip.z) {
      box.append(facts, make("p", words.withheld, "alike"));
      return box;
    }
    facts.append(make("dt", words.answer), make("dd", flip.a[side] === null ? words.none : flip.a[side]));
    const text = make("p", null, "text");
    if (flip.w) text.append(make("span", `… ${say(words.alike, { characters: flip.w })} …\n`, "alike"));
    text.append(make("span", flip.c, "alike"));
    const rest = flip.r[side];
    const word = /^\s*(?:[\u3400-\u9fff]|[^\s\u3400-\u9fff]+)/.exec(rest);
    if (word) text.append(make("mark", word[0]), rest.slice(word[0].length));
    else text.append(flip.c || flip.w ? rest : words.empty_reply);
    if (flip.x[side]) text.append(make("span", `\n… ${say(words.cut, { characters: flip.x[side] })}`, "alike"));
    box.append(facts, text);
    return box;
  };

  const show = (flip) => {
    detail.replaceChildren();
    detail.scrollTop = 0;
    if (!flip) return;
    detail.append(make("h3", `${suites[flip.s]} · ${flip.i}`));
    const facts = make("dl");
    const fact = (name, value) => { if (value !== null && value !== "") facts.append(make("dt", name), make("dd", value)); };
    fact(words.target, flip.g);
    fact(words.repeat, String(flip.n));
    fact(words.question, flip.q);
    fact(words.heading, flip.h);
    detail.append(facts);
    if (!flip.z && flip.r[0] === flip.r[1] && !flip.x[0] && !flip.x[1]) detail.append(make("p", words.same_text));
    const replies = make("div", null, "replies");
    replies.append(reply(flip, 0, words.reference), reply(flip, 1, words.candidate));
    detail.append(replies);
  };

  // ---- events

  let waiting = false;
  list.addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  });
  list.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(list.clientHeight / ROW) - 1);
    const moves = { ArrowDown: chosen + 1, ArrowUp: chosen - 1, PageDown: chosen + page, PageUp: chosen - page, Home: 0, End: shown.length - 1 };
    if (!(event.key in moves) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    choose(moves[event.key]);
  });
  for (const control of [filters.suite, filters.kind, filters.reason]) control.addEventListener("change", filter);
  let typing = 0;
  filters.text.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(filter, 150); });
  addEventListener("resize", draw);
  filter();
})();
