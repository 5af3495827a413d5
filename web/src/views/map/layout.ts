// Layout places the nodes of a graph in layers, callers left of what they call, and those of one
// group in a band of their own. It knows nothing about traffic; the same graph always gets the same
// picture.

export type Edge = { src: string; dst: string; weight: number };
export type Place = { x: number; y: number };
export type Band = { group: string; y: number; height: number };
export type Picture = { places: Map<string, Place>; bands: Band[]; width: number; height: number };

export const nodeWidth = 176;
const layerGap = 76;
const rowGap = 44;
const bandHead = 22; // room for the name of a group

export function layout(edges: Edge[], groupOf: (name: string) => string = () => ""): Picture {
  const names = [...new Set(edges.flatMap((e) => [e.src, e.dst]))].sort();
  const out = new Map<string, Edge[]>(names.map((n) => [n, []]));
  for (const e of edges) if (e.src !== e.dst) out.get(e.src)?.push(e);
  for (const list of out.values()) list.sort((a, b) => b.weight - a.weight || (a.dst < b.dst ? -1 : 1));
  const layer = layersOf(names, out);
  const near = new Map<string, string[]>(names.map((n) => [n, []]));
  for (const e of edges) {
    if (e.src === e.dst) continue;
    near.get(e.src)?.push(e.dst);
    near.get(e.dst)?.push(e.src);
  }
  // Groups come in the order of their callers; nodes of no group come first.
  const groups = new Map<string, string[]>();
  for (const n of names) groups.set(groupOf(n), [...(groups.get(groupOf(n)) ?? []), n]);
  const mean = (list: number[]): number => (list.length ? list.reduce((a, b) => a + b, 0) / list.length : 0);
  const order = [...groups.keys()].sort((a, b) => Number(a !== "") - Number(b !== "") || mean((groups.get(a) ?? []).map((n) => layer.get(n) ?? 0)) - mean((groups.get(b) ?? []).map((n) => layer.get(n) ?? 0)) || (a < b ? -1 : 1));
  const places = new Map<string, Place>();
  const bands: Band[] = [];
  const at = new Map<string, number>(names.map((n, i) => [n, i]));
  const last = names.reduce((most, n) => Math.max(most, layer.get(n) ?? 0), 0);
  let top = 0;
  for (const group of order) {
    const columns: string[][] = Array.from({ length: last + 1 }, () => []);
    for (const n of groups.get(group) ?? []) columns[layer.get(n) ?? 0]?.push(n);
    // A few sweeps of ordering by the middle of the neighbours uncross most edges.
    for (let sweep = 0; sweep < 6; sweep++) {
      for (const c of sweep % 2 ? [...columns].reverse() : columns) {
        const middle = new Map(c.map((n) => [n, near.get(n)?.length ? mean((near.get(n) ?? []).map((m) => at.get(m) ?? 0)) : (at.get(n) ?? 0)]));
        c.sort((a, b) => (middle.get(a) ?? 0) - (middle.get(b) ?? 0) || (a < b ? -1 : 1));
        c.forEach((n, i) => at.set(n, i));
      }
    }
    const head = group ? bandHead : 0;
    const tall = Math.max(1, ...columns.map((c) => c.length));
    columns.forEach((c, x) => c.forEach((n, i) => places.set(n, { x: x * (nodeWidth + layerGap) + 8, y: top + head + ((i + 0.5) * tall * rowGap) / c.length })));
    const height = head + tall * rowGap;
    if (group) bands.push({ group, y: top, height });
    top += height + (group ? 8 : 0);
  }
  return { places, bands, width: (last + 1) * (nodeWidth + layerGap) - layerGap + 16, height: Math.max(top, rowGap) };
}

export type Curve = readonly [Place, Place, Place, Place]; // a cubic Bézier curve

// curve returns the line between two nodes, from the right side of one to the left side of the other.
export function curve(a: Place, b: Place): Curve {
  const back = b.x <= a.x;
  const x1 = a.x + nodeWidth;
  const bend = back ? 60 : Math.max(40, (b.x - x1) / 2);
  const sag = back ? 30 : 0;
  return [{ x: x1, y: a.y }, { x: x1 + bend, y: a.y + sag }, { x: b.x - bend, y: b.y + sag }, { x: b.x, y: b.y }];
}

function along([p0, p1, p2, p3]: Curve, t: number): Place {
  const u = 1 - t;
  const at = (a: number, b: number, c: number, d: number): number => u * u * u * a + 3 * u * u * t * b + 3 * u * t * t * c + t * t * t * d;
  return { x: at(p0.x, p1.x, p2.x, p3.x), y: at(p0.y, p1.y, p2.y, p3.y) };
}

// labelled places texts on curves, the first ones first, so that no text covers another or a node. A text without such a
// place has none.
export function labelled(list: { curve: Curve; width: number }[], nodes: Iterable<Place>): (Place | null)[] {
  const tall = 14;
  type Box = { left: number; right: number; top: number; bottom: number };
  const taken: Box[] = [...nodes].map((n) => ({ left: n.x, right: n.x + nodeWidth, top: n.y - 14, bottom: n.y + 14 }));
  return list.map((x) => {
    for (const t of [0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8, 0.12, 0.88]) {
      const at = along(x.curve, t);
      const box = { left: at.x - x.width / 2, right: at.x + x.width / 2, top: at.y - 4 - tall, bottom: at.y };
      if (taken.some((o) => o.left < box.right && box.left < o.right && o.top < box.bottom && box.top < o.bottom)) continue;
      taken.push(box);
      return { x: at.x, y: at.y - 4 };
    }
    return null;
  });
}

// reach returns the nodes that a walk along edges finds, with their distance.
export function reach(edges: Edge[], from: string, forward: boolean): Map<string, number> {
  const next = new Map<string, string[]>();
  for (const e of edges) {
    const [a, b] = forward ? [e.src, e.dst] : [e.dst, e.src];
    next.set(a, [...(next.get(a) ?? []), b]);
  }
  const found = new Map<string, number>([[from, 0]]);
  const queue = [from];
  for (let n = queue.shift(); n !== undefined; n = queue.shift()) {
    for (const m of next.get(n) ?? []) {
      if (found.has(m)) continue;
      found.set(m, (found.get(n) ?? 0) + 1);
      queue.push(m);
    }
  }
  found.delete(from);
  return found;
}

// folded joins the nodes of each group that is not open.
export function folded<E extends Edge>(edges: E[], groupOf: (name: string) => string, open: Set<string>): (Edge & { of: E[] })[] {
  const name = (n: string): string => (groupOf(n) && !open.has(groupOf(n)) ? groupOf(n) + "/" : n);
  const out = new Map<string, Edge & { of: E[] }>();
  for (const e of edges) {
    const [src, dst] = [name(e.src), name(e.dst)];
    const id = src + "\n" + dst;
    const x = out.get(id);
    out.set(id, { src, dst, weight: (x?.weight ?? 0) + e.weight, of: [...(x?.of ?? []), e] });
  }
  return [...out.values()];
}
// layersOf gives each node a layer right of its callers. An edge that would close a circle is left out.
function layersOf(names: string[], out: Map<string, Edge[]>): Map<string, number> {
  const state = new Map<string, "open" | "done">();
  const order: string[] = [];
  const forward = new Map<string, string[]>(names.map((n) => [n, []]));
  const called = new Set([...out.values()].flat().map((e) => e.dst));
  for (const root of [...names.filter((n) => !called.has(n)), ...names]) {
    if (state.has(root)) continue;
    // A stack of its own, because a chain can be longer than the stack of calls.
    const stack: { name: string; next: number }[] = [{ name: root, next: 0 }];
    state.set(root, "open");
    for (let top = stack.at(-1); top; top = stack.at(-1)) {
      const e = out.get(top.name)?.[top.next++];
      if (!e) {
        state.set(top.name, "done");
        order.push(top.name);
        stack.pop();
      } else if (state.get(e.dst) !== "open") {
        forward.get(top.name)?.push(e.dst);
        if (!state.has(e.dst)) {
          state.set(e.dst, "open");
          stack.push({ name: e.dst, next: 0 });
        }
      }
    }
  }
  const layer = new Map<string, number>(names.map((n) => [n, 0]));
  for (const n of order.reverse()) for (const d of forward.get(n) ?? []) layer.set(d, Math.max(layer.get(d) ?? 0, (layer.get(n) ?? 0) + 1));
  return layer;
}
