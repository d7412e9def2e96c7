// The room as this page knows it: frames in, plain values out. It touches neither the page nor the network.

const KEPT = 3_000; // messages, and lines of the transcript
const ANSWERED = new Set(["command", "topic", "pin", "mark", "score"]); // whoever did it has read so already

export const key = (name) => name.toLocaleLowerCase();
const seconds = (later, earlier) => (Date.parse(later) - Date.parse(earlier)) / 1000;

export class Room {
  constructor() {
    this.messages = []; // as the hub sent them; redacted ones have lost their content
    this.lines = []; // what the transcript shows: {kind: "message", message} or {kind: "notice", text, tone, at}
    this.members = new Map(); // key -> seat
    this.floor = null;
    this.streams = new Map(); // turn -> {from, text}
    this.since = new Map(); // turn -> when the floor was given
    this.latencies = new Map(); // name -> seconds of each answer
    this.stopped = new Map(); // key -> seconds from a revoke to silence, as moderators are told
    this.edition = 0; // changes whenever `lines` do
    this.me = "";
    this.role = "observer";
  }

  /** Take a frame; returns false where nothing changed. */
  take(frame) {
    switch (frame.type) {
      case "welcome":
        return this.#welcome(frame);
      case "message":
        return this.#message(frame);
      case "delta":
        return this.#delta(frame);
      case "floor":
        return this.#floor(frame);
      case "presence":
        return this.#presence(frame);
      case "event":
        return this.#event(frame);
      case "system":
        return this.notice(frame.content, frame.level, frame.timestamp);
      case "error":
        return this.notice(frame.reason, "error", frame.timestamp);
    }
    return false;
  }

  notice(text, tone = "info", at = new Date().toISOString()) {
    return this.#line({ kind: "notice", text, tone, at });
  }

  clear() {
    this.lines = [];
    this.edition += 1;
  }

  #welcome(frame) {
    if (frame.seq < (this.messages.at(-1)?.seq ?? 0)) {
      this.messages = []; // the hub's log was replaced: what was said there is not said here
      this.clear();
    }
    this.me = frame.name;
    this.role = frame.role;
    this.members = new Map(frame.roster.map((seat) => [key(seat.name), seat]));
    this.streams.clear();
    this.#floor(frame.floor);
    if (frame.complete === false) this.notice("older messages were missed than the hub sends again", "warning");
    return true;
  }

  #message(message) {
    this.messages.push(message);
    if (this.messages.length > KEPT) this.messages.shift();
    if (message.turn != null) {
      this.streams.delete(message.turn);
      const since = this.since.get(message.turn);
      const took = since ? seconds(message.timestamp, since) : message.meta?.total_seconds; // before we came: as it says
      if (Number.isFinite(took)) this.#latency(message.from, took);
    }
    return this.#line({ kind: "message", message });
  }

  #latency(name, value) {
    if (!this.latencies.has(name)) this.latencies.set(name, []);
    const values = this.latencies.get(name);
    values.push(Math.max(0, value));
    if (values.length > 200) values.shift();
  }

  #delta(frame) {
    const stream = this.streams.get(frame.turn) ?? { from: frame.from, text: "", at: frame.timestamp };
    stream.text += frame.text;
    this.streams.set(frame.turn, stream);
    return true;
  }

  #floor(frame) {
    this.floor = { holders: [], muted: [], hands: [], queue: [], params: {}, ...frame };
    const open = new Set(this.floor.holders.map((holder) => holder.turn));
    for (const holder of this.floor.holders) this.since.set(holder.turn, holder.since);
    for (const turn of this.streams.keys()) if (!open.has(turn)) this.streams.delete(turn);
    for (const turn of this.since.keys()) if (this.since.size > 200 && !open.has(turn)) this.since.delete(turn);
    return true;
  }

  #presence(frame) {
    const who = key(frame.name);
    if (frame.state === "left") this.members.delete(who);
    else {
      const state = frame.state === "away" ? "away" : frame.ready === false ? "loading" : "ready";
      const seat = this.members.get(who) ?? { name: frame.name, role: frame.role };
      this.members.set(who, { ...seat, state, progress: frame.progress });
    }
    if (frame.state === "loading" && frame.progress) return true;
    const why = frame.text && frame.text !== frame.state ? `: ${frame.text}` : "";
    const did = { joined: "joined", left: "left", away: "is away", loading: "is loading", ready: "is ready" };
    return this.notice(`${frame.name} ${did[frame.state]}${why}`, "presence", frame.timestamp);
  }

  #event(frame) {
    const { kind, actor = "", text = "", data = {} } = frame;
    if (kind === "redaction") this.#redact(data.seq, data.reason || "redacted");
    if (kind === "setting" || (ANSWERED.has(kind) && key(actor) === key(this.me))) return true;
    if (kind === "cancelled") {
      this.stopped.set(key(actor), data.latency ?? 0);
      return this.notice(`${actor} stopped after ${Math.round((data.latency ?? 0) * 1000)} ms`, "info", frame.timestamp);
    }
    const tone = { alarm: "error", budget: "warning", held: "warning", ended: "warning" }[kind] ?? "info";
    const words = kind === "pass" ? `${actor} passes${text ? `: ${text}` : ""}` : kind === "command" ? `${actor}: ${text}` : text;
    const held = kind === "held" ? `${actor} ${text}\n${data.content ?? ""}` : words;
    return held ? this.notice(held, tone, frame.timestamp) : true;
  }

  #redact(seq, reason) {
    const message = this.messages.find((one) => one.seq === seq);
    if (!message) return;
    message.content = "";
    message.redacted = reason;
    message.changed = true;
    this.edition += 1;
  }

  #line(line) {
    this.lines.push(line);
    this.edition += 1;
    if (this.lines.length > KEPT) this.lines.shift();
    return true;
  }
}
