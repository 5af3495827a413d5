// @ts-nocheck: Node's modules have no types here.
import assert from "node:assert/strict";
import { test } from "node:test";
import { bytes, clock, duration, percent, plural, pretty, visible } from "./format";
import { and, format, initial, parse, zoomed } from "./state";
import { layout } from "./views/map/layout";

test("an address brings a state back", () => {
  const s = { ...initial, view: "calls", kfl: 'a == "ü&=#" && b', time: [1, 2], zoom: [1795166688891, 1795166692512], call: "ab12", group: "to", order: "slowest", sql: "select 1\nfrom x", bundle: "abc" };
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
test("zoom stays within the recording", () => {
  assert.deepEqual(zoomed([0, 100], 50, 0.5, [0, 100]), [25, 75]);
  assert.equal(zoomed([25, 75], 50, 4, [0, 100]), null);
  assert.deepEqual(zoomed([0, 1], 0.5, 0.5, [0, 100]), [0, 1]);
});
test("numbers have units", () => {
  assert.deepEqual([0.0456, 0.9, 3.256, 501.4, 1664.7, 240_000, null, undefined].map(duration), ["45.6 µs", "900 µs", "3.26 ms", "501 ms", "1.66 s", "4 min", "", ""]);
  assert.deepEqual([0, 999, 1500, 2e6, 3.14e9].map(bytes), ["0 B", "999 B", "1.5 kB", "2 MB", "3.14 GB"]);
  assert.equal(plural(1, "call"), "1 call");
  assert.equal(plural(1234, "call"), "1,234 calls");
  assert.equal(percent(1, 0), "");
  assert.equal(clock(1795166688891, 0), "09:24:48");
  assert.equal(clock(1795166688891), "09:24:48.891");
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
