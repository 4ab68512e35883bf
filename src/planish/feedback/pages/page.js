// The page's script: choices and keys, saving with retries, drafts, marked passages. It keeps nothing in the browser.
"use strict";

const PATIENCE = [1, 2, 4, 8, 10]; // seconds between attempts to save
const IDLE = 60; // seconds without a sign of life that count as work; the rest is a pause
const $ = (selector, inside = document) => inside.querySelector(selector);
const $$ = (selector, inside = document) => [...inside.querySelectorAll(selector)];
const base = () => document.body.dataset.base;
const task = () => $("#task");
const wait = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

let clock, spans, verdict, sending, draftTimer, unsaved;

// ---- talking to the server -------------------------------------------------------------------------------------------

async function post(path, body) {
  const reply = await fetch(base() + path, {
    method: "POST", redirect: "error", credentials: "omit",
    headers: { "Content-Type": "application/json", "X-Planish": "1" }, body: JSON.stringify(body),
  });
  const said = await reply.json().catch(() => ({}));
  return { status: reply.status, ...said };
}

async function show(path, method = "replaceState") {
  const reply = await fetch(base() + path, { credentials: "omit" });
  const page = new DOMParser().parseFromString(await reply.text(), "text/html");
  if (!$("header", page)) { document.body.replaceChildren($("main", page)); return; }
  for (const id of ["main", "progress", "guide"]) {
    const [old, now] = [document.getElementById(id), page.getElementById(id)];
    if (old && now) { if (id === "guide") now.hidden = old.hidden; old.replaceWith(now); }
    else if (old && id === "progress") old.remove();
    else if (now && id === "progress") $("body > header").append(now);
  }
  history[method](null, "", base() + path);
  begin();
  window.scrollTo(0, 0);
  $("#main").focus({ preventScroll: true });
}

function trouble(text) { const place = $("#trouble"); if (place) place.textContent = text; }
function say(text) { $("#said").textContent = text; }

// ---- time at work -----------------------------------------------------------------------------------------------------

function lap() {
  const now = performance.now() / 1000, passed = now - clock.last;
  const work = clock.hidden ? 0 : Math.min(passed, IDLE);
  clock.work += work; clock.pause += passed - work; clock.last = now; clock.hidden = document.hidden;
}

// ---- what is chosen ---------------------------------------------------------------------------------------------------

const PAIR = { A2: [0, 1, "clearly"], A1: [0, 1, "slightly"], "=": [0, 0, ""], B1: [1, 0, "slightly"], B2: [1, 0, "clearly"] };
const LETTERS = "ABCDEFGHI";
const isPair = () => task().classList.contains("pair");
const rows = () => { // question by question, and within one answer by answer
  const all = $$(".row", task()).filter((row) => !row.hidden), names = [...new Set(all.map((row) => row.dataset.row))];
  return names.flatMap((name) => all.filter((row) => row.dataset.row === name));
};
const chosen = (row) => $("input:checked", row);

function opinion(name) {
  const own = $$(`.row[data-row="${CSS.escape(name)}"]`, task()).map((row) => chosen(row)?.value ?? null);
  if (isPair()) {
    if (own[0] === null) return null;
    const [a, b, strength] = PAIR[own[0]];
    return { ranks: [a, b], strength };
  }
  return own.every((value) => value === null) ? null : { ranks: own.map((value) => (value === null ? null : +value)), strength: "" };
}

function dense(ranks) { const order = [...new Set(ranks)].sort((a, b) => a - b); return ranks.map((rank) => order.indexOf(rank)); }

function content() {
  const opinions = {};
  for (const name of new Set($$(".row", task()).map((row) => row.dataset.row))) {
    const said = name === "reason" ? null : opinion(name);
    if (said) opinions[name] = said;
  }
  return { verdict, opinions, reason: $("input[name=reason]:checked")?.value ?? "", comment: task().elements.comment.value,
    rewrite: task().elements.rewrite.value, spans };
}

function complete(said = content()) {
  if (verdict === "all_bad") return true;
  if (verdict === "cannot_tell") return said.reason !== "";
  return said.opinions.overall !== undefined && said.opinions.overall.ranks.every((rank) => rank !== null);
}

function judgement() {
  const said = content(), data = task().dataset;
  const whole = (opinion) => opinion && opinion.ranks.every((rank) => rank !== null);
  const aspects = {};
  if (verdict !== "cannot_tell")
    for (const [name, opinion] of Object.entries(said.opinions))
      if (name !== "overall" && whole(opinion)) aspects[name] = { ...opinion, ranks: dense(opinion.ranks) };
  const ranked = verdict === "ranked" ? said.opinions.overall : null;
  lap();
  return { key: data.keyOfJudgement, assignment: +data.assignment, revision: +data.revision, guideline: data.guideline, verdict,
    ranks: ranked ? dense(ranked.ranks) : null, strength: ranked ? ranked.strength : "", aspects,
    reason: verdict === "cannot_tell" ? said.reason : "", comment: said.comment, rewrite: said.rewrite, spans,
    seconds: Math.min(clock.work, 86400), paused: Math.min(clock.pause, 86400) };
}

function restore(said) {
  for (const [name, opinion] of Object.entries(said.opinions ?? {})) {
    const own = $$(`.row[data-row="${CSS.escape(name)}"]`, task());
    const values = isPair() ? [Object.keys(PAIR).find((value) => "" + PAIR[value] === "" + [...opinion.ranks, opinion.strength])] : opinion.ranks;
    own.forEach((row, place) => { const input = $(`input[value="${values[place]}"]`, row); if (input) input.checked = true; });
  }
  const reason = $$("input[name=reason]").find((input) => input.value === said.reason);
  if (reason) reason.checked = true;
  for (const name of ["comment", "rewrite"])
    if (said[name]) { task().elements[name].value = said[name]; task().elements[name].closest(".field").hidden = false; }
  spans = said.spans ?? [];
  verdict = said.verdict ?? "ranked";
}

// ---- what the page shows of it ------------------------------------------------------------------------------------------

function update(next = null) {
  const ready = complete();
  $(".save", task()).disabled = !ready || sending;
  for (const button of $$("[data-verdict]", task())) button.setAttribute("aria-pressed", button.dataset.verdict === verdict);
  $$(".row", task()).forEach((row) => { row.hidden = (row.dataset.row === "reason") !== (verdict === "cannot_tell"); });
  $$(".length", task()).forEach((length) => { length.hidden = !ready; });
  mark(next ?? rows().find((row) => !chosen(row)) ?? rows().at(-1));
  $$(".spans", task()).forEach((list, place) => list.replaceChildren(...spans.filter((span) => span.answer === place).map(chip)));
}

function mark(row) { $$(".row", task()).forEach((other) => other.classList.toggle("current", other === row)); }

function reveal() { // the marked row, where it lies within an answer
  const row = $(".answer .row.current", task());
  const below = row ? row.getBoundingClientRect().bottom - $(".choices", task()).getBoundingClientRect().top : 0;
  if (below > 0) window.scrollBy({ top: below + 16 });
  else if (row && row.getBoundingClientRect().top < 0) row.scrollIntoView();
}

function chip(span) {
  const item = document.createElement("li"), button = document.createElement("button"), text = document.createElement("span");
  item.className = span.kind;
  text.textContent = `${span.kind}: “${span.quote}”`;
  text.dir = "auto";
  button.type = "button";
  button.textContent = "×";
  button.setAttribute("aria-label", `Remove the mark: ${span.quote.slice(0, 60)}`);
  button.addEventListener("click", () => { spans = spans.filter((other) => other !== span); changed(); });
  item.append(text, button);
  return item;
}

function changed(next = null) {
  unsaved = true;
  update(next);
  clearTimeout(draftTimer);
  const { assignment, revision } = task().dataset;
  draftTimer = setTimeout(() => {
    if (task()?.dataset.assignment === assignment && !sending)
      post("/drafts", { assignment: +assignment, revision: +revision, content: JSON.stringify(content()) }).catch(() => {});
  }, 700);
}

function setVerdict(name) {
  verdict = verdict === name ? "ranked" : name;
  if (verdict !== "ranked") $$(".row[data-row=overall] input", task()).forEach((input) => { input.checked = false; });
  changed(verdict === "cannot_tell" ? $(".row[data-row=reason]", task()) : null);
}

function selected() {
  const selection = getSelection();
  const quote = selection.toString().trim().slice(0, 2000);
  const answer = selection.anchorNode?.parentElement?.closest(".answer[data-place]");
  return quote && answer && answer.contains(selection.focusNode) ? { answer: +answer.dataset.place, quote } : null;
}

function markSelection(kind) {
  const span = selected();
  if (!span || !task() || spans.length >= 50) return;
  spans = [...spans, { ...span, kind }];
  getSelection().removeAllRanges();
  changed();
}

// ---- saving -------------------------------------------------------------------------------------------------------------

async function save() {
  if (sending || !complete()) return;
  sending = true;
  clearTimeout(draftTimer);
  const sent = judgement();
  update();
  for (let attempt = 0; ; attempt++) {
    const reply = await post("/judgements", sent).catch(() => ({ status: 0 }));
    if (reply.status === 200 || reply.status === 409) {
      unsaved = false;
      say(reply.status === 409 ? "These answers were already compared, in another tab." : "Saved.");
      await follow(reply.next ?? "");
      return;
    }
    if (reply.status && reply.status < 500) { sending = false; update(); trouble(`Not saved: ${reply.error ?? reply.status}.`); return; }
    trouble(`Not saved yet: ${reply.error ?? "no connection to the server"}. Trying again; keep this page open.`);
    await wait(PATIENCE[Math.min(attempt, PATIENCE.length - 1)]);
  }
}

async function follow(path) {
  for (let attempt = 0; ; attempt++) {
    try { return await show(path); } catch { trouble("It is saved. Waiting for the server to show the next one."); }
    await wait(PATIENCE[Math.min(attempt, PATIENCE.length - 1)]);
  }
}

async function send(path, body, next) {
  const reply = await post(path, body).catch(() => ({ status: 0, error: "no connection to the server" }));
  if (reply.status === 200) { unsaved = false; if (next !== undefined) await show(next); return reply; }
  trouble(`Not done: ${reply.error}.`);
  return null;
}

// ---- deeds of buttons ------------------------------------------------------------------------------------------------------

function toggle(id) {
  const panel = document.getElementById(id), other = document.getElementById(id === "guide" ? "keys" : "guide");
  other.hidden = true;
  panel.hidden = !panel.hidden;
  for (const button of $$("header [aria-controls]")) button.setAttribute("aria-expanded", !document.getElementById(button.getAttribute("aria-controls")).hidden);
  if (!panel.hidden) panel.focus(); else $("#main").focus({ preventScroll: true });
}

function field(name) {
  const area = task().elements[name];
  area.closest(".field").hidden = false;
  if (name === "rewrite" && !area.value) {
    const best = content().opinions.overall?.ranks.indexOf(0) ?? -1;
    if (best >= 0) area.value = $$(".answer .plain", task())[best].textContent;
  }
  area.focus();
}

function view(name) { // formatted, plain or different
  for (const kind of ["formatted", "plain", "different"])
    $$(`.text.${kind}`, task()).forEach((text) => { text.hidden = kind !== (name === "different" && text.closest(".prompt") ? "formatted" : name); });
  if (name === "different") $$(".prompt .formatted", task()).forEach((text) => { text.hidden = false; });
  $("[data-action=plain]").setAttribute("aria-pressed", name === "plain");
  $("[data-action=different]")?.setAttribute("aria-pressed", name === "different");
}

async function different(button) {
  if (button.getAttribute("aria-pressed") === "true") return view("formatted");
  const reply = await fetch(`${base()}/differences/${task().dataset.assignment}`, { credentials: "omit" });
  if (!reply.ok) return trouble("Differences are not shown for these answers: they are too long.");
  const { sides } = await reply.json();
  $$(".different", task()).forEach((text, place) => { text.innerHTML = sides[place]; });
  view("different");
}

async function person(button) {
  if (button.dataset.confirm && button.textContent !== "Really?") { button.textContent = "Really?"; return; }
  const reply = await send(button.dataset.path, {});
  if (!reply) return;
  if (button.dataset.confirm || !reply.path) return show("/study");
  $("#address").textContent = location.origin + reply.path;
}

const DEEDS = {
  guide: () => toggle("guide"),
  keys: () => toggle("keys"),
  reread: async () => { await send("/guidelines", {}); $(".notice[role=alert]").remove(); if ($("#guide").hidden) toggle("guide"); },
  comment: () => field("comment"),
  rewrite: () => field("rewrite"),
  plain: (button) => view(button.getAttribute("aria-pressed") === "true" ? "formatted" : "plain"),
  different,
  undo: (button) => {
    const { undoAssignment, undoRevision } = button.closest("[data-undo-assignment]").dataset;
    if (!sending) send("/undo", { assignment: +undoAssignment, revision: +undoRevision }, "");
  },
  delete: async (button) => {
    if (button.dataset.sure !== "yes") { button.dataset.sure = "yes"; button.textContent += " – press again to confirm"; return; }
    if (await send("/delete", { judgements: button.dataset.judgements === "true" })) { location.reload(); }
  },
  person,
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  const row = event.target.closest(".row:not(.current)");
  if (row && !event.target.closest("label")) mark(row);
  if (!button || button.disabled) return;
  if (button.dataset.action) DEEDS[button.dataset.action](button);
  if (button.dataset.verdict) setVerdict(button.dataset.verdict);
  if (button.dataset.mark) markSelection(button.dataset.mark);
});

document.addEventListener("change", (event) => {
  const row = event.target.closest(".row");
  if (!row || !task()) return;
  if (row.dataset.row === "overall") verdict = "ranked";
  const order = rows(), at = order.indexOf(row);
  changed(order.slice(at + 1).find((other) => !chosen(other)) ?? row);
});

document.addEventListener("input", (event) => { if (task() && event.target.matches("textarea")) changed($(".row.current", task())); });

document.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target, values = Object.fromEntries(new FormData(form));
  if (form.id === "task") save();
  if (form.id === "welcome") send("/welcome", { profile: values }, "");
  if (form.id === "invite") {
    const reply = await send("/people", values, "/study");
    if (reply) $("#address").textContent = `${values.name}: ${location.origin}${reply.path}`;
  }
});

document.addEventListener("selectionchange", () => {
  const span = selected();
  $$("[data-mark]").forEach((button) => { button.disabled = +button.closest(".answer").dataset.place !== span?.answer; });
});

// ---- keys ---------------------------------------------------------------------------------------------------------------

function press(key) {
  if (task() && /^[1-9]$/.test(key)) {
    const input = $$("input", $(".row.current", task()))[key - 1];
    if (input) { input.checked = true; input.dispatchEvent(new Event("change", { bubbles: true })); reveal(); }
    return Boolean(input);
  }
  if (task() && (key === "s" || key === "a")) {
    const order = rows(), at = order.findIndex((row) => row.classList.contains("current"));
    mark(order[Math.min(Math.max(at + (key === "s" ? 1 : -1), 0), order.length - 1)]);
    reveal();
    return true;
  }
  if (task() && (key === "f" || key === "v")) { markSelection(key === "f" ? "good" : "bad"); return true; }
  const button = $$("[data-key]").find((other) => other.dataset.key === key && !other.disabled);
  button?.click();
  return Boolean(button) || (key === " " && Boolean(task()));
}

document.addEventListener("keydown", (event) => {
  if (clock) lap();
  const typing = event.target.matches("textarea, select, input[type=text]");
  if (event.key === "Escape") { if (typing) event.target.blur(); else for (const id of ["guide", "keys"]) document.getElementById(id).hidden = true; return; }
  if (typing && event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.target.blur(); save(); return; }
  if (typing || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.key === " " && event.target.matches("button, a, summary")) return; // its own click
  if (press(event.key.length === 1 ? event.key.toLowerCase() : event.key)) event.preventDefault();
});

for (const sign of ["pointerdown", "scroll", "visibilitychange"]) document.addEventListener(sign, () => { if (clock) lap(); }, { passive: true });
window.addEventListener("beforeunload", (event) => { if (sending && unsaved) event.preventDefault(); });

// ---- beginning -------------------------------------------------------------------------------------------------------------

function begin() {
  clock = { work: 0, pause: 0, last: performance.now() / 1000, hidden: document.hidden };
  [spans, verdict, sending, unsaved] = [[], "ranked", false, false];
  clearTimeout(draftTimer);
  if (!task()) return;
  try { if (task().dataset.draft) restore(JSON.parse(task().dataset.draft)); } catch { say("The draft could not be read."); }
  update();
  const prompt = $(".prompt", task());
  prompt.scrollTop = prompt.scrollHeight;
}

setInterval(() => { if ($("[data-refresh]") && !$("#address").textContent && !$$("#invite input").some((input) => input.value)) show("/study"); }, 10000);
begin();
