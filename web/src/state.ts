// State is what the address says: everything that a copied link must bring back. It is a value;
// a change makes a new one.
export type State = {
  view: View;
  kfl: string; // the filter
  time: Range | null; // selected time, milliseconds since 1970 UTC; null: all
  base: Range | null; // time to compare with
  zoom: Range | null; // what the time strip shows
  call: string; // id of the open call
  packet: string; // number of the packet of the call that is open
  node: string; // service whose dependents the map shows
  group: string; // what calls are grouped by; empty: not grouped
  order: string; // of calls
  columns: string; // of calls, separated by commas; empty: the usual ones
  sql: string;
  report: string; // template
  db: string; // what is asked: live:2m, or a dissection of a snapshot; empty: what is open
  bundle: string; // what the link is about; empty: whatever is open
};

export type Range = readonly [number, number];

export const views = ["summary", "calls", "map", "connections", "findings", "objects", "compare", "evidence", "reports", "sql"] as const;
export type View = (typeof views)[number];

export const initial: State = { view: "summary", kfl: "", time: null, base: null, zoom: null, call: "", packet: "", node: "", group: "", order: "", columns: "", sql: "", report: "", db: "", bundle: "" };

const texts = { q: "kfl", c: "call", p: "packet", n: "node", g: "group", o: "order", k: "columns", s: "sql", r: "report", d: "db", b: "bundle" } as const;

// format returns the fragment of a state. Values that are as in the initial state are left out.
export function format(s: State): string {
  const p = new URLSearchParams();
  p.set("v", s.view);
  if (s.time) p.set("t", s.time.join("-"));
  if (s.base) p.set("w", s.base.join("-"));
  if (s.zoom) p.set("z", s.zoom.join("-"));
  for (const [key, name] of Object.entries(texts)) if (s[name]) p.set(key, s[name]);
  return "#" + p.toString();
}

// parse reads a fragment. What it does not understand is as in the initial state, because an
// address may come from anybody.
export function parse(hash: string): State {
  const p = new URLSearchParams(hash.replace(/^#/, ""));
  const s = { ...initial, time: range(p.get("t")), base: range(p.get("w")), zoom: range(p.get("z")) };
  const view = p.get("v");
  for (const v of views) if (v === view) s.view = v;
  for (const [key, name] of Object.entries(texts)) s[name] = (p.get(key) ?? "").slice(0, 10_000);
  return s;
}

function range(text: string | null): Range | null {
  const m = /^(\d{1,15}(?:\.\d+)?)-(\d{1,15}(?:\.\d+)?)$/.exec(text ?? "");
  if (!m) return null;
  const from = Number(m[1]);
  const to = Number(m[2]);
  return from <= to ? [from, to] : null;
}

// and adds a condition to a filter.
export function and(kfl: string, more: string): string {
  if (!kfl.trim()) return more;
  if (kfl === more || !more) return kfl;
  const wrap = (x: string): string => (/\bor\b|\|\|/.test(x) ? `(${x})` : x);
  return `${wrap(kfl)} && ${wrap(more)}`;
}

// zoomed returns a range made shorter or longer around one of its points, within all.
export function zoomed(r: Range, at: number, factor: number, all: Range): Range | null {
  const from = Math.max(all[0], at - (at - r[0]) * factor);
  const to = Math.min(all[1], at + (r[1] - at) * factor);
  if (to - from < 1) return r;
  return from <= all[0] && to >= all[1] ? null : [Math.floor(from), Math.ceil(to)];
}

// before returns the time of the same length before a range, within all; null if there is none.
export function before(r: Range, all: Range): Range | null {
  const from = Math.max(Math.floor(all[0]), r[0] - (r[1] - r[0]));
  return from < r[0] ? [from, r[0] - 1] : null;
}

// halves divides a time in two, the later one first.
export function halves(all: Range): [Range, Range] {
  const middle = Math.floor((all[0] + all[1]) / 2);
  return [[middle + 1, Math.ceil(all[1])], [Math.floor(all[0]), middle]];
}

// span returns the time that the open bundles cover; null if no packet has a time.
export function span(of: { cases: { from?: string; to?: string }[] | null }): Range | null {
  const list = (of.cases ?? []).filter((c) => c.from && c.to);
  if (!list.length) return null;
  return [Math.min(...list.map((c) => Date.parse(c.from ?? ""))), Math.max(...list.map((c) => Date.parse(c.to ?? ""))) + 1];
}
