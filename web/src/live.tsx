import { h } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Boundaries, Snapshot, Snapshots } from "./api";
import { base, get, post, Problem } from "./client";
import { clock, plural } from "./format";
import { type Props, useAnswer } from "./parts";

const every = 5000; // ms between questions while following
const lengths: [string, string][] = [["live:30s", "last 30 s"], ["live:2m", "last 2 min"], ["live:10m", "last 10 min"]];

type Dissection = { status?: string; error?: string };

// boundaries says what is recorded. The nodes of a cluster do not list it; snapshots can be made nevertheless.
export async function boundaries(signal: AbortSignal): Promise<Boundaries> {
  try {
    return await get<Boundaries>("/mcp/data-boundaries", {}, signal);
  } catch (e) {
    if (!(e instanceof Problem) || e.status !== 400) throw e;
    return { cluster: { newest: "", newest_ts: 0, oldest: "", oldest_ts: 0 }, live: false, nodes: [], ring: true };
  }
}

// opened returns the data of a snapshot once its calls have been read.
async function opened(name: string, say: (text: string) => void, alive: () => boolean): Promise<string> {
  await post("/delayed_dissection.DelayedDissection/Start", { snapshot_name: name });
  for (let d: Dissection = {}; d.status !== "completed"; ) {
    if (!alive()) return "";
    say(`Reading the calls of snapshot ${name} …`);
    await new Promise((f) => setTimeout(f, 500));
    d = await post<Dissection>("/delayed_dissection.DelayedDissection/GetStatus", { snapshot_name: name });
    if (d.status === "failed") throw new Error(d.error ?? "the dissection failed");
  }
  return `${name}/main`;
}

// Live follows a ring: the last minutes, pause, and a snapshot of the selected time. Without a ring it shows nothing.
export function Live({ state, go, again }: Props & { again: () => void }) {
  const [ring, setRing] = useState<Boundaries | null>(null);
  const [following, follow] = useState(true);
  const [said, say] = useState("");
  const [making, make] = useState(false);
  const alive = useRef(true);
  useEffect(() => () => void (alive.current = false), []);
  const a = useAnswer("ring", boundaries);
  const listed = a.value?.ring || (a.value?.live && !a.value.nodes?.length);
  const kept = useAnswer(`snapshots ${listed}`, (signal) => (listed ? get<Snapshots>("/mcp/snapshots", {}, signal) : Promise.resolve(undefined)));
  useEffect(() => {
    if (a.value?.live || a.value?.ring) setRing(a.value);
  }, [a.value]);
  const live = state.db.startsWith("live") && !state.db.includes("/");
  const has = ring?.live === true;
  useEffect(() => {
    if (has && !state.db) go({ db: "live:2m", order: state.order || "newest", bundle: "" }, true);
  }, [has]);
  useEffect(() => {
    if (!live || !following) return;
    const t = setInterval(() => {
      if (document.visibilityState === "visible" && document.body.ariaBusy !== "true") again();
    }, every);
    return () => clearInterval(t);
  }, [live, following]);
  if (base) return <section class="live" aria-label="Snapshot"><span>{`snapshot ${base.replace(/^\/v1\/(namespaces\/)?/, "").replace(/\/?snapshots\//, "/")}`}</span> <a href="/">Live data and other snapshots</a></section>;
  if (!ring) return null;

  // show switches to the data of a snapshot: of one that there is, or of a new one of the selected time.
  const show = async (name: string): Promise<void> => {
    make(true);
    try {
      if (!name) {
        say("Freezing the selected time …");
        const [from, to] = state.time ?? [Date.now() - 120_000, Date.now()];
        name = (await post<Snapshot>("/mcp/snapshots", { start: new Date(from).toISOString(), end: new Date(to).toISOString() })).name;
      }
      const db = await opened(name, say, () => alive.current);
      if (!db) return;
      go({ db, time: null, zoom: null, base: null, call: "", packet: "" });
      say("");
      kept.retry();
    } catch (e) {
      say(`The snapshot cannot be shown: ${e instanceof Error ? e.message : String(e)}`);
    } finally {
      make(false);
    }
  };
  const choose = (value: string): void => {
    if (value.startsWith("/")) location.assign(value); // of a hub: it has a page of its own
    else if (value.startsWith("live")) go({ db: value, time: null, zoom: null, base: null, call: "", packet: "" });
    else void show(value.replace(/\/main$/, ""));
  };
  const snapshots = (kept.value?.snapshots ?? []).filter((x) => x.status === "completed").map((x) => ({ value: x.page ?? `${x.name}/main`, text: `snapshot ${x.name}` }));
  const options = [...(ring.live ? lengths.map(([value, text]) => ({ value, text })) : []), ...snapshots];
  if (state.db && !options.some((x) => x.value === state.db)) options.push({ value: state.db, text: live ? state.db : `snapshot ${state.db.split("/")[0]}` });
  const recording = (ring.nodes ?? []).filter((n) => n.recording).length;
  return (
    <section class="live" aria-label="Recording">
      <span>{!ring.live ? "snapshots" : !ring.ring ? "● live" : recording ? "● recording" : "○ not recording"}{(ring.nodes ?? []).length > 1 ? ` on ${plural(recording, "node")}` : ""}</span>
      {options.length ? <label>Show <select value={state.db} disabled={making} onChange={(e) => choose(e.currentTarget.value)}>
        {state.db ? null : <option value="">{ring.live ? "…" : "the newest"}</option>}
        {options.map((x) => <option key={x.value} value={x.value}>{x.text}</option>)}
      </select></label> : null}
      {live ? <button type="button" aria-pressed={!following} onClick={() => follow(!following)}>{following ? "Pause" : "Follow"}</button> : null}
      {ring.ring && (live || !ring.live) ? <button type="button" disabled={making} onClick={() => void show("")}>{state.time ? "Snapshot of the selected time" : "Snapshot of the last 2 min"}</button> : null}
      <span role="status">{said || (live ? (following ? "" : "Paused: what is shown stays until you ask something else.") : ring.ring && ring.cluster.newest_ts ? `The ring has packets until ${clock(ring.cluster.newest_ts, 0)}.` : "")}</span>
    </section>
  );
}
