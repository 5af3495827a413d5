import { h } from "preact";
import type { Findings as Answer } from "../../api";
import { between, post } from "../../client";
import { plural, short, visible } from "../../format";
import { link, Load, Notes, type Props, Same, T, useAnswer } from "../../parts";

// Findings lists what analysts look for, the worst first.
export function Findings({ state, go }: Props) {
  const a = useAnswer(`${state.kfl} ${state.time?.join()}`, (signal) => post<Answer>("/mcp/ask/list_findings", { kfl: state.kfl, ...between(state.time), limit: 200, max_bytes: 1 << 20 }, signal));
  return (
    <div>
      <Load of={a} what="Examining the traffic">
        {(v) => {
          const titles = new Map((v.summary ?? []).map((s) => [s.finding, s.title]));
          const clean = (v.summary ?? []).filter((s) => !s.found && !s.nothing_to_examine);
          return (
            <div>
              <p class={v.findings?.length ? "quiet prose" : "nothing prose"}><T>{v.searched}</T></p>
              {!v.findings?.length ? null : (
                <ul class="findings">
                  {kinds(v.findings).map((list) => {
                    const row = (f: Finding): h.JSX.Element => <One key={f.id} f={f} title={titles.get(f.finding) ?? f.finding} go={go} />;
                    const rest = list.slice(examples);
                    return [...list.slice(0, examples).map(row), rest.length ? (
                      <li key={`more ${list[0]?.id}`} class={list[0]?.severity}>
                        <details><summary>{plural(rest.length, "more finding")} of this kind</summary><ul class="findings">{rest.map(row)}</ul></details>
                      </li>
                    ) : null];
                  })}
                </ul>
              )}
              {v.truncated ? <p>Not all findings are listed.</p> : null}
              {clean.length ? <p class="quiet">Examined, and nothing found: {clean.map((s) => s.title).join("; ")}.</p> : null}
              <Notes notes={v.notes?.map(visible)} />
            </div>
          );
        }}
      </Load>
      <Same command="pcapsule ask list-findings BUNDLE" />
    </div>
  );
}

type Finding = NonNullable<Answer["findings"]>[number];

const examples = 3; // findings of a kind that are not folded

// kinds are findings that say the same of different ends, in their order.
function kinds(all: Finding[]): Finding[][] {
  const out = new Map<string, Finding[]>();
  for (const f of all) {
    const key = [f.severity, f.finding, f.kind, f.accepted?.reason].join();
    out.set(key, [...(out.get(key) ?? []), f]);
  }
  return [...out.values()];
}

function One({ f, title, go }: { f: Finding; title: string; go: Props["go"] }) {
  return (
    <li class={f.severity}>
      <p><b class="severity">{f.severity}</b> {title} <small>{[f.confidence, ...(f.techniques ?? []), ...(f.cves ?? [])].map(visible).join(", ")}, {short(f.first)} to {short(f.last)}</small></p>
      <p class="prose"><T>{f.what}</T></p>
      {f.not_proved ? <p class="quiet prose">Not proved: {visible(f.not_proved)}</p> : null}
      {f.said_by ? <p class="quiet prose">Said by <T>{f.said_by.program}</T>, not checked here.</p> : null}
      {f.accepted ? <p class="quiet prose">Accepted by <T>{f.accepted.by}</T> until {f.accepted.until}{f.accepted.expired ? ", which is over" : ""}: <T>{f.accepted.reason}</T></p> : null}
      {f.evidence?.length ? <p class="evidence">{f.evidence.slice(0, 5).map((e) => <code key={e}><T>{e}</T></code>)}</p> : null}
      <p class="ids">
        {f.kfl ? <button {...link(() => go({ view: "calls", kfl: f.kfl ?? "" }))}>{plural(f.count, "case")}</button> : plural(f.count, "case")}
        {(f.call_ids ?? []).map((id) => <button key={id} {...link(() => go({ call: id }))} aria-label={`${id.slice(0, 8)}, open this call`}>{id.slice(0, 8)}</button>)}
        {f.controls?.length ? <details><summary>{plural(f.controls.length, "control")}</summary>{f.controls.join(", ")}</details> : null}
      </p>
    </li>
  );
}
