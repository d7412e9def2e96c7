// The page as a whole: the lobby, one room at a time, and what its buttons say to the hub.

import { $, clean, el, hue } from "./dom.js";
import { Room } from "./room.js";
import { followsChart, latencyChart, saidToAll, shareChart } from "./stats.js";
import { Members, Transcript, drawFloor } from "./view.js";
import { Link } from "./wire.js";

const REMEMBERED = ["name", "room", "role"];
const PAST = 1_000; // messages of the past that are asked for
const PACE = 700; // milliseconds a message stays in a replay

let link = null;
let room = new Room();
let upTo = null; // index of the message that a replay has come to, null while live
let drawn = { pending: false, figures: 0 };
let playing = null;
let commands = [];

const transcript = new Transcript();
const members = new Members((verb, name) => command(`/${verb} "${name}"`));
const form = $("join").elements;

// --- the lobby ---------------------------------------------------------------------------------------------------

async function showLobby(refusal = "") {
  link = null;
  stop();
  $("room").hidden = true;
  $("lobby").hidden = false;
  document.title = "Palaver";
  $("refused").textContent = clean(refusal);
  $("refused").hidden = !refusal;
  const kept = JSON.parse(localStorage.getItem("palaver.join") ?? "{}");
  form.name.value ||= kept.name ?? "";
  form.room.value ||= decodeURIComponent(location.hash.slice(1)) || kept.room || "main";
  if (kept.role) form.role.value = kept.role;
  (form.name.value ? (refusal ? form.token : $("join").querySelector("button")) : form.name).focus();
  while (!$("lobby").hidden) {
    await listRooms();
    await new Promise((after) => setTimeout(after, 3000));
  }
}

/** What the hub answers, with the token that was typed in: in a header, never in the address. */
const json = async (path) => {
  const token = form.token.value;
  const answer = await fetch(path, token ? { headers: { Authorization: `Bearer ${token}` } } : {});
  if (!answer.ok) throw Object.assign(new Error(`${path}: ${answer.status}`), { status: answer.status });
  return answer.json();
};

async function listRooms() {
  let rooms = null;
  try {
    rooms = await json("rooms");
  } catch ({ status }) {
    const why = status === 401 ? "The hub shows its rooms to those who have a token." : "The hub does not answer at present.";
    $("rooms").replaceChildren(el("li", { class: "soft" }, why));
    $("rooms").dataset.shown = "";
    return;
  }
  const text = JSON.stringify(rooms);
  if ($("rooms").dataset.shown === text && $("rooms").childElementCount) return;
  $("rooms").dataset.shown = text;
  const items = rooms.map((one) => el("li", {}, roomButton(one)));
  $("rooms").replaceChildren(...(items.length ? items : [el("li", { class: "soft" }, "None yet: the first to join opens one.")]));
}

function roomButton({ name, members: here, messages, paused, policy, topic }) {
  const about = `${here} here · ${messages} said · ${policy}${paused ? " · paused" : ""}`;
  const chosen = () => {
    form.room.value = name;
    (form.name.value ? $("join").querySelector("button") : form.name).focus();
  };
  return el("button", { type: "button", onclick: chosen }, el("b", {}, clean(name)), topic && el("span", {}, clean(topic)), el("small", { class: "soft" }, about));
}

$("join").addEventListener("submit", (event) => {
  event.preventDefault();
  const wanted = Object.fromEntries(REMEMBERED.map((name) => [name, form[name].value.trim()]));
  localStorage.setItem("palaver.join", JSON.stringify(wanted));
  enter({ type: "join", ...wanted, token: form.token.value || null, about: "web page" });
});

// --- a room ------------------------------------------------------------------------------------------------------

/** A secret of this tab: a reload takes its own seat over, a second tab is somebody else. */
function session() {
  const made = sessionStorage.getItem("palaver.session") ?? crypto.getRandomValues(new Uint32Array(4)).join("-");
  sessionStorage.setItem("palaver.session", made);
  return `${made}.${form.room.value}`;
}

function enter(join) {
  room = new Room();
  transcript.clear();
  members.clear();
  live();
  let seated = false;
  const url = new URL(".", location);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.hash = "";
  link = new Link(url, { ...join, session: session() }, PAST, {
    frame(frame) {
      if (frame.type === "welcome" && !seated) seated = showRoom(frame, join.room);
      if (room.take(frame)) draw();
    },
    state(state, text) {
      $("link").textContent = state === "up" ? "" : clean(text);
      $("link").className = state;
      if (state === "over") over(text, seated);
    },
  });
}

function showRoom(welcome, name) {
  $("lobby").hidden = true;
  $("room").hidden = false;
  for (const seat of welcome.roster) hue(seat.name); // in order of arrival, so that every screen agrees
  $("title").textContent = clean(name);
  document.title = `${clean(name)} – Palaver`;
  for (const part of document.querySelectorAll(".moderators")) part.hidden = welcome.role !== "moderator";
  const typed = welcome.role === "moderator" && !matchMedia("(pointer: coarse)").matches; // no keyboard over the talk
  (typed ? $("line") : $("transcript")).focus();
  return true;
}

function over(reason, seated) {
  if (!seated || reason === "left") showLobby(reason === "left" ? "" : reason);
  else {
    room.role = "observer"; // nothing can be steered from here any more
    for (const part of document.querySelectorAll(".moderators")) part.hidden = true;
    room.notice(`You are out: ${reason}`, "error");
    draw();
  }
}

$("leave").addEventListener("click", () => (link?.over === false ? link.close() : showLobby()));

// --- drawing: at most once a frame, the figures twice a second ---------------------------------------------------

function draw() {
  if (drawn.pending) return;
  drawn.pending = true;
  requestAnimationFrame(() => {
    drawn.pending = false;
    if (!room.floor) return;
    drawReplay();
    transcript.draw(room, upTo === null ? null : (room.messages[upTo]?.seq ?? 0));
    drawFloor(room);
    members.draw(room);
    drawControls();
    clearTimeout(drawn.timer);
    const wait = Math.max(0, drawn.figures + 500 - performance.now());
    drawn.timer = setTimeout(drawFigures, wait);
  });
}

function drawFigures() {
  drawn.figures = performance.now();
  const said = saidToAll(upTo === null ? room.messages : room.messages.slice(0, upTo + 1));
  const nobody = () => el("p", { class: "soft" }, "Nothing yet.");
  $("share").replaceChildren(said.length ? shareChart(said) : nobody());
  $("follows").replaceChildren(said.length > 1 ? followsChart(said) : nobody());
  $("latency").replaceChildren(room.latencies.size ? latencyChart(room.latencies) : nobody());
}

function drawControls() {
  $("pause").textContent = $("hush").textContent = room.floor.paused ? "Resume" : "Pause";
  $("step").disabled = !room.floor.paused || room.floor.ended;
  for (const one of ["pause", "hush", "policy"]) $(one).disabled = room.floor.ended;
  $("held").hidden = !room.floor.held;
  $("held").firstElementChild.textContent = `${room.floor.held} held for approval`;
  if (document.activeElement !== $("policy")) $("policy").value = room.floor.policy;
}

// --- replay ------------------------------------------------------------------------------------------------------

function drawReplay() {
  const last = Math.max(0, room.messages.length - 1);
  $("slider").max = last;
  $("slider").value = upTo ?? last;
  $("slider").disabled = $("play").disabled = room.messages.length < 2;
  const place = room.messages.length ? `${(upTo ?? last) + 1} / ${room.messages.length}` : "";
  $("position").textContent = place;
  $("live").hidden = upTo === null;
  document.body.classList.toggle("replaying", upTo !== null);
}

function stop() {
  clearInterval(playing);
  playing = null;
  $("play").textContent = "▶";
  $("play").setAttribute("aria-label", "Play from here");
}

function live() {
  stop();
  upTo = null;
  draw();
}

function play() {
  if (playing !== null) return stop();
  upTo = upTo === null || upTo >= room.messages.length - 1 ? 0 : upTo;
  $("play").textContent = "❚❚";
  $("play").setAttribute("aria-label", "Stop the replay");
  playing = setInterval(() => {
    if (upTo >= room.messages.length - 1) return live();
    upTo += 1;
    draw();
  }, PACE);
  draw();
}

$("slider").addEventListener("input", (event) => {
  stop();
  const at = Number(event.target.value);
  upTo = at >= room.messages.length - 1 ? null : at;
  draw();
});
$("play").addEventListener("click", play);
$("live").addEventListener("click", live);

// --- steering ----------------------------------------------------------------------------------------------------

async function command(text) {
  const verb = text.slice(1).split(/\s/, 1)[0].toLowerCase();
  const fits = commands.filter((one) => one.verb === verb || one.verb.startsWith(verb));
  const spec = fits.find((one) => one.verb === verb) ?? (fits.length === 1 ? fits[0] : null);
  if (spec?.where === "console") return atThePage(spec, text);
  if (spec?.destructive && !(await confirmed(text, spec))) return;
  tell(await link.ask({ type: "command", text }));
}

function tell(answer) {
  if (answer.type === "nack") room.notice(`refused: ${answer.reason}`, "error", answer.timestamp);
  else if (answer.text) room.notice(answer.text, "result", answer.timestamp);
  draw();
}

/** Commands that a console carries out itself. */
function atThePage({ verb }, text) {
  if (verb === "quit") return link.close();
  if (verb === "clear") room.clear();
  else if (verb === "help") room.notice(commands.filter((one) => one.where === "hub").map((one) => `${one.usage} – ${one.summary}`).join("\n"), "result");
  else if (verb === "who") room.notice([...room.members.values()].map((seat) => `${seat.name} (${seat.role})`).join(", "), "result");
  else room.notice(`${text.split(/\s/, 1)[0]} is for the terminal; this page has no need of it`, "warning");
  return draw();
}

function confirmed(text, { verb, summary }) {
  $("ask-title").textContent = `${clean(text)} – ${summary}?`;
  $("ask-yes").textContent = verb[0].toUpperCase() + verb.slice(1);
  $("ask").returnValue = "";
  $("ask").showModal();
  return new Promise((decided) => $("ask").addEventListener("close", () => decided($("ask").returnValue === "yes"), { once: true }));
}

$("prompt").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("line").value.trim();
  if (!text || !link) return;
  $("line").value = "";
  if (upTo !== null) live();
  if (text.startsWith("/") && !text.startsWith("//")) return command(text);
  const answer = await link.ask({ type: "message", content: text.startsWith("//") ? text.slice(1) : text });
  if (answer.type === "nack") tell(answer);
});

/** Completions for the prompt: commands, and after one that is about somebody, names. */
function offer() {
  const verb = /^\/(\w+) /.exec($("line").value)?.[1];
  const spec = commands.find((one) => one.verb === verb);
  if (!spec && $("verbs").dataset.of === "verbs") return;
  $("verbs").dataset.of = spec ? spec.verb : "verbs";
  const verbs = () => commands.filter((one) => one.where === "hub").map((one) => el("option", { value: `/${one.verb} ` }, one.summary));
  const names = () => [...room.members.values()].map(({ name }) => el("option", { value: `/${verb} "${name}" ` }));
  $("verbs").replaceChildren(...(!spec ? verbs() : /\bNAMES?\b/.test(spec.usage) ? names() : []));
}

$("line").addEventListener("input", offer);
for (const one of [$("pause"), $("hush")]) one.addEventListener("click", () => command(room.floor.paused ? "/resume" : "/pause"));
$("let").addEventListener("click", () => command("/ok all"));
$("drop").addEventListener("click", () => command("/drop all"));
$("step").addEventListener("click", () => command("/step"));
$("policy").addEventListener("change", (event) => command(`/policy ${event.target.value}`));

// --- the page ----------------------------------------------------------------------------------------------------

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input:not([type=range]), select, textarea");
  if (event.key === "/" && !typing && !$("prompt").hidden && !$("room").hidden) {
    event.preventDefault();
    $("line").value = "/";
    $("line").focus();
  } else if (event.key === "Escape" && upTo !== null) live();
});

for (const button of $("panes").children) {
  button.addEventListener("click", () => {
    $("room").dataset.pane = button.dataset.pane;
    for (const one of $("panes").children) one.setAttribute("aria-pressed", String(one === button));
    draw();
  });
}
$("room").dataset.pane = "talk";

json("commands").then((known) => {
  commands = known.commands;
  $("policy").replaceChildren(...known.policies.map(({ name, summary }) => el("option", { value: name, title: summary }, name)));
  offer();
  if (room.floor) drawControls();
}, () => {});
showLobby();
