// One member's connection to the hub: joins, comes back where it was, sends again what was not answered.
// It does not know what is said. docs/protocol.md is its other side.

const LONGEST_WAIT = 15_000;
const TAKEN_OVER = 4002;

export class Link {
  /**
   * `join` is the first frame; `past` is about how many messages of the past are wanted; `on.frame(frame)` gets each
   * frame, messages once and in order; `on.state(name, text)` gets "joining", "up", "down" or "over".
   */
  constructor(url, join, past, on) {
    this.url = url;
    this.join = join;
    this.past = past;
    this.on = on;
    this.seq = 0;
    this.attempt = 0;
    this.unanswered = new Map();
    this.refusal = "";
    this.over = false;
    this.retry = () => this.#connect();
    addEventListener("online", this.retry);
    this.#connect();
  }

  /** Say something or give a command; resolves to its `ack` or `nack`, also across connections. */
  ask(frame) {
    const id = crypto.getRandomValues(new Uint32Array(4)).join("-");
    const text = JSON.stringify({ type: frame.type, id, ...frame });
    return new Promise((answered) => {
      this.unanswered.set(id, { text, answered });
      if (this.seated) this.socket.send(text);
    });
  }

  close() {
    if (this.seated) this.socket.send(JSON.stringify({ type: "leave", reason: "" }));
    this.#end("left");
  }

  #connect() {
    if (this.over || this.socket) return;
    clearTimeout(this.timer);
    this.on.state("joining", "connecting…");
    const socket = new WebSocket(this.url);
    this.socket = socket;
    this.refusal = "";
    socket.onopen = () => {
      socket.send(JSON.stringify({ ...this.join, after: this.seq }));
    };
    socket.onmessage = (event) => {
      if (socket === this.socket) this.#take(JSON.parse(event.data));
    };
    socket.onclose = (event) => {
      if (socket === this.socket) this.#lost(event);
    };
  }

  #take(frame) {
    switch (frame.type) {
      case "welcome":
        return this.#seated(frame);
      case "message":
        if (frame.seq <= this.seq) return;
        this.seq = frame.seq;
        break;
      case "ack":
      case "nack": {
        const asked = this.unanswered.get(frame.id);
        if (asked) {
          this.unanswered.delete(frame.id);
          asked.answered(frame);
        }
        break;
      }
      case "error":
        this.refusal = frame.reason;
        break;
    }
    this.on.frame(frame);
  }

  #seated(frame) {
    if (this.seq === 0 && frame.missed > 2 * this.past) return this.#startAfter(frame.seq - this.past);
    if (frame.seq < this.seq) return this.#startAfter(0); // the hub's log was replaced
    if (!frame.missed) this.seq = frame.seq;
    this.attempt = 0;
    this.seated = true;
    this.on.state("up", "");
    this.on.frame(frame);
    for (const { text } of this.unanswered.values()) this.socket.send(text);
  }

  #startAfter(seq) {
    this.seq = seq;
    const socket = this.socket;
    this.socket = null;
    socket.close();
    this.#connect();
  }

  #lost(event) {
    this.seated = false;
    this.socket = null;
    const reason = this.refusal || event.reason || "the connection was lost";
    if (event.code >= 4500 || event.code === TAKEN_OVER) return this.#end(reason);
    const wait = 50 + Math.random() * Math.min(LONGEST_WAIT, 500 * 2 ** Math.min(this.attempt, 10));
    this.attempt += 1;
    this.on.state("down", `${reason}; trying again`);
    this.timer = setTimeout(this.retry, wait);
  }

  #end(reason) {
    if (this.over) return;
    this.over = true;
    clearTimeout(this.timer);
    removeEventListener("online", this.retry);
    const socket = this.socket;
    this.socket = null;
    socket?.close();
    this.on.state("over", reason);
  }
}
