import { h } from "preact";
import { useState } from "preact/hooks";
import type { Sql as Answer } from "../../api";
import { post } from "../../client";
import { count } from "../../format";
import { link, Load, Nothing, Notes, type Props, quoted, Same, T, useAnswer } from "../../parts";

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
  const a = useAnswer(state.sql, (signal) => post<Answer>("/mcp/tools/run_sql", { sql: state.sql, limit: 1000 }, signal));
  return (
    <div>
      <Load of={a} what="Running the query">
        {(v) => (
          <div>
            {!v.rows?.length ? <Nothing what="The query has no rows." /> : (
              <div class="scroll" tabIndex={0} role="region" aria-label="Rows">
                <table>
                  <thead><tr>{(v.columns ?? []).map((c, i) => <th key={i} class={numeric(c.type) ? "n" : ""} title={c.type}><T>{c.name}</T></th>)}</tr></thead>
                  <tbody>
                    {v.rows.map((r, i) => (
                      <tr key={i}>{(r ?? []).map((x, k) => {
                        const c = v.columns?.[k];
                        const id = c?.name === "call_id" && typeof x === "string" ? x : "";
                        return <td key={k} class={c && numeric(c.type) ? "n" : ""}>{x === null ? <span class="quiet">null</span> : id ? <button {...link(() => go({ call: id }))}>{id.slice(0, 12)}</button> : <T>{typeof x === "object" ? JSON.stringify(x) : String(x)}</T>}</td>;
                      })}</tr>
                    ))}
                  </tbody>
                </table>
                <p>{count(v.rows.length)} rows{v.truncated ? "; there are more" : ""}</p>
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

function numeric(type: string): boolean {
  return /INT|DOUBLE|DECIMAL|FLOAT/.test(type);
}
