import { h } from "preact";
import type { Failures, Findings, Overview } from "../../api";
import { between, post } from "../../client";
import { count, duration, percent, plural, short, visible } from "../../format";
import { Bar, Failed, link, Load, Notes, type Props, recorded, Same, T, useAnswer } from "../../parts";
import { and } from "../../state";

const most = 8;

// Summary is the first view: what happened, with links into the rest.
export function Summary({ state, go, counts }: Props) {
  const what = `${state.kfl} ${state.time?.join()}`;
  const scope = { kfl: state.kfl, ...between(state.time), limit: most };
  const o = useAnswer(what, (signal) => post<Overview>("/mcp/ask/get_overview", scope, signal));
  const f = useAnswer(what, (signal) => post<Failures>("/mcp/ask/find_failures", scope, signal));
  const known = o.value && !o.busy ? o.value : counts;
  const calls = (kfl: string): void => go({ view: "calls", kfl: and(state.kfl, kfl) });
  return (
    <div class="summary">
      {known ? (
        <p class="verdict">
          {known.calls === 0 ? (state.kfl || state.time ? "No call matches." : "No call was read from these packets.") : (
            <span>
              <button {...link(() => go({ view: "calls" }))}>{plural(known.calls, "call")}</button>
              {known.failed ? <span>, <button {...link(() => calls("failed"))}>{count(known.failed)} failed</button> ({percent(known.failed, known.calls)})</span> : ", none failed"}
              {o.value ? <span>, on <button {...link(() => go({ view: "connections" }))}>{plural(o.value.connections.total, "connection")}</button></span> : null}.
            </span>
          )}
        </p>
      ) : null}
      <Load of={o} what="Summarizing">
        {(v) => (
          <div>
            <p class="recorded">{recorded(v.coverage)}{v.connections.encrypted ? ` ${plural(v.connections.encrypted, "encrypted connection")}.` : ""}</p>
            <Notes notes={v.notes} />
          </div>
        )}
      </Load>
      <Load of={f} what="Searching causes of failures">
        {(v) => v.failed_calls === 0 ? null : (
          <div>
            {v.happened ? <p class="title prose"><T>{v.happened.what}</T> <Ids of={v.happened.call_ids} go={go} /></p> : null}
            {v.causes?.length ? (
              <section>
                <h2>Where failures began</h2>
                <ol class="causes">
                  {v.causes.slice(0, 5).map((c) => (
                    <li key={`${c.number}${c.call_ids?.[0]}`}>
                      <p>
                        <T>{c.dst}</T> <b><T>{c.endpoint}</T></b> <span class="failed">✕ <T>{(c.status ?? c.what).replaceAll("_", " ")}</T></span>{c.elapsed_ms ? ` after ${duration(c.elapsed_ms)}` : ""}
                        {c.chains ? `, behind ${plural(c.chains, "failed call")}` : ""} {c.confidence < 1 ? <small>link to them: {c.sure}</small> : null}
                      </p>
                      {c.said ? <blockquote><T>{c.said}</T></blockquote> : null}
                      <p class="way ids"><T>{c.way}</T> <Ids of={c.call_ids} go={go} /></p>
                    </li>
                  ))}
                </ol>
                {v.causes.length > 5 ? <details><summary>{plural(v.causes.length - 5, "more origin")}</summary><ol class="causes" start={6}>{v.causes.slice(5).map((c) => <li key={`${c.number}`}><p><T>{c.dst}</T> <b><T>{c.endpoint}</T></b> <span class="failed">✕ <T>{(c.status ?? c.what).replaceAll("_", " ")}</T></span> <Ids of={c.call_ids} go={go} /></p></li>)}</ol></details> : null}
              </section>
            ) : null}
            <section class="failures">
              <h2>Failures</h2>
              <table>
                <thead><tr><th>to</th><th>what</th><th>outcome</th><th class="n">calls</th><th class="share"><span class="unseen">share</span></th><th class="n">median</th><th>when</th></tr></thead>
                <tbody>
                  {(v.groups ?? []).slice(0, most).map((g) => (
                    <tr key={g.dst + g.src + g.endpoint + g.status}>
                      <td><T>{g.dst}</T><small>from <T>{g.src}</T></small></td>
                      <td><button {...link(() => go({ call: g.call_ids?.[0] ?? "" }))}><T>{g.endpoint}</T></button>{g.said?.[0] ? <small><T>{g.said[0]}</T></small> : null}</td>
                      <td><span class="failed">✕ <T>{g.status.replaceAll("_", " ")}</T></span>{g.delivery ? <small>{g.delivery}</small> : null}{g.at_limit ? <small>{visible(g.at_limit)}</small> : null}</td>
                      <td class="n">{count(g.calls)}</td>
                      <td class="share"><Bar value={g.calls} of={Math.max(...(v.groups ?? []).map((x) => x.calls))} bad /></td>
                      <td class="n">{duration(g.p50_ms)}</td>
                      <td>{short(g.first)}<small>{g.when}</small></td>
                    </tr>
                  ))}
                </tbody>
              </table>
              {v.truncated ? <p><button {...link(() => go({ view: "calls", kfl: and(state.kfl, "failed"), group: "endpoint" }))}>All failures by endpoint</button></p> : null}
              <Notes notes={v.notes} />
            </section>
          </div>
        )}
      </Load>
      {o.value?.calls && !f.busy ? <Worst state={state} go={go} calls={o.value.calls} /> : null}
      <Load of={o} what="">
        {(v) => !v.calls ? null : (
          <div class="columns">
            <section>
              <h2>Endpoints</h2>
              <table>
                <thead><tr><th>endpoint</th><th class="n">calls</th><th class="n">failed</th><th class="n">median</th><th class="n">p99</th></tr></thead>
                <tbody>
                  {(v.endpoints ?? []).slice(0, most).map((e) => (
                    <tr key={e.dst + e.endpoint + e.protocol}>
                      <td><button {...link(() => calls(e.kfl))}><T>{e.endpoint}</T></button><small><T>{e.dst}</T>, {e.protocol}</small></td>
                      <td class="n">{count(e.calls)}</td><td class="n"><Failed failed={e.failed} calls={e.calls} /></td><td class="n">{duration(e.p50_ms)}</td><td class="n">{duration(e.p99_ms)}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
              {(v.endpoints ?? []).length >= most ? <p><button {...link(() => go({ view: "calls", group: "endpoint" }))}>All endpoints</button></p> : null}
            </section>
            <section>
              <h2>Protocols</h2>
              <table>
                <thead><tr><th>protocol</th><th class="n">calls</th><th class="share"><span class="unseen">share</span></th><th class="n">failed</th><th class="n">servers</th></tr></thead>
                <tbody>
                  {(v.protocols ?? []).map((p) => (
                    <tr key={p.protocol}>
                      <td><button {...link(() => calls(p.kfl))}>{p.protocol}</button></td><td class="n">{count(p.calls)}</td>
                      <td class="share"><Bar value={p.calls} of={Math.max(...(v.protocols ?? []).map((x) => x.calls))} /></td>
                      <td class="n"><Failed failed={p.failed} calls={p.calls} /></td><td class="n">{count(p.servers)}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
              {v.external_domains?.length ? <div><h2>Outside</h2><ul>{v.external_domains.slice(0, most).map((d) => <li key={d.domain}><T>{d.domain}</T>: {plural(d.calls, "call")} <Failed failed={d.failed} calls={d.calls} /></li>)}</ul></div> : null}
            </section>
          </div>
        )}
      </Load>
      <Same command={`pcapsule ask get-overview BUNDLE${state.kfl ? ` --kfl '${state.kfl.replaceAll("'", "'\\''")}'` : ""}`} />
    </div>
  );
}

const quick = 200_000; // calls that are examined without a request

// Worst lists the worst findings. Examining many calls takes long, so it is offered only; and what happened comes first.
function Worst({ state, go, calls }: Props & { calls: number }) {
  const few = calls <= quick;
  const a = useAnswer(`${few} ${state.kfl} ${state.time?.join()}`, (signal) => few ? post<Findings>("/mcp/ask/list_findings", { kfl: state.kfl, ...between(state.time), limit: most }, signal) : Promise.resolve(null));
  const all = <button {...link(() => go({ view: "findings" }))}>{few ? "All findings" : `Examine ${plural(calls, "call")}`}</button>;
  return (
    <section>
      <h2>Findings</h2>
      <Load of={a} what="Examining the traffic">
        {(v) => !v ? <p>{all}</p> : !v.findings?.length ? <p class="quiet prose"><T>{v.searched}</T></p> : (
          <div>
            <ul class="news">{v.findings.slice(0, 5).map((f) => <li key={f.id}><b class={`severity ${f.severity}`}>{f.severity}</b> <span class="prose"><T>{f.what}</T></span> <Ids of={(f.call_ids ?? []).slice(0, 2)} go={go} /></li>)}</ul>
            <p>{all}</p>
          </div>
        )}
      </Load>
    </section>
  );
}

// Ids are links to calls.
function Ids({ of, go }: { of: string[] | null | undefined; go: Props["go"] }) {
  return <span class="ids">{(of ?? []).slice(0, 4).map((id) => <button key={id} {...link(() => go({ call: id }))} aria-label={`${id.slice(0, 8)}, open this call`}>{id.slice(0, 8)}</button>)}</span>;
}
