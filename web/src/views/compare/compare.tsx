import { h } from "preact";
import type { Cases, Comparison } from "../../api";
import { get, post } from "../../client";
import { clock, count, duration, percent, plural, rate, visible } from "../../format";
import { link, Load, Nothing, Notes, type Props, quoted, Same, T, useAnswer } from "../../parts";
import { and, before, halves, type Range, span } from "../../state";

type Change = NonNullable<Comparison["endpoints"]>[number];
type News = NonNullable<Comparison["new"]>[number];

// Compare says what changed between two times.
export function Compare(p: Props) {
  const a = useAnswer("cases", (signal) => get<Cases>("/mcp/cases", {}, signal));
  return (
    <Load of={a} what="Reading the bundles">
      {(v) => {
        const all = span(v);
        return all ? <Two {...p} all={all} /> : <Nothing what="No packet has a time, so there is nothing to compare." />;
      }}
    </Load>
  );
}

function Two({ state, go, all }: Props & { all: Range }) {
  const period = state.time ?? halves(all)[0];
  const base = state.base ?? (state.time ? before(period, all) : halves(all)[1]);
  return (
    <div class="compare">
      <dl class="facts">
        <div><dt>period</dt><dd>{said(period)} {state.time ? null : <small>the second half of the recording: select another on the time strip</small>}</dd></div>
        <div><dt>baseline</dt><dd>{base ? said(base) : "none: nothing was recorded before the period"} {state.base ? <button {...link(() => go({ base: null }))}>use the time before the period</button> : <small>{state.time ? "the same length before it" : "the first half"}</small>}</dd></div>
      </dl>
      <p class="tools">
        <button type="button" disabled={!state.time} onClick={() => go({ base: state.time, time: null })}>Use the selected time as baseline <kbd>b</kbd></button>
        <button type="button" disabled={!base} onClick={() => go({ base: period, time: base })}>Swap</button>
      </p>
      {base ? <Result state={state} go={go} period={period} base={base} /> : null}
    </div>
  );
}

function said(r: Range): string {
  return `${clock(r[0])} to ${clock(r[1])} (${duration(r[1] - r[0])})`;
}

function stamps(r: Range): [string, string] {
  return [new Date(r[0]).toISOString(), new Date(r[1]).toISOString()];
}

function Result({ state, go, period, base }: Props & { period: Range; base: Range }) {
  const [from, to] = stamps(period);
  const [baseline_from, baseline_to] = stamps(base);
  const scope = { from, to, baseline_from, baseline_to };
  const a = useAnswer(`${state.kfl} ${period.join()} ${base.join()}`, (signal) => post<Comparison>("/mcp/ask/compare_periods", { kfl: state.kfl, ...scope, limit: 50, max_bytes: 1 << 20 }, signal));
  const calls = (kfl: string | undefined): void => go({ view: "calls", kfl: and(state.kfl, kfl ?? "") });
  return (
    <div>
      <Load of={a} what="Comparing">
        {(v) => (
          <div>
            <p class="title">{visible(v.verdict?.[0] ?? "")}</p>
            <ul class="sentences">{(v.verdict ?? []).slice(1, 7).map((text) => <li key={text}>{visible(text)}</li>)}</ul>
            {(v.verdict ?? []).length > 7 ? <details><summary>{plural((v.verdict ?? []).length - 7, "more sentence")}</summary><ul class="sentences">{(v.verdict ?? []).slice(7).map((text) => <li key={text}>{visible(text)}</li>)}</ul></details> : null}
            {[v.baseline, v.period].map((x, i) => x.coverage.state === "complete" ? null : <p key={i} class="failed">{x.coverage.state === "none" ? "Nothing" : "Only a part"} of the {i ? "period" : "baseline"} was recorded.</p>)}
            {v.total ? <Changes title="All requests" list={[v.total]} name={() => "all requests"} /> : null}
            <Changes title="Endpoints" list={v.endpoints ?? []} name={(c) => <span><button {...link(() => calls(c.kfl))}><T>{c.endpoint}</T></button><small><T>{c.dst}</T></small></span>} />
            <Changes title="Services" list={v.services ?? []} name={(c) => <button {...link(() => calls(c.kfl))}><T>{c.dst}</T></button>} />
            <Changes title="Pairs" list={v.pairs ?? []} name={(c) => <span><T>{c.src}</T> → <T>{c.dst}</T></span>} />
            <div class="columns">
              <Appeared title="Only in the period" list={v.new ?? []} go={go} />
              <Appeared title="Only in the baseline" list={v.vanished ?? []} go={go} />
            </div>
            {v.truncated ? <p>Not all rows are listed.</p> : null}
            <Notes notes={v.notes} />
          </div>
        )}
      </Load>
      <Same command={`pcapsule ask compare-periods BUNDLE --from ${from} --to ${to} --baseline-from ${baseline_from} --baseline-to ${baseline_to}${state.kfl ? ` --kfl ${quoted(state.kfl)}` : ""}`} />
    </div>
  );
}

function Changes({ title, list, name }: { title: string; list: Change[]; name: (c: Change) => h.JSX.Element | string }) {
  if (!list.length) return null;
  return (
    <section>
      <h2>{title}</h2>
      <div class="scroll" tabIndex={0} role="region" aria-label={title}>
        <table>
          <thead><tr><th>what</th><th>changed</th><th class="n">calls</th><th class="n">a minute</th><th class="n">failed</th><th class="n">median</th><th class="n">p99</th></tr></thead>
          <tbody>
            {list.map((c, i) => (
              <tr key={i}>
                <td>{name(c)}</td>
                <td>{(c.changed ?? []).map((x) => <span key={x} class={worse.has(x) ? "failed" : ""}>{worse.has(x) ? "▲ " : "▽ "}{x.replaceAll("_", " ")} </span>)}{(c.maybe ?? []).map((x) => <span key={x} class="quiet">perhaps {x.replaceAll("_", " ")} </span>)}</td>
                <td class="n"><Both of={c.calls.map(count)} /></td>
                <td class="n"><Both of={c.calls_per_minute.map(rate)} /></td>
                <td class="n"><Both of={c.failed.map((x, k) => (x ? `${count(x)} (${percent(x, c.calls[k] ?? 0)})` : "0"))} /></td>
                <td class="n"><Both of={(c.p50_ms ?? []).map(duration)} /></td>
                <td class="n"><Both of={(c.p99_ms ?? []).map(duration)} /></td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

const worse = new Set(["slower", "slowest_slower", "more_errors"]);

// Both is a number of the baseline and of the period.
function Both({ of }: { of: string[] }) {
  return of.length < 2 ? <span /> : of[0] === of[1] ? <span>{of[0]}</span> : <span><span class="quiet">{of[0]}</span> → {of[1]}</span>;
}

function Appeared({ title, list, go }: { title: string; list: News[]; go: Props["go"] }) {
  if (!list.length) return null;
  return (
    <section>
      <h2>{title}</h2>
      <ul class="news">
        {list.map((x, i) => (
          <li key={i}>
            {x.kind}: {x.src ? <span><T>{x.src}</T> → </span> : null}<T>{x.dst}</T> {x.what ? <T>{x.what}</T> : null}, {plural(x.calls, "call")}
            <span class="ids"> {(x.call_ids ?? []).slice(0, 3).map((id) => <button key={id} {...link(() => go({ call: id }))} aria-label={`${id.slice(0, 8)}, open this call`}>{id.slice(0, 8)}</button>)}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}
