import { h } from "preact";
import { useState } from "preact/hooks";
import type { Flows } from "../../api";
import { get } from "../../client";
import { bytes, clock, count, duration, plural } from "../../format";
import { link, Load, Name, Nothing, type Props, Same, T, useAnswer } from "../../parts";
import { and } from "../../state";

// Connections lists transport flows, the largest first. A server applies the filter and the selected time: flows with calls
// that match, and flows that overlap the time.
export function Connections({ state, go, served }: Props & { served?: boolean }) {
  const [ip, setIP] = useState("");
  const [only, setOnly] = useState("");
  const scope = served ? { kfl: state.kfl, start: state.time?.[0], end: state.time?.[1] } : {};
  const a = useAnswer(`${ip} ${only} ${served ? `${state.kfl} ${state.time?.join()}` : ""}`, (signal) => get<Flows>("/mcp/flows", { limit: 500, format: "full", ip, l4proto: only, ...scope }, signal));
  return (
    <div>
      <div class="tools">
        <label>Transport <select value={only} onChange={(e) => setOnly(e.currentTarget.value)}><option value="">all</option><option value="tcp">TCP</option><option value="udp">UDP</option></select></label>
        <label>Address <input value={ip} onChange={(e) => setIP(e.currentTarget.value.trim())} placeholder="10.0.0.1" /></label>
        {!served && (state.kfl || state.time) ? <span class="quiet">The filter and the selected time are about calls; all connections are listed.</span> : null}
      </div>
      <Load of={a} what="Reading connections">
        {(v) => !v.flows?.length ? <Nothing what="No connection matches." coverage={v.coverage} /> : (
          <div class="scroll" tabIndex={0} role="region" aria-label="Connections">
            <table>
              <thead><tr><th>first</th><th>client</th><th>server</th><th>transport</th><th>state</th><th class="n">packets</th><th class="n">bytes</th><th class="n">retransmissions</th><th class="n">handshake</th><th class="n">lasted</th></tr></thead>
              <tbody>
                {v.flows.map((f) => {
                  const again = (f.client_stats.retransmissions ?? 0) + (f.server_stats.retransmissions ?? 0);
                  return (
                    <tr key={f.flow_id}>
                      <td>{clock(f.first_ts)}</td><td><Name>{f.client.name ?? f.client.ip}</Name></td>
                      <td><button {...link(() => go({ view: "calls", kfl: and(state.kfl, `flow_id == ${f.flow_id}`) }))}><T>{`${f.server.name ?? f.server.ip}${f.server.port ? ":" + f.server.port : ""}`}</T></button></td>
                      <td>{f.proto}</td><td><T>{(f.state ?? "").replaceAll("_", " ")}</T></td><td class="n">{count(f.totals.pkts ?? 0)}</td><td class="n">{bytes(f.totals.bytes)}</td>
                      <td class="n">{again ? <span class="failed">✕ {count(again)}</span> : ""}</td><td class="n">{duration(handshake(f))}</td><td class="n">{duration(f.last_ts - f.first_ts)}</td>
                    </tr>
                  );
                })}
              </tbody>
            </table>
            <p>{v.truncated ? `The ${count(v.flows.length)} largest of ${plural(v.total, "connection")}.` : plural(v.total, "connection")}</p>
          </div>
        )}
      </Load>
      <Same command={`pcapsule sql BUNDLE "select * from flows order by src_bytes + dst_bytes desc limit 500"`} />
    </div>
  );
}

function handshake(f: NonNullable<Flows["flows"]>[number]): number | null {
  const us = f.client_stats.tcp_handshake_us ?? f.server_stats.tcp_handshake_us ?? f.totals.tcp_handshake_us;
  return us === null || us === undefined ? null : us / 1000;
}
