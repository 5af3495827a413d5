import { h } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Boundaries, Snapshot } from "./api";
import { get, post } from "./client";
import { clock, plural } from "./format";
import { type Props, useAnswer } from "./parts";

const every = 5000; // ms between questions while following
const lengths: [string, string][] = [["live:30s", "last 30 s"], ["live:2m", "last 2 min"], ["live:10m", "last 10 min"]];

type Dissection = { status?: string; error?: string };

// Live follows a ring: the last minutes, pause, and a snapshot of the selected time. Without a ring it shows nothing.
export function Live({ state, go, again }: Props & { again: () => void }) {
  const [ring, setRing] = useState<Boundaries | null>(null);
  const [following, follow] = useState(true);
  const [said, say] = useState("");
  const [making, make] = useState(false);
  const alive = useRef(true);
  useEffect(() => () => void (alive.current = false), []);
  const a = useAnswer("ring", (signal) => get<Boundaries>("/mcp/data-boundaries", {}, signal));
  useEffect(() => {
    if (a.value?.live) setRing(a.value);
  }, [a.value]);
  const live = state.db.startsWith("live") && !state.db.includes("/");
  const has = ring !== null;
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
  if (!ring) return null;

  const snapshot = async (): Promise<void> => {
    make(true);
    say("Freezing the selected time …");
    try {
      const [from, to] = state.time ?? [Date.now() - 120_000, Date.now()];
      const s = await post<Snapshot>("/mcp/snapshots", { start: new Date(from).toISOString(), end: new Date(to).toISOString() });
      await post("/delayed_dissection.DelayedDissection/Start", { snapshot_name: s.name });
      for (let d: Dissection = {}; d.status !== "completed"; ) {
        if (!alive.current) return;
        say(`Reading the calls of snapshot ${s.name} …`);
        await new Promise((f) => setTimeout(f, 500));
        d = await post<Dissection>("/delayed_dissection.DelayedDissection/GetStatus", { snapshot_name: s.name });
        if (d.status === "failed") throw new Error(d.error ?? "the dissection failed");
      }
      go({ db: `${s.name}/main`, time: null, zoom: null, base: null, call: "", packet: "" });
      say("");
    } catch (e) {
      say(`No snapshot was made: ${e instanceof Error ? e.message : String(e)}`);
    } finally {
      make(false);
    }
  };
  const recording = (ring.nodes ?? []).filter((n) => n.recording).length;
  return (
    <section class="live" aria-label="Recording">
      <span>{!ring.ring ? "● live" : recording ? "● recording" : "○ not recording"}{(ring.nodes ?? []).length > 1 ? ` on ${plural(recording, "node")}` : ""}</span>
      <label>Show <select value={state.db} onChange={(e) => go({ db: e.currentTarget.value, time: null, zoom: null, base: null, call: "", packet: "" })}>
        {lengths.map(([v, t]) => <option key={v} value={v}>{t}</option>)}
        {lengths.some(([v]) => v === state.db) || !state.db ? null : <option value={state.db}>{live ? state.db : `snapshot ${state.db.split("/")[0]}`}</option>}
      </select></label>
      {live ? <button type="button" aria-pressed={!following} onClick={() => follow(!following)}>{following ? "Pause" : "Follow"}</button> : null}
      {live && ring.ring ? <button type="button" disabled={making} onClick={() => void snapshot()}>{state.time ? "Snapshot of the selected time" : "Snapshot of the last 2 min"}</button> : null}
      <span role="status">{said || (live ? (following ? "" : "Paused: what is shown stays until you ask something else.") : ring.ring && ring.cluster.newest_ts ? `The ring has packets until ${clock(ring.cluster.newest_ts, 0)}.` : "")}</span>
    </section>
  );
}
