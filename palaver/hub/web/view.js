// The room on the page: reads a Room, changes elements, decides nothing.

import { $, clean, el, named, time } from "./dom.js";
import { key } from "./room.js";
import { percentile, spoken } from "./stats.js";

const NEAR = 80; // pixels from the end that still count as reading along

export class Transcript {
  constructor() {
    this.list = $("transcript");
    this.clear();
    this.follows = true; // whether the reader is at the end and wants to stay there
    this.list.addEventListener("scroll", () => ($("newest").hidden = this.follows = this.#atEnd()));
    new ResizeObserver(() => this.follows && this.toEnd()).observe(this.list);
    $("newest").addEventListener("click", () => this.toEnd());
  }

  clear() {
    this.list.replaceChildren();
    this.items = new Map(); // line -> li
    this.streams = new Map(); // turn -> li
    this.last = 0; // seq of the newest message shown
    this.edition = -1;
    this.cut = false; // whether a replay hides something
  }

  /** Show the room as it is, or with `upTo` as it was when that message had been said. */
  draw(room, upTo = null) {
    if (room.edition !== this.edition) this.#drawLines(room);
    this.#drawStreams(room, upTo !== null);
    if (upTo !== null || this.cut) this.#cut(upTo);
    if (this.follows || upTo !== null) this.toEnd();
  }

  #drawLines(room) {
    this.edition = room.edition;
    const known = new Set(room.lines);
    for (const [line, item] of this.items) if (!known.has(line)) this.#drop(line, item);
    const end = this.list.querySelector(".streaming");
    for (const line of room.lines) {
      if (!this.items.has(line)) this.list.insertBefore(this.#item(line, room), end);
      else if (line.message?.changed) this.#again(line, room);
    }
  }

  toEnd() {
    this.follows = true;
    this.list.scrollTop = this.list.scrollHeight;
    $("newest").hidden = true;
  }

  #atEnd() {
    return this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < NEAR;
  }

  #drop(line, item) {
    item.remove();
    this.items.delete(line);
  }

  #again(line, room) {
    line.message.changed = false;
    const old = this.items.get(line);
    old.replaceWith(this.#item(line, room, old.dataset.seq));
  }

  #item(line, room, seq = null) {
    if (line.kind === "message") this.last = Math.max(this.last, line.message.seq);
    const item = line.kind === "message" ? messageItem(line.message, room.me) : noticeItem(line);
    item.dataset.seq = seq ?? line.message?.seq ?? this.last;
    this.items.set(line, item);
    return item;
  }

  #drawStreams(room, hidden) {
    for (const [turn, item] of this.streams) {
      if (!room.streams.has(turn)) {
        item.remove();
        this.streams.delete(turn);
      }
    }
    for (const [turn, stream] of room.streams) {
      if (!this.streams.has(turn)) {
        const item = messageItem({ from: stream.from, timestamp: stream.at, content: "" }, room.me);
        item.classList.add("streaming");
        this.streams.set(turn, item);
        this.list.append(item);
      }
      this.streams.get(turn).querySelector(".words").textContent = clean(stream.text);
      this.streams.get(turn).hidden = hidden;
    }
  }

  #cut(upTo) {
    this.cut = upTo !== null;
    for (const item of this.items.values()) item.hidden = upTo !== null && Number(item.dataset.seq) > upTo;
  }
}

function messageItem(message, me) {
  const { from, to, seq, content, redacted, meta, timestamp } = message;
  const aside = to != null ? `whispers to ${clean(to)}` : meta?.sent_as ? `written by ${clean(meta.by ?? "?")}` : "";
  const kind = ["message", to != null && "whisper", from === me && "own", redacted != null && "redacted"];
  const head = el(
    "p",
    { class: "head" },
    named(from),
    aside && el("i", {}, aside),
    el("time", { datetime: timestamp }, time(timestamp)),
    seq && el("span", { class: "seq" }, `#${seq}`),
  );
  const item = el("li", { class: kind.filter(Boolean).join(" ") }, head, el("p", { class: "words", dir: "auto" }));
  item.style.setProperty("--hue", head.firstChild.style.getPropertyValue("--hue"));
  item.lastChild.textContent = redacted != null ? `(redacted: ${clean(redacted)})` : clean(content);
  return item;
}

function noticeItem({ text, tone, at }) {
  return el("li", { class: `notice ${tone}` }, el("span", {}, clean(text)), el("time", { datetime: at }, time(at)));
}

const sentence = (words) => words[0].toUpperCase() + words.slice(1);

export function drawFloor(room) {
  const { holders, queue, paused, paused_by, policy, since_human, hop_limit, topic, waits, ended } = room.floor;
  const speaking = holders.flatMap((holder, index) => [index ? ", " : "", named(holder.name)]);
  const has = holders.length === 1 ? " has the floor" : " have the floor";
  const by = paused_by?.length ? ` by ${paused_by.map(clean).join(", ")}` : "";
  const free = [sentence(clean(waits).split(":")[0] || "the floor is free")];
  const over = [el("b", { class: "paused" }, "The conversation has ended")];
  const who = ended ? over : paused ? [el("b", { class: "paused" }, "Paused"), `${by} – people may speak on`] : holders.length ? [...speaking, has] : free;
  const next = !paused && !waits && queue.length ? el("span", { class: "soft" }, `next: ${queue.slice(0, 3).map(clean).join(", ")}`) : "";
  const hops = hop_limit ? ` · ${since_human} of ${hop_limit} without a person` : "";
  $("floor").replaceChildren(el("span", {}, ...who), next, el("span", { class: "soft end" }, `${clean(policy)}${hops}`));
  $("floor").classList.toggle("paused", paused);
  $("topic").textContent = clean(topic ?? "");
}

export class Members {
  /** `act(verb, name)` is called when a moderator presses a member's button. */
  constructor(act) {
    this.act = act;
    this.rows = new Map();
  }

  clear() {
    this.rows.clear();
    $("members").replaceChildren();
  }

  // Rows stay the same elements, so that a pressed or focused button survives what happens meanwhile.
  draw(room) {
    for (const [who, row] of this.rows) {
      if (room.members.has(who)) continue;
      row.item.remove();
      this.rows.delete(who);
    }
    for (const [who, seat] of room.members) {
      if (!this.rows.has(who)) this.#add(who, seat);
      this.#update(this.rows.get(who), who, seat, room);
    }
    $("members-title").textContent = `Here (${room.members.size})`;
  }

  #add(who, { name, about }) {
    const button = (label, verb) => el("button", { onclick: () => this.act(verb(), name) }, label);
    const floor = button("Floor", () => "floor");
    const mute = button("Mute", () => (this.rows.get(who).muted ? "unmute" : "mute"));
    const kick = button("Kick", () => "kick");
    for (const one of [floor, mute, kick]) one.setAttribute("aria-label", `${one.textContent} ${clean(name)}`);
    const row = {
      dot: el("span", { class: "dot" }),
      badges: el("span", { class: "badges" }),
      figures: el("span", { class: "soft figures" }),
      acts: el("span", { class: "acts" }, floor, mute, kick),
      mute,
      floor,
    };
    const line = el("p", { class: "who", title: clean(about ?? "") }, row.dot, named(name), row.badges);
    row.item = el("li", {}, line, el("div", { class: "below" }, row.acts, row.figures));
    this.rows.set(who, row);
    $("members").append(row.item);
  }

  #update(row, who, seat, room) {
    const has = (names) => names.some((name) => key(name) === who);
    const speaking = has(room.floor.holders.map((holder) => holder.name));
    row.muted = has(room.floor.muted);
    row.mute.textContent = row.muted ? "Unmute" : "Mute";
    row.mute.setAttribute("aria-label", `${row.mute.textContent} ${clean(seat.name)}`);
    const agent = seat.role === "model" || seat.role === "user_sim";
    row.acts.hidden = room.role !== "moderator" || key(room.me) === who;
    row.floor.hidden = !agent;
    row.mute.hidden = seat.role === "observer";
    row.dot.className = `dot ${seat.state ?? "ready"}`;
    const loading = seat.state === "loading" && `loading${seat.progress ? ` ${Math.round(seat.progress * 100)} %` : ""}`;
    const words = [
      key(room.me) === who && "you",
      { model: "model", user_sim: "simulated user", moderator: "moderator", observer: "watching" }[seat.role],
    ];
    const states = [speaking && "floor", row.muted && "muted", has(room.floor.hands) && "hand", seat.state === "away" && "away", loading];
    row.badges.replaceChildren(
      ...words.filter(Boolean).map((word) => el("small", {}, word)),
      ...states.filter(Boolean).map((word) => el("small", { class: `badge ${word.split(" ")[0]}` }, word === "floor" ? "speaking" : word)),
    );
    row.item.classList.toggle("speaking", speaking);
    const median = percentile(room.latencies.get(seat.name) ?? [], 0.5);
    const stop = room.stopped.get(who);
    row.figures.textContent = [median !== null && spoken(median), stop !== undefined && `stops in ${spoken(stop)}`].filter(Boolean).join(" · ");
    row.figures.title = "median time to answer";
  }
}
