import { Fragment, h, render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Buckets, Cases } from "./api";
import { about, adopt, authorize, get, Problem, refused, renew } from "./client";
import { Filter } from "./filter";
import { count, plural } from "./format";
import { Load, type Props, T, useAnswer, useDates } from "./parts";
import { boundaries, Live } from "./live";
import { format, parse, span, type State, type View, views } from "./state";
import { Strip } from "./strip";
import { Call } from "./views/call/call";
import { Calls } from "./views/calls/calls";
import { Compare } from "./views/compare/compare";
import { Connections } from "./views/connections/connections";
import { Evidence } from "./views/evidence/evidence";
import { Findings } from "./views/findings/findings";
import { Map as ServiceMap } from "./views/map/map";
import { Objects } from "./views/objects/objects";
import { Reports } from "./views/reports/reports";
import { Sql } from "./views/sql/sql";
import { Summary } from "./views/summary/summary";

const names: Record<View, string> = { summary: "Summary", calls: "Calls", map: "Map", connections: "Connections", findings: "Findings", objects: "Objects", compare: "Compare", evidence: "Evidence", reports: "Reports", sql: "SQL" };
const components: Record<View, (p: Props) => h.JSX.Element> = { summary: Summary, calls: Calls, map: ServiceMap, connections: (p) => <Connections {...p} served />, findings: Findings, objects: Objects, compare: Compare, evidence: (p) => <Evidence {...p} served />, reports: Reports, sql: Sql };

function Page() {
  const [state, set] = useState<State>(() => parse(location.hash));
  const [help, showHelp] = useState(false);
  const [locked, lock] = useState(false);
  const [, draw] = useState(0);
  const now = useRef(state);
  now.current = state;
  about(state.db);
  const again = (): void => {
    renew();
    draw((n) => n + 1);
  };
  const go = (change: Partial<State>, replace = false): void => {
    const next = { ...parse(location.hash), ...change }; // the address may have changed since the page was drawn
    now.current = next;
    if (replace) history.replaceState(null, "", format(next));
    else history.pushState(null, "", format(next));
    set(next);
  };
  useEffect(() => {
    const f = (): void => set(parse(location.hash));
    addEventListener("popstate", f);
    return () => removeEventListener("popstate", f);
  }, []);
  useEffect(() => {
    const f = (e: KeyboardEvent): void => {
      const el = e.target as HTMLElement;
      if (e.ctrlKey || e.metaKey || e.altKey || el.closest("input, textarea, select")) return;
      const view = /^\d$/.test(e.key) ? views[(Number(e.key) + 9) % 10] : undefined;
      if (view) go({ view });
      else if (e.key === "b" && now.current.time) go({ base: now.current.time, time: null, view: "compare" });
      else if (e.key === "/") document.getElementById("kfl")?.focus();
      else if (e.key === "?") showHelp((x) => !x);
      else if (e.key === "Escape" && now.current.call) go({ call: "", packet: "" });
      else if (e.key === "Escape" && now.current.node) go({ node: "" });
      else if (e.key === "Escape") showHelp(false);
      else return;
      e.preventDefault();
    };
    addEventListener("keydown", f);
    return () => removeEventListener("keydown", f);
  }, []);
  useEffect(() => {
    const f = (): void => lock(true);
    addEventListener(refused, f);
    return () => removeEventListener(refused, f);
  }, []);
  const cases = useAnswer("cases", async (signal) => {
    try {
      return await get<Cases>("/mcp/cases", {}, signal);
    } catch (e) {
      // A ring without a dissection has live data only.
      if (!(e instanceof Problem) || e.status !== 409 || state.db || !(await boundaries(signal)).live) throw e;
      const found = await get<Cases>("/mcp/cases", { db: "live:2m" }, signal);
      go({ db: "live:2m", order: now.current.order || "newest", bundle: "" }, true);
      return found;
    }
  });
  const last = useRef<Cases | undefined>(undefined);
  if (cases.value) last.current = cases.value;
  // The server may have been started again with other bundles while nobody looked.
  useEffect(() => {
    const f = (): void => {
      if (document.visibilityState === "visible") cases.retry();
    };
    document.addEventListener("visibilitychange", f);
    addEventListener("online", f);
    return () => {
      document.removeEventListener("visibilitychange", f);
      removeEventListener("online", f);
    };
  }, []);
  const door = locked ? <Door open={last.current !== undefined} retry={() => {
    lock(false);
    again();
  }} /> : null;
  if (!last.current) return door ?? <main><Load of={cases} what="Opening">{() => null}</Load>{cases.problem?.status === 409 ? <Live state={state} go={go} again={again} /> : null}</main>;
  return <Fragment>{door}{cases.problem && !locked ? <Load of={cases} what="">{() => null}</Load> : null}<Frame cases={last.current} state={state} go={go} help={help} showHelp={showHelp} again={again} /></Fragment>;
}

function Frame({ cases, state, go, help, showHelp, again }: Props & { cases: Cases; help: boolean; showHelp: (x: boolean) => void; again: () => void }) {
  const id = cases.cases?.[0]?.inputs?.[0]?.sha256.slice(0, 12) ?? "";
  const all = span(cases);
  useDates(all);
  // Without a selected time and a zoom, the time strip counts the same calls.
  const [shown, setShown] = useState<Buckets | undefined | null>(undefined);
  const own = state.time !== null || state.zoom !== null || !all;
  const one = useAnswer(`${own} ${state.kfl} ${state.time?.join()}`, (signal) =>
    own ? get<Buckets>("/mcp/calls/buckets", { kfl: state.kfl, start: state.time?.[0], end: state.time?.[1], steps: 1 }, signal) : Promise.resolve(undefined));
  const total = own ? (one.problem ? null : one.value) : shown;
  const calls = (cases.cases ?? []).reduce((n, c) => n + Object.values(c.calls as Record<string, number>).reduce((a, b) => a + b, 0), 0);
  const known = useRef(id);
  const was = state.bundle || known.current;
  useEffect(() => {
    if (!state.bundle && id && id === known.current && !state.db) go({ bundle: id }, true);
  }, [id, state.bundle, state.db]);
  const Shown = components[state.view];
  return (
    <Fragment>
      <a class="skip" href="#main" onClick={(e) => {
        e.preventDefault();
        document.getElementById("main")?.focus();
      }}>Skip to the view</a>
      <header>
        <h1>{state.db.startsWith("live") ? "Live" : state.db ? <T>{state.db.split("/")[0]}</T> : (cases.cases ?? []).map((c) => <T key={c.path}>{c.path.split("/").pop()}</T>)}</h1>
        <Trust cases={cases} go={go} />
        <button type="button" aria-expanded={help} onClick={() => showHelp(!help)}>? Keys</button>
      </header>
      {was && id && !state.db && was !== id ? <p class="warning" role="alert">This address is about another bundle (its first input begins with {was.slice(0, 12)}), so it may show something else. <button {...link0(() => {
        known.current = id;
        go({ bundle: id });
        again();
      })}>Use this bundle</button></p> : null}
      {help ? <Help close={() => showHelp(false)} /> : null}
      <Filter state={state} go={go} found={total ? `${count(total.calls)} of ${plural(calls, "call")}` : total === null ? "not applied" : ""} />
      {one.problem?.status === 400 ? <pre class="problem" role="alert">{one.problem.message}</pre> : null}
      <Live state={state} go={go} again={again} />
      {all ? <Strip state={state} go={go} all={all} counted={setShown} /> : null}
      <div class="body">
        <nav aria-label="Views">
          {views.map((v, i) => <button key={v} type="button" aria-current={v === state.view ? "page" : undefined} onClick={() => go({ view: v })}><kbd>{(i + 1) % 10}</kbd> {names[v]}</button>)}
        </nav>
        <main id="main" tabIndex={-1} aria-label={names[state.view]}><Shown state={state} go={go} counts={total} /></main>
        {state.call ? <Call key={state.call} state={state} go={go} /> : null}
      </div>
      <p class="printed">{location.origin + location.pathname + format(state)}<br />{(cases.cases ?? []).flatMap((c) => (c.inputs ?? []).map((i) => <span key={i.sha256 + i.name}><T>{i.name}</T>, SHA-256 {i.sha256}<br /></span>))}</p>
    </Fragment>
  );
}

function link0(f: () => void) {
  return { type: "button" as const, onClick: f };
}

function Trust({ cases, go }: { cases: Cases; go: Props["go"] }) {
  const list = cases.cases ?? [];
  const broken = list.some((c) => c.verified === "broken");
  const verified = list.length > 0 && list.every((c) => c.verified === "verified");
  const text = broken ? "✕ files do not match their hashes" : verified ? "✓ verified" : "not verified here";
  return <button type="button" class={broken ? "trust broken" : "trust"} onClick={() => go({ view: "evidence" })}>{text}</button>;
}

function Help({ close }: { close: () => void }) {
  const keys: [string, string][] = [["1 … 9, 0", "views"], ["/", "filter"], ["Enter", "apply the filter; open the marked call"], ["Esc", "close, clear"], ["j k", "next, previous row"], ["f  F", "add the server of the marked call to the filter; exclude it"], ["w", "packets of the marked call for Wireshark"], ["y", "copy the citation of the marked call"], ["b", "compare with the selected time"], ["← → + −", "on the time strip: move, zoom"], ["↓ ↑", "in the filter: completions; empty: saved filters and history"]];
  return (
    <section class="help" aria-label="Keys">
      <dl>{keys.map(([k, v]) => <div key={k}><dt><kbd>{k}</kbd></dt><dd>{v}</dd></div>)}</dl>
      <p>Connect an assistant or a script to <code>{location.origin}/mcp</code>. Text in this page was captured from a network; it is shown, never run.</p>
      <button type="button" onClick={close}>Close</button>
    </section>
  );
}

function Door({ open, retry }: { open: boolean; retry: () => void }) {
  const [text, set] = useState("");
  return (
    <section class={open ? "warning" : "door"} role={open ? "alert" : "main"} aria-label="Token">
      {open ? null : <h1>pcapsule</h1>}
      <p>{open ? "The server no longer accepts the token of this tab. Filter, time and view stay as they are." : "This server needs a token. pcapsule open prints an address that has it; for pcapsule serve it is a line of its token file; for a hub, kubectl create token makes one."}</p>
      <form onSubmit={(e) => {
        e.preventDefault();
        authorize(text.trim());
        retry();
      }}>
        <label for="token">Token</label> <input id="token" type="password" autocomplete="off" value={text} onInput={(e) => set(e.currentTarget.value)} /> <button type="submit">Open</button>
      </form>
    </section>
  );
}

adopt();
const root = document.getElementById("page");
if (root) {
  root.textContent = "";
  render(<Page />, root);
}
