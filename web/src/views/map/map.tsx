import { h } from "preact";
import { useMemo, useState } from "preact/hooks";
import type { Dependencies, ServiceMap } from "../../api";
import { between, post } from "../../client";
import { brief, bytes, count, duration, percent, plural, visible } from "../../format";
import { Failed, link, Load, Name, Nothing, Notes, type Props, quoted, Same, T, useAnswer } from "../../parts";
import { and } from "../../state";
import { curve, folded, labelled, layout, nodeWidth, reach } from "./layout";

type Edge = NonNullable<ServiceMap["edges"]>[number];
type Line = { src: string; dst: string; weight: number; calls: number; failed: number; of: Edge[] };

const most = 500; // edges of one question
const unfolded = 60; // nodes above which namespaces are drawn as one node

// Map draws who calls whom, and lists the edges for those who read rather than look.
export function Map({ state, go }: Props) {
  const a = useAnswer(`${state.kfl} ${state.time?.join()}`, (signal) => post<ServiceMap>("/mcp/ask/get_service_map", { kfl: state.kfl, ...between(state.time), limit: most, max_bytes: 1 << 20 }, signal));
  return (
    <div>
      <Load of={a} what="Drawing the map">
        {(v) => !v.edges?.length ? <Nothing what="No call matches." coverage={v.coverage} /> : (
          <div>
            {v.total_edges > v.edges.length ? <p>The {v.edges.length} busiest of {plural(v.total_edges, "pair")}; a filter shows others.</p> : null}
            <Drawing of={v} edges={v.edges} state={state} go={go} />
            <div class="scroll" tabIndex={0} role="region" aria-label="Pairs">
              <table>
                <thead><tr><th>from</th><th>to</th><th>protocols</th><th class="n">calls</th><th class="n">failed</th><th class="n">median</th><th class="n">p99</th><th class="n">requests</th><th class="n">responses</th><th>encrypted</th></tr></thead>
                <tbody>
                  {v.edges.map((e) => (
                    <tr key={e.src + "\n" + e.dst}>
                      <td><Name>{e.src}</Name></td><td>{e.kfl ? <button {...link(() => go({ view: "calls", kfl: and(state.kfl, e.kfl ?? "") }))}><Name>{e.dst}</Name></button> : <Name>{e.dst}</Name>}</td>
                      <td>{(e.protocols ?? []).map((p) => visible(p.protocol)).join(", ")}</td><td class="n">{count(e.calls)}</td><td class="n"><Failed failed={e.failed} calls={e.calls} /></td>
                      <td class="n">{duration(e.p50_ms)}</td><td class="n">{duration(e.p99_ms)}</td><td class="n">{bytes(Math.round(e.request_kb * 1000))}</td><td class="n">{bytes(Math.round(e.response_kb * 1000))}</td><td>{e.encrypted}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
            <Notes notes={v.notes} />
          </div>
        )}
      </Load>
      <Same command={state.node ? `pcapsule ask get-dependencies BUNDLE --service ${quoted(state.node)} --blast-radius` : "pcapsule ask get-service-map BUNDLE"} />
    </div>
  );
}

function Drawing({ of, edges, state, go }: Props & { of: ServiceMap; edges: Edge[] }) {
  const [over, setOver] = useState<string>("");
  const [opened, setOpened] = useState<Set<string>>(() => new Set());
  const space = useMemo(() => new globalThis.Map((of.nodes ?? []).map((n) => [n.name, n.namespace ?? ""])), [of]);
  const groupOf = (n: string): string => space.get(n) ?? (n.endsWith("/") ? n.slice(0, -1) : "");
  const names = useMemo(() => [...new Set(edges.flatMap((e) => [e.src, e.dst]))].sort(), [edges]);
  const lines = useMemo<Line[]>(() => {
    const plain = edges.map((e) => ({ src: e.src, dst: e.dst, weight: e.calls, calls: e.calls, failed: e.failed, of: [e] }));
    return names.length <= unfolded ? plain : folded(plain, groupOf, opened).map((x) => ({ ...x, calls: x.weight, failed: x.of.reduce((n, l) => n + l.failed, 0), of: x.of.flatMap((l) => l.of) }));
  }, [edges, opened]);
  const p = useMemo(() => layout(lines, groupOf), [lines]);
  const texts = useMemo(() => {
    const list = lines.filter((e) => e.failed).sort((x, y) => y.failed - x.failed).flatMap((e) => {
      const [a, b] = [p.places.get(e.src), p.places.get(e.dst)];
      return a && b ? [{ e, curve: curve(a, b), width: 7.5 * share(e).length }] : [];
    });
    const places = labelled(list, p.places.values());
    return new globalThis.Map(list.map((x, i) => [x.e, places[i] ?? null]));
  }, [p]);
  const fold = names.length > unfolded;
  const top = Math.max(...lines.map((e) => e.calls));
  const shown = lines.find((e) => over === e.src + "\n" + e.dst);
  const up = useMemo(() => reach(lines, state.node, false), [lines, state.node]);
  const down = useMemo(() => reach(lines, state.node, true), [lines, state.node]);
  const picked = state.node !== "" && p.places.has(state.node);
  const calls = (e: Line): void => {
    const kfl = e.of.map((x) => x.kfl).filter(Boolean);
    if (kfl.length === e.of.length && kfl.length <= 20) go({ view: "calls", kfl: and(state.kfl, kfl.map((k) => (kfl.length > 1 ? `(${k})` : k)).join(" or ")) });
  };
  const toggle = (group: string): void => setOpened((o) => {
    const n = new Set(o);
    if (!n.delete(group)) n.add(group);
    return n;
  });
  return (
    <figure>
      <div class="tools">
        <label>Blast radius of <select value={names.includes(state.node) ? state.node : ""} onChange={(e) => go({ node: e.currentTarget.value })}><option value="">no service</option>{names.map((n) => <option key={n} value={n}>{visible(n)}</option>)}</select></label>
        {fold ? <span class="groups" role="group" aria-label="Namespaces">{[...new Set(names.map(groupOf))].filter(Boolean).sort().map((g) => <button key={g} type="button" aria-pressed={opened.has(g)} onClick={() => toggle(g)}><T>{g}</T></button>)}</span> : null}
        {fold ? <span class="quiet">{count(names.length)} services: a namespace opens with its button.</span> : null}
      </div>
      {state.node ? <Blast key={state.node} state={state} go={go} /> : null}
      <div class="map" tabIndex={0} role="region" aria-label="Drawing; the table below has the same pairs">
        <svg class="drawing" style={{ minWidth: `${Math.round(p.width * 0.8)}px` }} width={p.width} height={p.height} viewBox={`0 0 ${p.width} ${p.height}`} aria-hidden="true">
          {p.bands.map((b) => (
            <g key={b.group} class="band">
              <rect x="1" y={b.y + 1} width={p.width - 2} height={b.height - 2} rx="4" />
              <text x="8" y={b.y + 15}>{visible(b.group)}</text>
            </g>
          ))}
          {lines.map((e) => {
            const a = p.places.get(e.src);
            const b = p.places.get(e.dst);
            if (!a || !b) return null;
            const id = e.src + "\n" + e.dst;
            const [p0, p1, p2, p3] = curve(a, b);
            const d = `M${p0.x},${p0.y} C${p1.x},${p1.y} ${p2.x},${p2.y} ${p3.x},${p3.y}`;
            const near = over === id || over === e.src || over === e.dst;
            const at = texts.get(e) ?? (near && e.failed ? { x: (p0.x + p3.x) / 2, y: (p0.y + p3.y) / 2 - 4 } : null);
            const within = (m: globalThis.Map<string, number>): boolean => (m.has(e.src) || e.src === state.node) && (m.has(e.dst) || e.dst === state.node);
            const far = over ? !near : picked && !within(up) && !within(down);
            return (
              <g key={id} class={`edge${e.failed ? " bad" : ""}${near ? " near" : far ? " far" : ""}`} onMouseEnter={() => setOver(id)} onMouseLeave={() => setOver("")} onClick={() => calls(e)}>
                <path class="hit" d={d} />
                <path class="line" d={d} stroke-width={1 + 5 * Math.sqrt(e.calls / top)} stroke-dasharray={e.failed ? "6 3" : undefined} />
                {at ? <text x={at.x} y={at.y} text-anchor="middle">{share(e)}</text> : null}
              </g>
            );
          })}
          {[...p.places].map(([name, at]) => {
            const role = name === state.node ? " picked" : up.has(name) ? " up" : down.has(name) ? " down" : picked ? " far" : "";
            const group = name.endsWith("/") ? name.slice(0, -1) : "";
            return (
              <g key={name} class={`node${over === name ? " near" : ""}${picked ? role : ""}`} onMouseEnter={() => setOver(name)} onMouseLeave={() => setOver("")} onClick={() => (group ? toggle(group) : go({ node: name === state.node ? "" : name }))}>
                <title>{visible(name)}</title>
                <rect x={at.x} y={at.y - 14} width={nodeWidth} height="28" rx="3" />
                <text x={at.x + 8} y={at.y + 4}>{picked && up.has(name) ? "◂ " : picked && down.has(name) ? "▸ " : ""}{group ? `▣ ${plural(names.filter((n) => groupOf(n) === group).length, "service")}` : clipped(name, groupOf(name), picked && name !== state.node ? 20 : 23)}</text>
              </g>
            );
          })}
        </svg>
      </div>
      <figcaption><span role="status">
        {shown ? `${visible(shown.src)} to ${visible(shown.dst)}: ${plural(shown.calls, "call")}, ${count(shown.failed)} failed${shown.of.length === 1 ? `, median ${duration(shown.of[0]?.p50_ms) || "unknown"}` : ""}`
          : picked ? `◂ ${plural(up.size, "service")} would feel a failure of ${visible(state.node)}; ▸ it uses ${plural(down.size, "service")}.` : "The wider a line, the more calls. A dashed line has failures. Click a line for its calls, a service for its blast radius."}
      </span></figcaption>
    </figure>
  );
}

// Blast says who would feel a failure of a service, and what the service needs.
function Blast({ state, go }: Props) {
  const a = useAnswer(`${state.node} ${state.kfl} ${state.time?.join()}`, (signal) => post<Dependencies>("/mcp/ask/get_dependencies", { service: state.node, kfl: state.kfl, ...between(state.time), blast_radius: true, limit: 50, max_bytes: 1 << 20 }, signal));
  return (
    <section class="blast" aria-label="Blast radius">
      <Load of={a} what="Following callers">
        {(v) => (
          <div>
            {(v.summary ?? []).map((s) => <p key={s}>{visible(s)}</p>)}
            <div class="columns">
              <Side title="Affected: its callers" list={v.upstream ?? []} go={go} state={state} of="src" />
              <Side title="It depends on" list={v.downstream ?? []} go={go} state={state} of="dst" />
            </div>
            {v.blast_radius?.endpoints?.length ? (
              <details>
                <summary>{plural(v.blast_radius.endpoints.length, "endpoint")} whose calls need it</summary>
                <table>
                  <thead><tr><th>endpoint</th><th class="n">calls</th><th class="n">of them need it</th><th class="n">share</th><th>certainty</th></tr></thead>
                  <tbody>{v.blast_radius.endpoints.map((e, i) => <tr key={i}><td><T>{e.endpoint}</T><small><T>{e.dst}</T></small></td><td class="n">{count(e.calls)}</td><td class="n">{count(e.touching)}</td><td class="n">{Math.round(100 * e.share)} %</td><td>{e.confidence}</td></tr>)}</tbody>
                </table>
              </details>
            ) : null}
            <Notes notes={v.notes} />
          </div>
        )}
      </Load>
      <p><button type="button" onClick={() => go({ node: "" })}>Close <kbd>Esc</kbd></button></p>
    </section>
  );
}

function Side({ title, list, of, state, go }: Props & { title: string; list: NonNullable<Dependencies["upstream"]>; of: "src" | "dst" }) {
  return (
    <section>
      <h2>{title}</h2>
      {!list.length ? <p class="quiet">none was seen</p> : (
        <table>
          <thead><tr><th class="n">steps</th><th>from</th><th>to</th><th class="n">calls</th><th class="n">failed</th><th>health</th></tr></thead>
          <tbody>
            {list.map((d, i) => (
              <tr key={i}>
                <td class="n">{d.depth}</td><td>{of === "src" ? <button {...link(() => go({ node: d.src }))}><T>{d.src}</T></button> : <T>{d.src}</T>}</td><td>{of === "dst" ? <button {...link(() => go({ node: d.dst }))}><T>{d.dst}</T></button> : <T>{d.dst}</T>}</td>
                <td class="n">{d.kfl ? <button {...link(() => go({ view: "calls", kfl: and(state.kfl, d.kfl ?? "") }))}>{count(d.calls)}</button> : count(d.calls)}</td><td class="n"><Failed failed={d.failed} calls={d.calls} /></td><td class={d.health === "failing" ? "failed" : ""} title={visible(d.why ?? "")}>{d.health}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

// share is the text on a line with failures.
function share(e: Line): string {
  return `✕ ${percent(e.failed, e.calls)}`;
}

// clipped shortens a name to the width of a node. Its band already says the namespace.
function clipped(name: string, group: string, most: number): string {
  const own = group && name.startsWith(group + "/") ? name.slice(group.length + 1) : name;
  const text = brief(visible(own));
  return text.length > most ? text.slice(0, most - 1) + "…" : text;
}
