// @ts-nocheck: Node's modules have no types here.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { blocks } from "../viewer/blocks";
import { brief, bytes, clock, dated, dump, duration, fields, form, percent, plural, pretty, rate, visible, wording } from "./format";
import { read, toggled, used, write } from "./saved";
import { and, before, format, halves, initial, parse, span, zoomed } from "./state";
import { fieldAt, segments } from "./views/call/extent";
import { curve, folded, labelled, layout, reach } from "./views/map/layout";

test("an address brings a state back", () => {
  const s = { ...initial, view: "calls", kfl: 'a == "ü&=#" && b', time: [1, 2], base: [3, 4], packet: "17", node: "shop/payment", report: "incident", db: "live:2m", zoom: [1795166688891, 1795166692512], call: "ab12", group: "to", order: "slowest", columns: "time,what", sql: "select 1\nfrom x", bundle: "abc" };
  assert.deepEqual(parse(format(s)), s);
  assert.deepEqual(parse(format(initial)), initial);
});
test("an address from a stranger cannot break the page", () => {
  for (const hash of ["", "#", "#v=nothing&t=5-1&z=x", "#t=-1-2", "#t=1e9-2", "#v=__proto__", "#%", "#t=1-99999999999999999"]) assert.deepEqual(parse(hash), initial, hash);
  assert.equal(parse("#q=" + "x".repeat(20_000)).kfl.length, 10_000);
});
test("conditions are joined so that each keeps its meaning", () => {
  assert.equal(and("", "failed"), "failed");
  assert.equal(and("dns or http", "failed"), "(dns or http) && failed");
  assert.equal(and("http", "a || b"), "http && (a || b)");
  assert.equal(and("failed", "failed"), "failed");
  assert.equal(and("http", ""), "http");
});
test("a name without words is shown as it is, whatever objects have under that name", () => {
  const word = wording({ tcp: "TCP" });
  assert.equal(word("tcp"), "TCP");
  for (const name of ["udp", "constructor", "__proto__", "toString"]) assert.equal(word(name), name);
});
test("zoom stays within the recording", () => {
  assert.deepEqual(zoomed([0, 100], 50, 0.5, [0, 100]), [25, 75]);
  assert.equal(zoomed([25, 75], 50, 4, [0, 100]), null);
  assert.deepEqual(zoomed([0, 1], 0.5, 0.5, [0, 100]), [0, 1]);
});
test("a form has its members on a line each", () => {
  assert.equal(form("user=a%20b+c&empty=&flag&x=1=2&bad=%zz"), "user = a b c\nempty = \nflag = \nx = 1=2\nbad = %zz");
});
test("numbers have units", () => {
  assert.deepEqual([0.0456, 0.9, 3.256, 501.4, 1664.7, 240_000, 9e6, 1.4245e11, null, undefined].map(duration), ["45.6 µs", "900 µs", "3.26 ms", "501 ms", "1.66 s", "4 min", "2.5 h", "1649 days", "", ""]);
  assert.deepEqual([0, 999, 1500, 2e6, 3.14e9].map(bytes), ["0 B", "999 B", "1.5 kB", "2 MB", "3.14 GB"]);
  assert.equal(plural(1, "call"), "1 call");
  assert.equal(plural(1234, "call"), "1,234 calls");
  assert.equal(percent(1, 0), "");
  assert.deepEqual([0, 0.000294, 12.345, 2345.6].map(rate), ["0", "0.000294", "12.3", "2,346"]);
  assert.equal(clock(1795166688891, 0), "09:24:48");
  assert.equal(clock(1795166688891), "09:24:48.891");
  assert.deepEqual([864e5, 400 * 864e5].map((later) => dated([1795166688891, 1795166688891 + later]) && clock(1795166688891, 0)), ["11-20 09:24:48", "2026-11-20 09:24:48"]);
  assert.equal(dated([1795166688891, 1795166688891 + 36e5]), false);
});
test("protobuf has a field on a line, and texts stay whole", () => {
  assert.equal(fields('{1: {1: "a, {b}\\"", 2: {}}, 4: [1, 2], 5: 0x00ff}'), '{\n  1: {\n    1: "a, {b}\\""\n    2: {}\n  }\n  4: [1, 2]\n  5: 0x00ff\n}');
  for (const odd of ["", '{1: "cut', "}}}}", "{".repeat(100), '"', "…"]) assert.ok(fields(odd).replace(/\s/g, "").length >= odd.replace(/\s/g, "").length - 1, odd);
});
test("bytes have their characters beside them", () => {
  assert.equal(dump("00410a7e7f80"), "0000  00 41 0a 7e 7f 80" + " ".repeat(30) + "  .A.~..");
  assert.equal(dump("41".repeat(17)).split("\n").length, 2);
  assert.equal(dump(""), "");
});
test("a service of the cluster has a short name", () => {
  assert.deepEqual(["a.shop.svc.cluster.local", "svc.cluster.local.evil", "10.0.0.1"].map(brief), ["a.shop", "svc.cluster.local.evil", "10.0.0.1"]);
});
test("blocks continue a hash as Node computes it", async () => {
  const next = await blocks();
  const first = new Uint8Array(32), words = new DataView(first.buffer);
  [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19].forEach((w, i) => words.setUint32(4 * i, w));
  const data = new Uint8Array(300 * 64).map((_, i) => i * 31 + (i >> 8));
  const state = first.slice();
  next(state, data.subarray(0, 64));
  next(state, data.subarray(64));
  // The last block has the padding of FIPS 180-4, section 5.1.1.
  const last = new Uint8Array(64);
  last[0] = 0x80;
  new DataView(last.buffer).setUint32(60, data.length * 8);
  next(state, last);
  assert.equal(Buffer.from(state).toString("hex"), createHash("sha256").update(data).digest("hex"));
});
test("text that is not JSON stays as it is", () => {
  assert.equal(pretty('{"a":1}'), '{\n  "a": 1\n}');
  assert.equal(pretty("{broken"), "{broken");
});
test("characters that steer a display are named", () => {
  assert.equal(visible("a\u202eb\u001b[31m\u0000"), "a⟨U+202E⟩b⟨U+001B⟩[31m⟨U+0000⟩");
  assert.equal(visible("tab\tline\nü漢"), "tab\tline\nü漢");
});
test("callers are left of what they call, and circles end", () => {
  const { places } = layout([{ src: "a", dst: "b", weight: 1 }, { src: "b", dst: "c", weight: 1 }, { src: "a", dst: "c", weight: 1 }, { src: "c", dst: "a", weight: 1 }, { src: "d", dst: "d", weight: 1 }]);
  assert.ok(places.get("a").x < places.get("b").x && places.get("b").x < places.get("c").x);
  assert.equal(places.size, 4);
  const long = layout(Array.from({ length: 3000 }, (_, i) => ({ src: "n" + i, dst: "n" + (i + 1), weight: 1 })));
  assert.equal(long.places.size, 3001);
});

test("a group has a band of its own", () => {
  const edges = [{ src: "a/x", dst: "b/y", weight: 1 }, { src: "b/y", dst: "a/z", weight: 1 }, { src: "out", dst: "a/x", weight: 1 }];
  const groupOf = (n) => (n.includes("/") ? n.split("/")[0] : "");
  const p = layout(edges, groupOf);
  for (const [name, at] of p.places) {
    assert.ok(Number.isFinite(at.x) && Number.isFinite(at.y), name);
    for (const b of p.bands) assert.equal(at.y > b.y && at.y < b.y + b.height, b.group === groupOf(name), `${name} in ${b.group}`);
  }
  assert.deepEqual(p.bands.map((b) => b.group).sort(), ["a", "b"]);
  const big = layout(Array.from({ length: 300 }, (_, i) => ({ src: `n${i % 7}/s${i % 100}`, dst: `n${(i + 3) % 7}/s${(i * 37) % 100}`, weight: i })), groupOf);
  const seen = new Set([...big.places.values()].map((p) => `${p.x} ${p.y}`));
  assert.equal(seen.size, big.places.size); // no two at one place
  for (const [a, x] of big.places) for (const [b, y] of big.places) if (a !== b && x.x === y.x) assert.ok(Math.abs(x.y - y.y) >= 28, `${a} covers ${b}`);
});
test("a text on a line covers no other and no node", () => {
  const edges = Array.from({ length: 60 }, (_, i) => ({ src: `a${i % 6}`, dst: `b${i % 9}`, weight: i + 1 }));
  const { places } = layout(edges);
  const list = edges.map((e) => ({ curve: curve(places.get(e.src), places.get(e.dst)), width: 60 }));
  const at = labelled(list, places.values());
  const boxes = at.filter(Boolean);
  assert.equal(at.length, edges.length);
  assert.ok(boxes.length > 10 && boxes.length < edges.length, `${boxes.length} texts`);
  boxes.forEach((a, i) => boxes.slice(i + 1).forEach((b) => assert.ok(Math.abs(a.x - b.x) >= 60 || Math.abs(a.y - b.y) >= 14, `${JSON.stringify(a)} covers ${JSON.stringify(b)}`)));
  for (const p of places.values()) for (const b of boxes) assert.ok(b.x + 30 <= p.x || b.x - 30 >= p.x + 176 || b.y <= p.y - 14 || b.y - 14 >= p.y + 14);
});
test("who is reached along edges, and how far", () => {
  const edges = [["a", "b"], ["b", "c"], ["c", "a"], ["d", "c"]].map(([src, dst]) => ({ src, dst, weight: 1 }));
  assert.deepEqual([...reach(edges, "b", true)], [["c", 1], ["a", 2]]);
  assert.deepEqual([...reach(edges, "c", false)], [["b", 1], ["d", 1], ["a", 2]]);
  assert.equal(reach(edges, "none", true).size, 0);
});
test("groups that are not open are one node", () => {
  const groupOf = (n) => (n.includes("/") ? n.split("/")[0] : "");
  const edges = [{ src: "a/x", dst: "b/y", weight: 2 }, { src: "a/z", dst: "b/y", weight: 3 }, { src: "out", dst: "a/x", weight: 1 }];
  assert.deepEqual(folded(edges, groupOf, new Set()).map((e) => [e.src, e.dst, e.weight, e.of.length]), [["a/", "b/", 5, 2], ["out", "a/", 1, 1]]);
  assert.deepEqual(folded(edges, groupOf, new Set(["b"])).map((e) => [e.src, e.dst]), [["a/", "b/y"], ["out", "a/"]]);
});
test("a byte belongs to the smallest field, and a mark divides a row", () => {
  const fields = [{ id: "0.0", start: 0, end: 20 }, { id: "0.1", start: 4, end: 6 }];
  assert.equal(fieldAt(fields, 5).id, "0.1");
  assert.equal(fieldAt(fields, 6).id, "0.0");
  assert.equal(fieldAt(fields, 20), null);
  assert.deepEqual(segments(16, 16, { id: "", start: 20, end: 40 }), [{ start: 16, end: 20, marked: false }, { start: 20, end: 32, marked: true }]);
  assert.deepEqual(segments(0, 16, null), [{ start: 0, end: 16, marked: false }]);
  assert.deepEqual(segments(16, 16, { id: "", start: 0, end: 8 }), [{ start: 16, end: 32, marked: false }]);
});
test("filters are saved, and strange contents of the store count as nothing", () => {
  const store = { v: null, getItem() { return this.v; }, setItem(_, v) { this.v = v; } };
  let s = used(used(used(read(store), "a"), "b"), "a");
  assert.deepEqual(s.recent, ["a", "b"]);
  s = toggled(s, "http");
  write(store, s);
  assert.deepEqual(read(store), s);
  assert.deepEqual(toggled(s, "http").saved, []);
  for (let i = 0; i < 100; i++) s = used(s, "f" + i);
  assert.equal(s.recent.length, 30);
  for (const bad of ["{", "null", "[]", '{"saved": {"a": 1}, "recent": [1, null, ""]}']) assert.deepEqual(read({ getItem: () => bad }), { saved: [], recent: [] }, bad);
  write({ setItem() { throw new Error("full"); } }, s);
});
test("times to compare do not overlap", () => {
  assert.deepEqual(before([50, 70], [0, 100]), [30, 49]);
  assert.deepEqual(before([10, 70], [0, 100]), [0, 9]);
  assert.equal(before([0, 70], [0, 100]), null);
  assert.deepEqual(halves([0, 100]), [[51, 100], [0, 50]]);
  assert.equal(span({ cases: [{}] }), null);
  assert.equal(span({ cases: null }), null);
});
