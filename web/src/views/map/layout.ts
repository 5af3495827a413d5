// Layout places the nodes of a graph in layers, callers left of what they call. It knows nothing
// about traffic; the same graph always gets the same picture.

export type Edge = { src: string; dst: string; weight: number };
export type Place = { x: number; y: number };
export type Picture = { places: Map<string, Place>; width: number; height: number };

export const nodeWidth = 176;
const layerGap = 76;
const rowGap = 44;

export function layout(edges: Edge[]): Picture {
  const names = [...new Set(edges.flatMap((e) => [e.src, e.dst]))].sort();
  const out = new Map<string, Edge[]>(names.map((n) => [n, []]));
  for (const e of edges) if (e.src !== e.dst) out.get(e.src)?.push(e);
  for (const list of out.values()) list.sort((a, b) => b.weight - a.weight || (a.dst < b.dst ? -1 : 1));
  const layer = layersOf(names, out);
  const columns: string[][] = [];
  for (const n of names) (columns[layer.get(n) ?? 0] ??= []).push(n);
  const at = new Map<string, number>();
  columns.forEach((c) => c.forEach((n, i) => at.set(n, i)));
  // A few sweeps of ordering by the middle of the neighbours uncross most edges.
  for (let sweep = 0; sweep < 6; sweep++) {
    for (const c of sweep % 2 ? [...columns].reverse() : columns) {
      if (!c) continue;
      const middle = new Map(c.map((n) => {
        const near = edges.filter((e) => e.src !== e.dst && (e.src === n || e.dst === n)).map((e) => at.get(e.src === n ? e.dst : e.src) ?? 0);
        return [n, near.length ? near.reduce((a, b) => a + b, 0) / near.length : (at.get(n) ?? 0)];
      }));
      c.sort((a, b) => (middle.get(a) ?? 0) - (middle.get(b) ?? 0) || (a < b ? -1 : 1));
      c.forEach((n, i) => at.set(n, i));
    }
  }
  const tall = Math.max(1, ...columns.map((c) => c?.length ?? 0));
  const places = new Map<string, Place>();
  columns.forEach((c, x) => c.forEach((n, i) => places.set(n, { x: x * (nodeWidth + layerGap) + 8, y: ((i + 0.5) * tall * rowGap) / c.length })));
  return { places, width: columns.length * (nodeWidth + layerGap) - layerGap + 16, height: tall * rowGap };
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
