// Figures of a conversation, and how they are drawn: messages in, numbers and inline SVG out.

import { clean, hue, svg } from "./dom.js";

const WIDTH = 300;

/** What counts in figures, as in those of the server: no whispers, nothing redacted, nothing said as `system`. */
export const saidToAll = (messages) => messages.filter(({ from, to, redacted }) => to == null && redacted == null && from !== "system");

/** Words said by each, most first: `[{name, words, share}]`. */
export function share(messages) {
  const by = new Map();
  for (const { from, content } of messages) {
    const one = by.get(from) ?? { name: from, words: 0 };
    one.words += content.match(/[\p{L}\p{N}_]+/gu)?.length ?? 0;
    by.set(from, one);
  }
  const all = [...by.values()].sort((a, b) => b.words - a.words);
  const total = all.reduce((sum, one) => sum + one.words, 0) || 1;
  return all.map((one) => ({ ...one, share: one.words / total }));
}

/** How often each was followed by each: `{names, counts}`, `counts[i][j]` for j right after i. */
export function follows(messages, limit = 8) {
  const names = share(messages).slice(0, limit).map((one) => one.name);
  const at = new Map(names.map((name, index) => [name, index]));
  const counts = names.map(() => names.map(() => 0));
  for (let next = 1; next < messages.length; next += 1) {
    const [from, to] = [at.get(messages[next - 1].from), at.get(messages[next].from)];
    if (from !== undefined && to !== undefined) counts[from][to] += 1;
  }
  return { names, counts };
}

/** The value below which the share `p` of `values` lies (nearest rank). */
export function percentile(values, p) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(p * sorted.length) - 1)] ?? null;
}

export const spoken = (value) => (value < 1 ? `${Math.round(value * 1000)} ms` : `${value.toFixed(1)} s`);

const short = (name, length) => {
  const shown = [...clean(name)];
  return shown.length > length ? `${shown.slice(0, length - 1).join("")}…` : shown.join("");
};

const label = (x, y, text, extra = {}) => svg("text", { x, y, ...extra }, text);

function bars(rows, title) {
  const height = rows.length * 26;
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": title });
  rows.forEach((row, index) => {
    const y = index * 26;
    picture.append(
      label(104, y + 15, short(row.name, 15), { "text-anchor": "end" }),
      svg("rect", { class: "track", x: 112, y: y + 4, width: 120, height: 14, rx: 4 }),
      svg("rect", { class: "bar", x: 112, y: y + 4, width: Math.max(2, 120 * row.part), height: 14, rx: 4, "data-hue": hue(row.name) }),
      label(240, y + 15, row.value, { class: "value" }),
    );
    if (row.mark) picture.append(svg("rect", { class: "mark", x: 111 + 120 * row.mark, y: y + 2, width: 2, height: 18 }));
  });
  return picture;
}

export function shareChart(messages) {
  const rows = share(messages).slice(0, 12);
  const title = `Share of words: ${rows.map((row) => `${clean(row.name)} ${Math.round(row.share * 100)} %`).join(", ")}`;
  const most = rows[0]?.share || 1;
  return bars(rows.map((row) => ({ name: row.name, part: row.share / most, value: `${Math.round(row.share * 100)} %` })), title);
}

export function latencyChart(latencies) {
  const rows = [...latencies].map(([name, values]) => ({ name, p50: percentile(values, 0.5), p95: percentile(values, 0.95) }));
  const most = Math.max(...rows.map((row) => row.p95), 0.001);
  const told = rows.map((row) => `${clean(row.name)} ${spoken(row.p50)}, 95 % within ${spoken(row.p95)}`);
  const drawn = rows.map(({ name, p50, p95 }) => ({ name, part: p50 / most, mark: p95 / most, value: spoken(p50) }));
  return bars(drawn, `Median time to answer: ${told.join("; ")}`);
}

export function followsChart(messages) {
  const { names, counts } = follows(messages);
  const cell = Math.min(34, Math.floor((WIDTH - 112) / Math.max(1, names.length)));
  const top = 66;
  const most = Math.max(1, ...counts.flat());
  const picture = svg("svg", {
    viewBox: `0 0 ${WIDTH} ${top + cell * names.length}`,
    role: "img",
    "aria-label": `Who follows whom: ${described(names, counts)}`,
  });
  names.forEach((name, column) => {
    const x = 112 + column * cell + cell / 2;
    picture.append(label(x, top - 6, short(name, 10), { transform: `rotate(-45 ${x} ${top - 6})` }));
  });
  names.forEach((name, row) => {
    picture.append(label(104, top + row * cell + cell / 2 + 4, short(name, 15), { "text-anchor": "end" }));
    names.forEach((_, column) => picture.append(square(112 + column * cell, top + row * cell, cell, counts[row][column], most)));
  });
  return picture;
}

function square(x, y, cell, count, most) {
  const mark = svg("g", {});
  const strength = count ? 0.2 + 0.8 * (count / most) : 0;
  mark.append(svg("rect", { class: "track", x: x + 1, y: y + 1, width: cell - 2, height: cell - 2, rx: 4 }));
  mark.append(svg("rect", { class: "heat", x: x + 1, y: y + 1, width: cell - 2, height: cell - 2, rx: 4, opacity: strength }));
  if (count) mark.append(label(x + cell / 2, y + cell / 2 + 4, String(count), { "text-anchor": "middle", class: strength > 0.6 ? "on" : "" }));
  return mark;
}

function described(names, counts) {
  const pairs = counts.flatMap((row, i) => row.map((count, j) => ({ count, words: `${clean(names[j])} after ${clean(names[i])} ${count} times` })));
  const most = pairs.filter((pair) => pair.count).sort((a, b) => b.count - a.count);
  return most.slice(0, 5).map((pair) => pair.words).join(", ") || "nobody yet";
}
