import { h } from "preact";
import { useState } from "preact/hooks";
import type { Sql as Answer } from "../../api";
import { post } from "../../client";
import { plural, visible } from "../../format";
import { Bar, link, Load, Nothing, Notes, type Props, quoted, Same, T, useAnswer } from "../../parts";

const example = "select dst_name, count(*) as calls, count(*) filter (failed) as failed,\n  quantile_disc(elapsed_us, 0.99) / 1000 as p99_ms\nfrom calls\ngroup by 1\norder by calls desc";

// Sql runs one query that only reads.
export function Sql(p: Props) {
  const { state, go } = p;
  const [text, setText] = useState(state.sql || example);
  return (
    <div>
      <form class="sql" onSubmit={(e) => {
        e.preventDefault();
        go({ sql: text });
      }}>
        <label for="sql">SQL over the tables calls, flows, connections, packets, bodies, endpoints, coverage, anomalies</label>
        <textarea id="sql" rows={7} spellcheck={false} value={text} onInput={(e) => setText(e.currentTarget.value)} onKeyDown={(e) => {
          if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) {
            e.preventDefault();
            go({ sql: text });
          }
        }} />
        <p><button type="submit">Run <kbd>Ctrl Enter</kbd></button></p>
      </form>
      {state.sql ? <Result key={state.sql} {...p} /> : null}
    </div>
  );
}

function Result({ state, go }: Props) {
  const [drawn, draw] = useState(-1);
  const a = useAnswer(state.sql, (signal) => post<Answer>("/mcp/tools/run_sql", { sql: state.sql, limit: 1000 }, signal));
  return (
    <div>
      <Load of={a} what="Running the query">
        {(v) => (
          <div>
            {!v.rows?.length ? <Nothing what="The query has no rows." /> : (
              <div class="scroll" tabIndex={0} role="region" aria-label="Rows">
                <Chosen of={v} drawn={drawn} draw={draw} />
                <table>
                  <thead><tr>{drawn >= 0 ? <th class="drawn">chart of <T>{v.columns?.[drawn]?.name}</T></th> : null}{(v.columns ?? []).map((c, i) => <th key={i} class={numeric(c.type) ? "n" : ""} title={c.type}><T>{c.name}</T></th>)}</tr></thead>
                  <tbody>
                    {v.rows.map((r, i) => (
                      <tr key={i}>{drawn >= 0 ? <td class="drawn"><Bar value={Math.max(0, Number(r?.[drawn] ?? 0))} of={Math.max(...(v.rows ?? []).map((x) => Number(x?.[drawn] ?? 0)))} /></td> : null}{(r ?? []).map((x, k) => {
                        const c = v.columns?.[k];
                        const id = c?.name === "call_id" && typeof x === "string" ? x : "";
                        return <td key={k} class={c && numeric(c.type) ? "n" : ""}>{x === null ? <span class="quiet">null</span> : id ? <button {...link(() => go({ call: id }))}>{id.slice(0, 12)}</button> : <T>{typeof x === "object" ? JSON.stringify(x) : String(x)}</T>}</td>;
                      })}</tr>
                    ))}
                  </tbody>
                </table>
                <p>{plural(v.rows.length, "row")}{v.truncated ? "; there are more" : ""}</p>
              </div>
            )}
            <Notes notes={v.notes} />
          </div>
        )}
      </Load>
      <Same command={`pcapsule sql BUNDLE ${quoted(state.sql.replace(/\s+/g, " "))}`} />
    </div>
  );
}

// Chosen chooses the column that is drawn as bars.
function Chosen({ of, drawn, draw }: { of: Answer; drawn: number; draw: (n: number) => void }) {
  const list = (of.columns ?? []).map((c, i) => ({ name: c.name, i, number: numeric(c.type) })).filter((c) => c.number);
  if (!list.length) return null;
  return <p class="tools"><label>Chart of <select value={String(drawn)} onChange={(e) => draw(Number(e.currentTarget.value))}><option value="-1">nothing</option>{list.map((c) => <option key={c.i} value={String(c.i)}>{visible(c.name)}</option>)}</select></label></p>;
}

function numeric(type: string): boolean {
  return /INT|DOUBLE|DECIMAL|FLOAT/.test(type);
}
