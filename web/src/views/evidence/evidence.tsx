import { h } from "preact";
import type { Cases, Custody, Marks } from "../../api";
import { get } from "../../client";
import { bytes, clock, count, plural, visible, wording } from "../../format";
import { link, Load, type Props, quoted, recorded, Same, T, useAnswer } from "../../parts";

const verification = wording({
  verified: "✓ Every file was compared with its hash and matches.",
  broken: "✕ A file does not match its hash: this bundle was changed after it was made.",
  not_verified: "The files were not compared with their hashes. pcapsule verify does it.",
});

// Evidence says how far the open bundles can be trusted.
export function Evidence({ state, go, served }: Props & { served?: boolean }) {
  const e = useAnswer(`events ${state.time?.join()}`, (signal) => get<Marks>("/mcp/marks", { start: state.time?.[0], end: state.time?.[1], limit: 300 }, signal));
  const a = useAnswer("evidence", (signal) => get<Cases>("/mcp/cases", {}, signal));
  return (
    <Load of={a} what="Reading the bundles">
      {(v) => (
        <div class="evidence-view">
          <p class="verdict">{recorded(v.coverage)}</p>
          {v.coverage.holes?.length ? (
            <section>
              <h2>Not recorded</h2>
              <table>
                <thead><tr><th>from</th><th>to</th><th>source</th><th>reason</th><th class="n">packets lost</th><th>detail</th></tr></thead>
                <tbody>{v.coverage.holes.map((g, i) => <tr key={i}><td>{g.from}</td><td>{g.to}</td><td><T>{g.source}</T></td><td>{g.reason.replaceAll("_", " ")}</td><td class="n">{g.packets ? count(g.packets) : ""}</td><td><T>{g.detail ?? ""}</T></td></tr>)}</tbody>
              </table>
              {v.coverage.more_holes ? <p>{plural(v.coverage.more_holes, "more gap")}.</p> : null}
            </section>
          ) : null}
          {(v.cases ?? []).map((c) => (
            <section key={c.bundle}>
              <h2><T>{c.path}</T></h2>
              <p class={c.verified === "broken" ? "failed" : ""}>{verification(c.verified)}</p>
              <dl class="facts">
                <div><dt>recorded</dt><dd>{c.from ? `${c.from} to ${c.to}` : "no packet has a time"}</dd></div>
                <div><dt>packets</dt><dd>{count(c.packets)}, {bytes(c.bytes)}</dd></div>
                <div><dt>made by</dt><dd>{c.made_by}</dd></div>
                <div><dt>Kubernetes</dt><dd>{c.kubernetes ? "pods and services are known" : "no pods or services are known"}</dd></div>
              </dl>
              {c.warnings?.length ? <ul class="notes">{c.warnings.map((w) => <li key={w}>{visible(w)}</li>)}</ul> : null}
              <table>
                <thead><tr><th>input</th><th>format</th><th class="n">packets</th><th class="n">lost</th><th class="n">damaged</th><th>SHA-256</th></tr></thead>
                <tbody>{(c.inputs ?? []).map((i) => <tr key={i.name + i.sha256}><td><T>{i.name}</T></td><td>{i.format}</td><td class="n">{count(i.packets)}</td><td class="n">{i.drops ? <span class="failed">✕ {count(i.drops)}</span> : "0"}</td><td class="n">{i.damaged_places ? <span class="failed">✕ {count(i.damaged_places)}</span> : "0"}</td><td><code class="hash wide">{i.sha256}</code></td></tr>)}</tbody>
              </table>
              {served ? <Log of={c.bundle} /> : null}
              <Same command={`pcapsule verify ${quoted(c.path)}`} />
            </section>
          ))}
          <Load of={e} what="Reading events">
            {(m) => !m.marks?.length ? null : (
              <section>
                <h2>Events of Kubernetes and of processes</h2>
                <div class="scroll" tabIndex={0} role="region" aria-label="Events">
                  <table>
                    <thead><tr><th>time</th><th>event</th><th>of</th><th>what</th><th class="n">times</th></tr></thead>
                    <tbody>{m.marks.map((k, i) => <tr key={i}><td><button {...link(() => go({ view: "calls", time: [Math.floor(k.at_ms) - 1000, Math.ceil(k.at_ms) + 1000] }))} aria-label={`${clock(k.at_ms)}, calls around it`}>{clock(k.at_ms)}</button></td><td class={k.failed ? "failed" : ""}>{k.failed ? "✕ " : ""}<T>{k.event.replaceAll("_", " ")}</T></td><td><T>{k.of ?? ""}</T></td><td><T>{k.what ?? ""}</T></td><td class="n">{count(k.times)}</td></tr>)}</tbody>
                  </table>
                </div>
                {m.truncated ? <p>These are the events that say most about failures; select a shorter time for others.</p> : null}
              </section>
            )}
          </Load>
        </div>
      )}
    </Load>
  );
}

// Log is the custody log of a bundle: what people and programs wrote into it.
function Log({ of }: { of: number }) {
  const a = useAnswer("custody", (signal) => get<Custody>("/mcp/custody", {}, signal));
  return (
    <Load of={a} what="Reading the custody log">
      {(v) => {
        const log = v.bundles?.find((b) => b.bundle === of);
        if (!log) return null;
        return (
          <div>
            <h3>Custody log</h3>
            {log.damaged ? <p class="failed">✕ <T>{log.damaged}</T></p> : null}
            <div class="scroll" tabIndex={0} role="region" aria-label="Custody log">
              <table>
                <thead><tr><th>time</th><th>event</th><th>who</th><th>program</th><th>details</th></tr></thead>
                <tbody>
                  {(log.entries ?? []).map((e, i) => (
                    <tr key={i}>
                      <td>{e.time.slice(0, 19)}Z</td><td><T>{e.event.replaceAll("_", " ")}</T></td><td><T>{[e.user, e.host].filter(Boolean).join(" on ")}</T></td><td><T>{e.tool}</T></td>
                      <td>{e.note ? <T>{e.note}</T> : null}{Object.entries(e.details ?? {}).sort().map(([name, value]) => <small key={name}><T>{`${name.replaceAll("_", " ")}: ${value}`}</T></small>)}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
            {log.left_out ? <p>{plural(log.left_out, "entry", "entries")} in the middle are not listed.</p> : null}
            <p class="quiet">pcapsule verify compares the log and its seals with the bundle. Opening does not.</p>
          </div>
        );
      }}
    </Load>
  );
}
