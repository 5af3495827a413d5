import { h } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Buckets, Marks } from "./api";
import { get } from "./client";
import { clock, count, day, duration, plural, visible } from "./format";
import { Load, type Props, useAnswer } from "./parts";
import { type Range, zoomed } from "./state";

const height = 64;

// Strip is the time axis of every view: calls and failures, coverage gaps, the selected time.
export function Strip({ state, go, all, counted }: Props & { all: Range; counted?: (b: Buckets | undefined | null) => void }) {
  const z = state.zoom;
  const a = useAnswer(`${state.kfl} ${z?.join()}`, (signal) => get<Buckets>("/mcp/calls/buckets", { kfl: state.kfl, start: z ? Math.floor(z[0]) : undefined, end: z ? Math.ceil(z[1]) : undefined, steps: 150 }, signal));
  useEffect(() => counted?.(a.problem ? null : a.value), [a.value, a.problem]);
  const m = useAnswer(`marks ${z?.join()}`, (signal) => get<Marks>("/mcp/marks", { start: z ? Math.floor(z[0]) : undefined, end: z ? Math.ceil(z[1]) : undefined, limit: 300 }, signal));
  return (
    <section class="strip" aria-label="Calls over time">
      <Load of={a} what="Counting calls over time">{(b) => <Chart buckets={b} marks={m.value?.marks ?? []} state={state} go={go} all={all} />}</Load>
    </section>
  );
}

type Mark = NonNullable<Marks["marks"]>[number];

function Chart({ buckets, marks, state, go, all }: Props & { buckets: Buckets; marks: Mark[]; all: Range }) {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(800);
  const [drag, setDrag] = useState<Range | null>(null);
  const [hover, setHover] = useState<number | null>(null);
  useEffect(() => {
    const el = box.current;
    if (!el) return;
    const o = new ResizeObserver(() => setWidth(Math.max(200, el.clientWidth)));
    o.observe(el);
    return () => o.disconnect();
  }, []);
  const from = buckets.from_ms;
  const span = Math.max(buckets.to_ms - from, 0.001);
  const x = (ms: number): number => ((ms - from) / span) * width;
  const at = (e: MouseEvent): number => {
    const r = (box.current as HTMLDivElement).getBoundingClientRect();
    return from + Math.min(1, Math.max(0, (e.clientX - r.left) / r.width)) * span;
  };
  const list = buckets.buckets ?? [];
  const top = Math.max(1, ...list.map((b) => b.calls));
  const slowest = Math.max(0, ...list.map((b) => b.p99_ms ?? 0));
  const selected = drag ?? state.time;
  const gaps = buckets.gaps ?? [];
  const lost = gaps.reduce((n, g) => n + (g.packets ?? 0), 0);
  const bad = marks.filter((k) => k.failed).length;
  const near = hover === null ? undefined : marks.find((k) => Math.abs(x(k.at_ms) - x(hover)) < 3);
  const under = hover === null ? undefined : list.find((b) => b.no === Math.floor((hover - from) / buckets.length_ms));

  const down = (e: PointerEvent): void => {
    if (e.button !== 0) return;
    const begin = at(e);
    const el = e.currentTarget as HTMLElement;
    el.setPointerCapture(e.pointerId);
    const range = (ev: PointerEvent): Range => {
      const end = at(ev);
      return [Math.floor(Math.min(begin, end)), Math.ceil(Math.max(begin, end))];
    };
    let moved = false;
    const move = (ev: PointerEvent): void => {
      moved ||= Math.abs(ev.clientX - e.clientX) > 3;
      if (moved) setDrag(range(ev));
    };
    const up = (ev: PointerEvent): void => {
      el.removeEventListener("pointermove", move);
      el.removeEventListener("pointerup", up);
      el.removeEventListener("pointercancel", up);
      setDrag(null);
      if (moved && ev.type === "pointerup") go({ time: range(ev) });
    };
    el.addEventListener("pointermove", move);
    el.addEventListener("pointerup", up);
    el.addEventListener("pointercancel", up);
  };
  const wheel = (e: WheelEvent): void => {
    if (!e.deltaY || e.ctrlKey) return;
    e.preventDefault();
    go({ zoom: zoomed([from, buckets.to_ms], at(e), e.deltaY < 0 ? 0.7 : 1 / 0.7, all) }, true);
  };
  const step = (direction: number): void => {
    const r = state.time ?? [from, from + span / 10];
    const by = direction * Math.max(1, Math.ceil((r[1] - r[0]) / 2));
    const to = Math.min(Math.max(r[0] + by, Math.floor(all[0])), Math.ceil(all[1]) - (r[1] - r[0]));
    go({ time: [Math.floor(to), Math.ceil(to + r[1] - r[0])] }, true);
  };
  const key = (e: KeyboardEvent): void => {
    const middle = state.time ? (state.time[0] + state.time[1]) / 2 : from + span / 2;
    if (e.key === "ArrowLeft") step(-1);
    else if (e.key === "ArrowRight") step(1);
    else if (e.key === "+") go({ zoom: zoomed([from, buckets.to_ms], middle, 0.7, all) }, true);
    else if (e.key === "-") go({ zoom: zoomed([from, buckets.to_ms], middle, 1 / 0.7, all) }, true);
    else return;
    e.preventDefault();
    e.stopPropagation();
  };
  // A listener of its own, because a wheel that is passive cannot keep the page from scrolling.
  const onWheel = useRef(wheel);
  onWheel.current = wheel;
  useEffect(() => {
    const el = box.current;
    const f = (e: WheelEvent): void => onWheel.current(e);
    el?.addEventListener("wheel", f, { passive: false });
    return () => el?.removeEventListener("wheel", f);
  }, []);

  const ticks = ticksOf(from, buckets.to_ms, Math.max(2, Math.floor(width / 160)));
  const days = (ticks[1] ?? 0) - (ticks[0] ?? 0) >= 864e5;
  const wide = Math.max(1, (buckets.length_ms / span) * width - 1);
  const left = (no: number): number => x(from + no * buckets.length_ms);
  const level = (ms: number): number => height - 2 - (ms / slowest) * (height - 12);
  const what = `${plural(buckets.calls, "call")}, ${count(buckets.failed)} failed, ${clock(from)} to ${clock(buckets.to_ms)} UTC`;
  return (
    <div>
      <div class="chart" ref={box} tabIndex={0} role="group" aria-label={`${what}. Arrow keys move the selected time, plus and minus zoom.`} onPointerDown={down} onDblClick={() => go({ time: null, zoom: null })}
        onPointerMove={(e) => setHover(at(e))} onPointerLeave={() => setHover(null)} onKeyDown={key}>
        <svg width={width} height={height + 18} viewBox={`0 0 ${width} ${height + 18}`} aria-hidden="true">
          <defs>
            <pattern id="gap" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="hatch" width="2" height="6" /></pattern>
          </defs>
          {gaps.map((g) => <rect class="gap" x={x(g.from_ms)} width={Math.max(2, x(g.to_ms) - x(g.from_ms))} y="0" height={height} fill="url(#gap)"><title>{g.reason}</title></rect>)}
          {gaps.filter((g) => g.packets).map((g) => <path class="lost" d={triangle(Math.min(width - 5, Math.max(5, (x(g.from_ms) + x(g.to_ms)) / 2)), height, -1)}><title>{plural(g.packets ?? 0, "packet")} lost</title></path>)}
          {list.map((b) => {
            const tall = Math.max(2, (b.calls / top) * (height - 10));
            const bad = b.failed ? Math.max(2, (b.failed / top) * (height - 10)) : 0;
            const at = left(b.no);
            return (
              <g key={b.no}>
                <rect class="calls" x={at} width={wide} y={height - tall} height={tall} />
                {bad ? <rect class="bad" x={at} width={wide} y={height - bad} height={bad} /> : null}
                {bad ? <circle class="bad" cx={at + wide / 2} cy={height - tall - 4} r="2" /> : null}
              </g>
            );
          })}
          {slowest ? <path class="p99" d={list.filter((b) => b.p99_ms !== null && b.p99_ms !== undefined).map((b) => `M${left(b.no)},${level(b.p99_ms ?? 0)} h${wide}`).join("")} /> : null}
          <line class="axis" x1="0" x2={width} y1={height} y2={height} />
          {ticks.map((t) => <g key={t}><line class="axis" x1={x(t)} x2={x(t)} y1={height} y2={height + 4} /><text x={Math.min(Math.max(x(t), 68), width - 68)} y={height + 15} text-anchor="middle">{days ? day(t) : clock(t, span < 10_000 ? 3 : 0)}</text></g>)}
          {marks.map((k, i) => k.at_ms < from || k.at_ms > buckets.to_ms ? null : <path key={i} class={k.failed ? "mark bad" : "mark"} d={triangle(Math.min(width - 4, Math.max(4, x(k.at_ms))), 0, 1)}><title>{visible(worded(k))}</title></path>)}
          {state.base ? <rect class="base" x={Math.max(0, x(state.base[0]))} width={Math.max(2, Math.min(width, x(state.base[1])) - Math.max(0, x(state.base[0])))} y="1" height={height - 2} /> : null}
          {selected ? <rect class="selection" x={Math.max(0, x(selected[0]))} width={Math.max(2, Math.min(width, x(selected[1])) - Math.max(0, x(selected[0])))} y="0" height={height} /> : null}
        </svg>
      </div>
      <div class="legend">
        <span>{day(from)}{day(from) === day(buckets.to_ms) ? "" : ` to ${day(buckets.to_ms)}`} UTC</span>
        <span><i class="key calls" />calls</span>
        <span><i class="key bad" />● failed</span>
        {slowest ? <span><i class="key p99" />p99, up to {duration(slowest)}</span> : null}
        {gaps.length ? <span><i class="key gap" />{plural(gaps.length, "gap")}: {[...new Set(gaps.map((g) => g.reason.replaceAll("_", " ")))].join(", ")}</span> : null}
        {lost ? <span class="failed">▴ {plural(lost, "packet")} lost</span> : null}
        {marks.length ? <button type="button" class="link" onClick={() => go({ view: "evidence" })}>▾ {plural(marks.length, "event")}{bad ? `, ${count(bad)} abnormal` : ""}</button> : null}
        {state.base ? <span><i class="key base" />baseline</span> : null}
        <span class="under">
          {near ? visible(worded(near)) : under && hover !== null ? `${clock(from + under.no * buckets.length_ms)}: ${plural(under.calls, "call")}, ${count(under.failed)} failed${under.p50_ms === null ? "" : `, median ${duration(under.p50_ms)}, p99 ${duration(under.p99_ms)}`}`
            : selected ? `selected ${clock(selected[0])} to ${clock(selected[1])} (${duration(selected[1] - selected[0])})` : "drag to select, scroll to zoom"}
        </span>
        {state.time || state.zoom ? <button type="button" onClick={() => go({ time: null, zoom: null })}>Show all time</button> : null}
        {state.time ? <button type="button" onClick={() => go({ base: state.time, time: null, view: "compare" })}>Compare with it</button> : null}
        {state.time && !state.zoom ? <button type="button" onClick={() => go({ zoom: state.time })}>Zoom in</button> : null}
      </div>
    </div>
  );
}

// worded says what an event was.
export function worded(k: Mark): string {
  return [`${clock(k.at_ms)} ${k.event.replaceAll("_", " ")}`, k.of, k.what, k.times > 1 ? `${count(k.times)} times` : ""].filter(Boolean).join(", ");
}

// triangle is a mark at a place; down is 1 if it points down.
function triangle(at: number, y: number, down: number): string {
  return `M${at - 4},${y} L${at + 4},${y} L${at},${y + 7 * down} Z`;
}

const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5, 108e5, 216e5, 432e5, 864e5];

// ticksOf returns round times, at most most of them.
export function ticksOf(from: number, to: number, most: number): number[] {
  const step = steps.find((s) => (to - from) / s <= most) ?? 864e5 * Math.ceil((to - from) / 864e5 / most);
  const out: number[] = [];
  for (let t = Math.ceil(from / step) * step; t <= to; t += step) out.push(t);
  return out;
}
