// How elements are made here: words become text nodes, never markup.

const SVG = "http://www.w3.org/2000/svg";
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;
const TURNING = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** What others wrote, with its control characters made visible (`\x1b`) and nothing in it that turns the text around. */
export function clean(text) {
  const lines = String(text ?? "").replace(/\r\n?/g, "\n");
  return lines.replace(UNSEEN, (it) => `\\x${it.charCodeAt(0).toString(16).padStart(2, "0")}`).replace(TURNING, "\ufffd");
}

/** An element with properties (`class`, `data-…`, `aria-…` as attributes, `onclick` as listener) and children. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null && child !== false));
  return element;
}

export function svg(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (attributes["data-hue"] !== undefined) element.style.setProperty("--hue", attributes["data-hue"]);
  if (text !== undefined) element.textContent = text;
  return element;
}

const HUES = 10; // so far apart that they can be told from each other
const seen = new Map();

/** A colour for each name, the same on every screen unless names of one room would share it. */
export function hue(name) {
  const who = name.toLocaleLowerCase();
  if (!seen.has(who)) {
    let slot = [...who].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 65_521, 7) % HUES;
    const taken = new Set([...seen.values()].slice(-HUES + 1));
    while (taken.has(slot)) slot = (slot + 3) % HUES;
    seen.set(who, slot);
  }
  return (170 + seen.get(who) * (360 / HUES)) % 360;
}

export function named(name, tag = "b") {
  const element = el(tag, { class: "name" }, clean(name));
  element.style.setProperty("--hue", hue(name));
  return element;
}

export const time = (timestamp) => {
  const at = new Date(timestamp);
  return Number.isNaN(at.getTime()) ? "" : at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
};

export const $ = (id) => document.getElementById(id);
