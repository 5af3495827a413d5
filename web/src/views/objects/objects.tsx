import { h } from "preact";
import type { Objects as Answer } from "../../api";
import { between, post } from "../../client";
import { bytes, plural, short, visible } from "../../format";
import { link, Load, Nothing, Notes, type Props, Same, T, useAnswer } from "../../parts";

// Objects lists files that were seen in transfer. It never shows or saves them.
export function Objects({ state, go }: Props) {
  const a = useAnswer(`${state.kfl} ${state.time?.join()}`, (signal) => post<Answer>("/mcp/ask/list_objects", { kfl: state.kfl, ...between(state.time), limit: 500, max_bytes: 1 << 20 }, signal));
  return (
    <div>
      <Load of={a} what="Searching files">
        {(v) => (
          <div>
            {!v.objects?.length ? <Nothing what="No file was seen in transfer." coverage={v.coverage} /> : (
              <div class="scroll" tabIndex={0} role="region" aria-label="Objects">
                <table>
                  <thead><tr><th>time</th><th>name</th><th>type</th><th class="n">size</th><th>from</th><th>to</th><th>SHA-256</th></tr></thead>
                  <tbody>
                    {v.objects.map((o) => (
                      <tr key={o.object_id}>
                        <td><button {...link(() => go({ call: o.call_id }))}>{short(o.time)}</button></td>
                        <td>{o.name ? <T>{o.name}</T> : <span class="quiet">no name</span>}{o.why ? <small>{visible(o.why)}</small> : null}</td>
                        <td><T>{o.detected_type ?? o.declared_type ?? ""}</T>{o.declared_type && o.detected_type && !o.declared_type.startsWith(o.detected_type) ? <small>declared <T>{o.declared_type}</T></small> : null}</td>
                        <td class="n">{bytes(o.size)}{o.complete ? "" : <small>incomplete</small>}</td>
                        <td><T>{o.direction === "download" ? o.dst : o.src}</T></td><td><T>{o.direction === "download" ? o.src : o.dst}</T></td><td><code class="hash" title={o.sha256}>{o.sha256.slice(0, 16)}</code></td>
                      </tr>
                    ))}
                  </tbody>
                </table>
                <p>{plural(v.total_objects, "file")}, {bytes(v.total_bytes)}{v.truncated ? "; not all are listed" : ""}.</p>
              </div>
            )}
            <Notes notes={v.notes} />
          </div>
        )}
      </Load>
      <Same command="pcapsule objects BUNDLE" />
    </div>
  );
}
