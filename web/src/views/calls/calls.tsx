import { h } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Calls as Answer, Groups } from "../../api";
import { download, epoch, get, Problem } from "../../client";
import { clock, count, duration, plural, short } from "../../format";
import { Bar, Failed, link, Load, Nothing, type Props, quoted, Same, T, useAnswer, useLate } from "../../parts";
import { and } from "../../state";

type Row = NonNullable<Answer["calls"]>[number];

const fields: [string, string][] = [["", "not grouped"], ["to", "to"], ["from", "from"], ["endpoint", "endpoint"], ["outcome", "outcome"], ["status_code", "status code"], ["protocol", "protocol"], ["method", "method"], ["host", "host"], ["namespace", "namespace"], ["user_agent", "user agent"]];
const orders: [string, string][] = [["", "oldest first"], ["newest", "newest first"], ["slowest", "slowest first"], ["fastest", "fastest first"], ["largest", "largest response first"]];

// Calls is the list of calls, or of groups of them.
export function Calls(p: Props) {
  const { state, go } = p;
  return (
    <div class="calls">
      <div class="tools">
        <label>Group by <select value={state.group} onChange={(e) => go({ group: e.currentTarget.value })}>{fields.map(([v, t]) => <option key={v} value={v}>{t}</option>)}</select></label>
        {state.group ? null : <label>Order <select value={state.order} onChange={(e) => go({ order: e.currentTarget.value })}>{orders.map(([v, t]) => <option key={v} value={v}>{t}</option>)}</select></label>}
        <button type="button" aria-pressed={/(^|&& )failed$/.test(state.kfl)} onClick={() => go({ kfl: and(state.kfl, "failed") })}>Only failed</button>
      </div>
      {state.group ? <Grouped {...p} /> : <List key={`${state.kfl} ${state.time?.join()} ${state.order}`} {...p} />}
      <Same command={`pcapsule query BUNDLE ${quoted(state.kfl || "true")}${state.time ? ` --from ${new Date(state.time[0]).toISOString()} --to ${new Date(state.time[1]).toISOString()}` : ""}`} />
    </div>
  );
}

function Grouped({ state, go }: Props) {
  const a = useAnswer(`${state.kfl} ${state.time?.join()} ${state.group}`, (signal) =>
    get<Groups>("/mcp/calls/groups", { kfl: state.kfl, start: state.time?.[0], end: state.time?.[1], by: state.group, limit: 500 }, signal));
  return (
    <Load of={a} what="Grouping calls">
      {(v) => !v.groups?.length ? <Nothing what="No call matches." coverage={v.coverage} /> : (
        <div class="scroll" tabIndex={0} role="region" aria-label="Groups">
          <table>
            <thead><tr><th>{state.group.replaceAll("_", " ")}</th><th class="n">calls</th><th class="share"><span class="unseen">share</span></th><th class="n">failed</th><th class="n">median</th><th class="n">p99</th><th>first</th><th>last</th></tr></thead>
            <tbody>
              {v.groups.map((g) => (
                <tr key={g.value}>
                  <td><button {...link(() => go({ group: "", kfl: and(state.kfl, g.kfl ?? "") }))}>{g.value ? <T>{g.value}</T> : "none"}</button></td>
                  <td class="n">{count(g.calls)}</td><td class="share"><Bar value={g.calls} of={v.groups?.[0]?.calls ?? 1} /></td><td class="n"><Failed failed={g.failed} calls={g.calls} /></td>
                  <td class="n">{duration(g.p50_ms)}</td><td class="n">{duration(g.p99_ms)}</td><td>{short(g.first)}</td><td>{short(g.last)}</td>
                </tr>
              ))}
            </tbody>
          </table>
          {v.truncated ? <p>These are the 500 largest groups; a filter shows others.</p> : null}
        </div>
      )}
    </Load>
  );
}

const page = 500; // rows of one request
const enough = 20_000; // rows kept in memory

// List is a table of which only the visible rows are in the document.
function List({ state, go }: Props) {
  const [rows, setRows] = useState<Row[]>([]);
  const [rest, setRest] = useState<{ cursor: string; total: number; coverage: Answer["coverage"] } | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const [scroll, setScroll] = useState(0);
  const [mark, setMark] = useState(-1);
  const box = useRef<HTMLDivElement>(null);
  const alive = useRef(new AbortController());
  const [size, setSize] = useState({ tall: 24, height: 600 });
  const late = useLate(busy);

  const more = (cursor: string): void => {
    if (busy) return;
    setBusy(true);
    setProblem(null);
    get<Answer>("/mcp/calls", { kfl: state.kfl, start: state.time?.[0], end: state.time?.[1], order: state.order, format: "full", limit: page, cursor }, alive.current.signal).then(
      (a) => {
        if (alive.current.signal.aborted) return;
        setRows((r) => (cursor ? [...r, ...(a.calls ?? [])] : (a.calls ?? [])));
        setRest({ cursor: a.next_cursor ?? "", total: a.total, coverage: a.coverage });
        setBusy(false);
      },
      (e: unknown) => {
        if (alive.current.signal.aborted) return;
        setProblem(e instanceof Problem ? e : new Problem(0, String(e)));
        setBusy(false);
      },
    );
  };
  useEffect(() => {
    alive.current = new AbortController();
    more("");
    return () => alive.current.abort();
  }, []);
  useEffect(() => {
    const el = box.current;
    if (!el) return;
    const o = new ResizeObserver(() => setSize({ tall: parseFloat(getComputedStyle(el).getPropertyValue("--row")) || 24, height: el.clientHeight }));
    o.observe(el);
    return () => o.disconnect();
  }, [rest === null]);

  // Live data is read again while nobody has scrolled.
  const began = useRef(epoch());
  useEffect(() => {
    if (began.current === epoch() || (box.current?.scrollTop ?? 0) > 0) return;
    began.current = epoch();
    more("");
  }, [epoch()]);

  const { tall, height } = size;
  const begin = Math.max(0, Math.floor(scroll / tall) - 20);
  const end = Math.min(rows.length, Math.ceil((scroll + height) / tall) + 20);
  useEffect(() => {
    if (rest?.cursor && !busy && !problem && end > rows.length - 150 && rows.length < enough) more(rest.cursor);
  }, [end, rows.length, rest]);

  const to = (i: number): void => {
    const el = box.current;
    const next = Math.min(Math.max(i, 0), rows.length - 1);
    setMark(next);
    if (!el) return;
    const top = next * tall;
    if (top < el.scrollTop) el.scrollTop = top;
    else if (top + 2 * tall > el.scrollTop + el.clientHeight) el.scrollTop = top + 2 * tall - el.clientHeight;
  };
  const act = useRef<(e: KeyboardEvent) => boolean>(() => false);
  act.current = (e) => {
    const marked = rows[mark];
    if (e.key === "j" || e.key === "ArrowDown") to(mark + 1);
    else if (e.key === "k" || e.key === "ArrowUp") to(mark - 1);
    else if (e.key === "g" || e.key === "Home") to(0);
    else if (e.key === "G" || e.key === "End") to(rows.length - 1);
    else if (e.key === "PageDown") to(mark + Math.floor(height / tall) - 1);
    else if (e.key === "PageUp") to(mark - Math.floor(height / tall) + 1);
    else if (!marked) return false;
    else if (e.key === "Enter") go({ call: marked.id });
    else if (e.key === "f") go({ kfl: and(state.kfl, `dst.name == ${JSON.stringify(marked.dst.name ?? marked.dst.ip)}`) });
    else if (e.key === "F") go({ kfl: and(state.kfl, `dst.name != ${JSON.stringify(marked.dst.name ?? marked.dst.ip)}`) });
    else if (e.key === "w") download(`/mcp/calls/${marked.id}/pcap`, `call-${marked.id}.pcapng`).catch((x: unknown) => setProblem(x as Problem));
    else return false;
    return true;
  };
  useEffect(() => {
    const f = (e: KeyboardEvent): void => {
      const el = e.target as HTMLElement;
      if (e.ctrlKey || e.metaKey || e.altKey || el.closest("input, textarea, select, .strip, aside")) return;
      if (e.key === "Enter" && el.closest("button, a")) return;
      if (act.current(e)) e.preventDefault();
    };
    addEventListener("keydown", f);
    return () => removeEventListener("keydown", f);
  }, []);

  const slowest = Math.max(...rows.slice(begin, end).map((r) => r.latency_ms ?? 0), 0.001);
  if (!rest) return problem ? <Trouble problem={problem} retry={() => more("")} /> : late ? <p class="busy" role="status">Reading calls …</p> : <p />;
  if (!rows.length) return <Nothing what="No call matches." coverage={rest.coverage} />;
  return (
    <div class="grid" role="table" aria-label="Calls" aria-rowcount={rest.total}>
      <div class="head" role="row"><span role="columnheader">time</span><span role="columnheader">from</span><span role="columnheader">to</span><span role="columnheader">protocol</span><span role="columnheader">what</span><span role="columnheader">outcome</span><span role="columnheader" class="n">duration</span></div>
      <div class="rows" ref={box} tabIndex={0} role="rowgroup" aria-label={`${plural(rest.total, "call")}; j and k move, Enter opens`} onScroll={(e) => setScroll(e.currentTarget.scrollTop)}>
        <Spacer height={begin * tall} />
        {rows.slice(begin, end).map((r, i) => {
          const at = begin + i;
          const chosen = r.id === state.call;
          return (
            <div key={r.id} role="row" aria-rowindex={at + 2} class={`row${r.failed ? " bad" : ""}${at === mark ? " mark" : ""}${chosen ? " open" : ""}`} onClick={() => {
              setMark(at);
              go({ call: r.id });
            }}>
              <span role="cell" class="time">{clock(r.ts)}</span>
              <span role="cell" class="from"><T>{r.src.name ?? r.src.ip}</T></span>
              <span role="cell" class="to"><T>{r.dst.name ?? r.dst.ip}</T></span>
              <span role="cell" class="protocol">{r.proto}</span>
              <span role="cell" class="what"><T>{r.summary ?? `${r.method ?? ""} ${r.path ?? ""}`}</T></span>
              <span role="cell" class="outcome">{r.failed ? "✕ " : ""}<T>{(r.error ?? [r.status, r.outcome].filter(Boolean).join(" ")).replaceAll("_", " ")}</T></span>
              <span role="cell" class="took"><Bar value={r.latency_ms ?? 0} of={slowest} bad={r.failed} />{duration(r.latency_ms)}</span>
            </div>
          );
        })}
        <Spacer height={(rows.length - end) * tall} />
        {problem ? <Trouble problem={problem} retry={() => more(rest.cursor)} /> : null}
        {late ? <p class="busy" role="status">Reading more calls …</p> : null}
        {rows.length >= enough && rest.cursor ? <p>{count(rows.length)} of {plural(rest.total, "call")} are shown: select a time or add to the filter for the others.</p> : null}
      </div>
    </div>
  );
}

function Spacer({ height }: { height: number }) {
  return <div role="presentation" style={{ height: `${height}px` }} />;
}

function Trouble({ problem, retry }: { problem: Problem; retry: () => void }) {
  return <div class="problem" role="alert"><pre>{problem.message}</pre><button type="button" onClick={retry}>Retry</button></div>;
}
