import { type ComponentChildren, Fragment, h } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Calls as Answer, Completions, Groups } from "../../api";
import { download, epoch, get, Problem } from "../../client";
import { bytes, clock, count, day, duration, plural, short, wording } from "../../format";
import { Bar, Failed, link, Load, Name, Nothing, type Props, quoted, Same, T, useAnswer, useLate } from "../../parts";
import { and, type State } from "../../state";

type Row = NonNullable<Answer["calls"]>[number];

const fields: [string, string][] = [["", "not grouped"], ["to", "to"], ["from", "from"], ["endpoint", "endpoint"], ["outcome", "outcome"], ["status_code", "status code"], ["protocol", "protocol"], ["method", "method"], ["host", "host"], ["namespace", "namespace"], ["user_agent", "user agent"]];
const orders: [string, string][] = [["", "oldest first"], ["newest", "newest first"], ["slowest", "slowest first"], ["fastest", "fastest first"], ["largest", "largest response first"]];

// Calls is the list of calls, or of groups of them.
export function Calls(p: Props) {
  const { state, go } = p;
  return (
    <div class="calls">
      <div class="tools">
        <By {...p} />
        {state.group ? null : <label>Order <select value={state.order} onChange={(e) => go({ order: e.currentTarget.value })}>{orders.map(([v, t]) => <option key={v} value={v}>{t}</option>)}</select></label>}
        <button type="button" aria-pressed={/(^|&& )failed$/.test(state.kfl)} onClick={() => go({ kfl: and(state.kfl, "failed") })}>Only failed</button>
        {state.group ? null : <Choice state={state} go={go} />}
      </div>
      {state.group ? <Grouped {...p} /> : <List key={`${state.kfl} ${state.time?.join()} ${state.order}`} {...p} />}
      <Same command={`pcapsule query BUNDLE ${quoted(state.kfl || "true")}${state.time ? ` --from ${new Date(state.time[0]).toISOString()} --to ${new Date(state.time[1]).toISOString()}` : ""}${state.group ? ` --group-by ${quoted(ends(state.group).replaceAll(".", "_"))}` : ""}`} />
    </div>
  );
}

// ends are the columns of short names.
const ends = wording({ to: "dst_name", from: "src_name", namespace: "dst_namespace" });

// By chooses what calls are grouped by: a usual field, or any that KFL has.
function By({ state, go }: Props) {
  const usual = fields.some(([v]) => v === state.group);
  const [other, setOther] = useState(!usual);
  const [names, setNames] = useState<string[]>([]);
  const complete = (text: string): void => {
    get<Completions>("/mcp/kfl/complete", { text }).then((a) => setNames((a.completions ?? []).filter((c) => c.kind === "field" || c.kind === "column").map((c) => c.text)), () => setNames([]));
  };
  return (
    <Fragment>
      <label>Group by <select value={other || !usual ? "?" : state.group} onChange={(e) => {
        const v = e.currentTarget.value;
        setOther(v === "?");
        if (v !== "?") go({ group: v });
      }}>{fields.map(([v, t]) => <option key={v} value={v}>{t}</option>)}<option value="?">another field …</option></select></label>
      {other || !usual ? (
        <label>Field <input value={usual ? "" : state.group} list="fields" spellcheck={false} autocomplete="off" placeholder="dst.port" onInput={(e) => complete(e.currentTarget.value)} onChange={(e) => go({ group: e.currentTarget.value.trim() })} />
          <datalist id="fields">{names.map((n) => <option key={n} value={n} />)}</datalist></label>
      ) : null}
    </Fragment>
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
              {v.groups.map((g, i) => (
                <tr key={i}>
                  <td>{g.kfl ? <button {...link(() => go({ group: "", kfl: and(state.kfl, g.kfl ?? "") }))}>{g.value ? <T>{g.value}</T> : "none"}</button> : <T>{g.value}</T>}</td>
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

type Column = { key: string; name: string; width: string; usual?: boolean; right?: boolean; cell: (r: Row) => ComponentChildren };

// columns are what rows can show. The slowest duration of the rows that are seen is the scale of the bars.
const columns = (slowest: number): Column[] => [
  { key: "day", name: "day", width: "88px", cell: (r) => day(r.ts) },
  { key: "time", name: "time", width: "var(--time)", usual: true, cell: (r) => clock(r.ts) },
  { key: "from", name: "from", width: "minmax(70px, 1fr)", usual: true, cell: (r) => <Name>{r.src.name ?? r.src.ip}</Name> },
  { key: "from_ip", name: "from address", width: "minmax(110px, 1fr)", cell: (r) => <T>{`${r.src.ip}${r.src.port ? ":" + r.src.port : ""}`}</T> },
  { key: "from_ns", name: "from namespace", width: "minmax(70px, 1fr)", cell: (r) => <T>{r.src.ns}</T> },
  { key: "to", name: "to", width: "minmax(70px, 1fr)", usual: true, cell: (r) => <Name>{r.dst.name ?? r.dst.ip}</Name> },
  { key: "to_ip", name: "to address", width: "minmax(110px, 1fr)", cell: (r) => <T>{`${r.dst.ip}${r.dst.port ? ":" + r.dst.port : ""}`}</T> },
  { key: "to_ns", name: "to namespace", width: "minmax(70px, 1fr)", cell: (r) => <T>{r.dst.ns}</T> },
  { key: "to_service", name: "to service", width: "minmax(70px, 1fr)", cell: (r) => <T>{r.dst.svc}</T> },
  { key: "protocol", name: "protocol", width: "78px", usual: true, cell: (r) => r.proto },
  { key: "method", name: "method", width: "78px", cell: (r) => <T>{r.method}</T> },
  { key: "path", name: "path", width: "minmax(100px, 2fr)", cell: (r) => <T>{r.path}</T> },
  { key: "what", name: "what", width: "minmax(140px, 2.4fr)", usual: true, cell: (r) => <T>{r.summary ?? `${r.method ?? ""} ${r.path ?? ""}`}</T> },
  { key: "status", name: "status", width: "56px", cell: (r) => r.status ?? "" },
  { key: "outcome", name: "outcome", width: "116px", usual: true, cell: (r) => <span>{r.failed ? "✕ " : ""}<T>{(r.error ?? [r.status, r.outcome].filter(Boolean).join(" ")).replaceAll("_", " ")}</T></span> },
  { key: "sent", name: "request", width: "72px", right: true, cell: (r) => bytes(r.req_size) },
  { key: "received", name: "response", width: "72px", right: true, cell: (r) => bytes(r.resp_size) },
  { key: "took", name: "duration", width: "124px", usual: true, right: true, cell: (r) => <span class="took"><Bar value={r.latency_ms ?? 0} of={slowest} bad={r.failed} />{duration(r.latency_ms)}</span> },
  { key: "packets", name: "packets", width: "minmax(90px, 1fr)", cell: (r) => <T>{r.packets}</T> },
  { key: "id", name: "call id", width: "100px", cell: (r) => r.id.slice(0, 12) },
];

// chosen are the columns of a state.
function chosen(state: State, slowest = 0): Column[] {
  const names = new Set(state.columns.split(","));
  const list = columns(slowest).filter((c) => names.has(c.key));
  return list.length ? list : columns(slowest).filter((c) => c.usual);
}

// Choice is a menu of columns.
function Choice({ state, go }: Props) {
  const on = chosen(state).map((c) => c.key);
  const usual = columns(0).filter((c) => c.usual).map((c) => c.key).join();
  const toggle = (key: string): void => {
    const next = columns(0).map((c) => c.key).filter((k) => on.includes(k) !== (k === key)).join();
    go({ columns: next === usual ? "" : next }, true);
  };
  return (
    <details class="menu">
      <summary>Columns</summary>
      <div role="group" aria-label="Columns">
        {columns(0).map((c) => <label key={c.key}><input type="checkbox" checked={on.includes(c.key)} onChange={() => toggle(c.key)} /> {c.name}</label>)}
        {state.columns ? <button type="button" onClick={() => go({ columns: "" }, true)}>The usual ones</button> : null}
      </div>
    </details>
  );
}

const page = 500; // rows of one request
const ahead = 1000; // rows that are there before they are seen
const kept = 40; // pages in memory; others are asked for again
const enough = 1_000_000; // rows, because the height of an element has a limit

// Part is one page of rows. Its rows may have been given up.
type Part = { start: number; size: number; cursor: string; rows: Row[] | null };

// List is a table of which only the visible rows are in the document.
function List({ state, go }: Props) {
  const [parts, setParts] = useState<Part[]>([]);
  const [rest, setRest] = useState<{ cursor: string; total: number; coverage: Answer["coverage"] } | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const [scroll, setScroll] = useState(0);
  const [mark, setMark] = useState(-1);
  const box = useRef<HTMLDivElement>(null);
  const alive = useRef(new AbortController());
  const [size, setSize] = useState({ tall: 24, height: 600 });
  const late = useLate(busy);
  const last = parts.at(-1);
  const known = last ? last.start + last.size : 0;
  const { tall, height } = size;
  const begin = Math.max(0, Math.floor(scroll / tall) - 20);
  const end = Math.min(known, Math.ceil((scroll + height) / tall) + 20);

  // fetch asks for part n; the one after the last makes the list longer.
  const fetch = (n: number, cursor: string): void => {
    if (busy) return;
    setBusy(true);
    setProblem(null);
    get<Answer>("/mcp/calls", { kfl: state.kfl, start: state.time?.[0], end: state.time?.[1], order: state.order, format: "list", limit: page, cursor }, alive.current.signal).then(
      (a) => {
        if (alive.current.signal.aborted) return;
        const rows = a.calls ?? [];
        setParts((list) => {
          if (!cursor) return [{ start: 0, size: rows.length, cursor, rows }];
          const start = list[n]?.start ?? list.reduce((s, p) => s + p.size, 0);
          const next = [...list.slice(0, n), { start, size: rows.length, cursor, rows }, ...list.slice(n + 1)];
          return next.map((p, i) => (p.rows && Math.abs(i - n) > kept / 2 ? { ...p, rows: null } : p));
        });
        if (n >= parts.length || !cursor) setRest({ cursor: a.next_cursor ?? "", total: a.total, coverage: a.coverage });
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
    fetch(0, "");
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
    fetch(0, "");
  }, [epoch()]);

  useEffect(() => {
    if (busy || problem || !rest) return;
    const gone = parts.findIndex((p) => !p.rows && p.start < end && p.start + p.size > begin);
    if (gone >= 0) fetch(gone, parts[gone]?.cursor ?? "");
    else if (rest.cursor && end > known - ahead && known < enough) fetch(parts.length, rest.cursor);
  }, [begin, end, parts, busy, problem]);

  const rowAt = (i: number): Row | undefined => {
    const p = parts.find((x) => i >= x.start && i < x.start + x.size);
    return p?.rows?.[i - p.start];
  };
  const to = (i: number): void => {
    const el = box.current;
    const next = Math.min(Math.max(i, 0), known - 1);
    setMark(next);
    if (!el) return;
    const top = next * tall;
    if (top < el.scrollTop) el.scrollTop = top;
    else if (top + 2 * tall > el.scrollTop + el.clientHeight) el.scrollTop = top + 2 * tall - el.clientHeight;
  };
  // A link to a call shows it in the list, too.
  useEffect(() => {
    const el = box.current;
    if (!el || !state.call || rowAt(mark)?.id === state.call) return;
    const p = parts.find((x) => x.rows?.some((r) => r.id === state.call));
    if (!p) return;
    const at = p.start + (p.rows?.findIndex((r) => r.id === state.call) ?? 0);
    setMark(at);
    if (at * tall < el.scrollTop || (at + 2) * tall > el.scrollTop + el.clientHeight) el.scrollTop = Math.max(0, at * tall - el.clientHeight / 2);
  }, [parts, state.call]);
  const act = useRef<(e: KeyboardEvent) => boolean>(() => false);
  act.current = (e) => {
    const marked = rowAt(mark);
    if (e.key === "j" || e.key === "ArrowDown") to(mark + 1);
    else if (e.key === "k" || e.key === "ArrowUp") to(mark - 1);
    else if (e.key === "g" || e.key === "Home") to(0);
    else if (e.key === "G" || e.key === "End") to(known - 1);
    else if (e.key === "PageDown") to(mark + Math.floor(height / tall) - 1);
    else if (e.key === "PageUp") to(mark - Math.floor(height / tall) + 1);
    else if (!marked) return false;
    else if (e.key === "Enter") go({ call: marked.id });
    else if (e.key === "f") go({ kfl: and(state.kfl, `dst.name == ${JSON.stringify(marked.dst.name ?? marked.dst.ip)}`) });
    else if (e.key === "F") go({ kfl: and(state.kfl, `dst.name != ${JSON.stringify(marked.dst.name ?? marked.dst.ip)}`) });
    else if (e.key === "w") download(`/mcp/calls/${marked.id}/pcap`, `call-${marked.id}.pcapng`).catch((x: unknown) => setProblem(x as Problem));
    else if (e.key === "y") void navigator.clipboard?.writeText(`call ${marked.id}, ${marked.packets}`).catch(() => undefined);
    else return false;
    return true;
  };
  useEffect(() => {
    const f = (e: KeyboardEvent): void => {
      const el = e.target as HTMLElement;
      if (e.ctrlKey || e.metaKey || e.altKey || el.closest("input, textarea, select, .strip, aside")) return;
      if (e.key === "Enter" && el.closest("button, a, summary")) return;
      if (act.current(e)) e.preventDefault();
    };
    addEventListener("keydown", f);
    return () => removeEventListener("keydown", f);
  }, []);

  if (!rest) return problem ? <Trouble problem={problem} retry={() => fetch(0, "")} /> : late ? <p class="busy" role="status">Reading calls …</p> : <p />;
  if (!known) return <Nothing what="No call matches." coverage={rest.coverage} />;
  const seen = Array.from({ length: Math.max(0, end - begin) }, (_, i) => rowAt(begin + i));
  const list = chosen(state, Math.max(...seen.map((r) => r?.latency_ms ?? 0), 0.001));
  const template = state.columns ? { gridTemplateColumns: list.map((c) => c.width).join(" ") } : {};
  return (
    <div class={state.columns ? "grid custom" : "grid"} role="table" aria-label="Calls" aria-rowcount={rest.total}>
      <div class="head" role="row" style={template}>{list.map((c) => <span key={c.key} role="columnheader" class={c.right ? "n" : ""}>{c.name}</span>)}</div>
      <div class="rows" ref={box} tabIndex={0} role="rowgroup" aria-label={`${plural(rest.total, "call")}; j and k move, Enter opens`} onScroll={(e) => setScroll(e.currentTarget.scrollTop)}>
        <Spacer height={begin * tall} />
        {seen.map((r, i) => {
          const at = begin + i;
          if (!r) return <div key={at} class="row missing" role="row" aria-rowindex={at + 2}><span role="cell">…</span></div>;
          return (
            <div key={r.id} role="row" aria-rowindex={at + 2} style={template} class={`row${r.failed ? " bad" : ""}${at === mark ? " mark" : ""}${r.id === state.call ? " open" : ""}`} onClick={() => {
              setMark(at);
              go({ call: r.id });
            }}>
              {list.map((c) => <span key={c.key} role="cell" class={c.right ? `${c.key} n` : c.key}>{c.cell(r)}</span>)}
            </div>
          );
        })}
        <Spacer height={(known - end) * tall} />
        {problem ? <Trouble problem={problem} retry={() => setProblem(null)} /> : null}
        {late ? <p class="busy" role="status">Reading more calls …</p> : null}
        {known >= enough && rest.cursor ? <p>{count(known)} of {plural(rest.total, "call")} are shown: select a time or add to the filter for the others.</p> : null}
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
