import { h } from "preact";
import { useMemo, useState } from "preact/hooks";
import type { ServiceMap } from "../../api";
import { between, post } from "../../client";
import { bytes, count, duration, percent, plural, visible } from "../../format";
import { Failed, link, Load, Nothing, Notes, type Props, Same, T, useAnswer } from "../../parts";
import { and } from "../../state";
import { layout, nodeWidth } from "./layout";

type Edge = NonNullable<ServiceMap["edges"]>[number];

const most = 80; // edges that a picture can show

// Map draws who calls whom, and lists the edges for those who read rather than look.
export function Map({ state, go }: Props) {
  const a = useAnswer(`${state.kfl} ${state.time?.join()}`, (signal) => post<ServiceMap>("/mcp/ask/get_service_map", { kfl: state.kfl, ...between(state.time), limit: most, max_bytes: 1 << 20 }, signal));
  return (
    <div>
      <Load of={a} what="Drawing the map">
        {(v) => !v.edges?.length ? <Nothing what="No call matches." coverage={v.coverage} /> : (
          <div>
            {v.total_edges > v.edges.length ? <p>The {v.edges.length} busiest of {plural(v.total_edges, "pair")}; a filter shows others.</p> : null}
            <Drawing edges={v.edges} state={state} go={go} />
            <div class="scroll" tabIndex={0} role="region" aria-label="Pairs">
              <table>
                <thead><tr><th>from</th><th>to</th><th>protocols</th><th class="n">calls</th><th class="n">failed</th><th class="n">median</th><th class="n">p99</th><th class="n">requests</th><th class="n">responses</th><th>encrypted</th></tr></thead>
                <tbody>
                  {v.edges.map((e) => (
                    <tr key={e.src + e.dst}>
                      <td><T>{e.src}</T></td><td>{e.kfl ? <button {...link(() => go({ view: "calls", kfl: and(state.kfl, e.kfl ?? "") }))}><T>{e.dst}</T></button> : <T>{e.dst}</T>}</td>
                      <td>{(e.protocols ?? []).map((p) => p.protocol).join(", ")}</td><td class="n">{count(e.calls)}</td><td class="n"><Failed failed={e.failed} calls={e.calls} /></td>
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
      <Same command="pcapsule ask get-service-map BUNDLE" />
    </div>
  );
}

function Drawing({ edges, state, go }: Props & { edges: Edge[] }) {
  const [over, setOver] = useState<string>("");
  const p = useMemo(() => layout(edges.map((e) => ({ src: e.src, dst: e.dst, weight: e.calls }))), [edges]);
  const top = Math.max(...edges.map((e) => e.calls));
  const shown = edges.find((e) => over === e.src + "\n" + e.dst);
  return (
    <figure>
      <div class="map" tabIndex={0} role="region" aria-label="Drawing; the table below has the same pairs">
        <svg class="drawing" width={p.width} height={p.height} viewBox={`0 0 ${p.width} ${p.height}`} aria-hidden="true">
          {edges.map((e) => {
            const a = p.places.get(e.src);
            const b = p.places.get(e.dst);
            if (!a || !b) return null;
            const id = e.src + "\n" + e.dst;
            const back = b.x <= a.x;
            const x1 = a.x + nodeWidth;
            const bend = back ? 60 : Math.max(40, (b.x - x1) / 2);
            const d = `M${x1},${a.y} C${x1 + bend},${a.y + (back ? 30 : 0)} ${b.x - bend},${b.y + (back ? 30 : 0)} ${b.x},${b.y}`;
            const near = over === id || over === e.src || over === e.dst;
            return (
              <g key={id} class={`edge${e.failed ? " bad" : ""}${near ? " near" : over ? " far" : ""}`} onMouseEnter={() => setOver(id)} onMouseLeave={() => setOver("")} onClick={() => (e.kfl ? go({ view: "calls", kfl: and(state.kfl, e.kfl) }) : undefined)}>
                <path class="hit" d={d} />
                <path class="line" d={d} stroke-width={1 + 5 * Math.sqrt(e.calls / top)} stroke-dasharray={e.failed ? "6 3" : undefined} />
                {e.failed ? <text x={(x1 + b.x) / 2} y={(a.y + b.y) / 2 - 4} text-anchor="middle">✕ {percent(e.failed, e.calls)}</text> : null}
              </g>
            );
          })}
          {[...p.places].map(([name, at]) => (
            <g key={name} class={`node${over === name ? " near" : ""}`} onMouseEnter={() => setOver(name)} onMouseLeave={() => setOver("")}>
              <title>{visible(name)}</title>
              <rect x={at.x} y={at.y - 14} width={nodeWidth} height="28" rx="3" />
              <text x={at.x + 8} y={at.y + 4}>{clipped(name)}</text>
            </g>
          ))}
        </svg>
      </div>
      <figcaption><span role="status">
        {shown ? `${visible(shown.src)} to ${visible(shown.dst)}: ${plural(shown.calls, "call")}, ${count(shown.failed)} failed, median ${duration(shown.p50_ms) || "unknown"}` : "The wider a line, the more calls. A dashed line has failures. Click a line for its calls."}
      </span></figcaption>
    </figure>
  );
}

// clipped shortens a name to the width of a node and keeps its beginning, which says most.
function clipped(name: string): string {
  const text = visible(name).replace(/\.svc\.cluster\.local$/, "");
  return text.length > 23 ? text.slice(0, 22) + "…" : text;
}
