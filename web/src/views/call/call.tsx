import { Fragment, h } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Details, Trace } from "../../api";
import { blob, download, post } from "../../client";
import { bytes, dump, duration, fields, form, plural, pretty, visible, wording } from "../../format";
import { Copy, link, Load, Notes, type Props, Same, T, useAnswer } from "../../parts";
import { Packets } from "./packets";

// Call is everything about one call, beside the view that led to it. Nothing follows its trace if it is alone.
export function Call({ state, go, alone }: Props & { alone?: boolean }) {
  const pane = useRef<HTMLElement>(null);
  const a = useAnswer(state.call, (signal) => post<Details>("/mcp/tools/get_api_call_details", { id: state.call, max_payload_size: 16384 }, signal));
  const [trouble, setTrouble] = useState("");
  useEffect(() => pane.current?.focus(), []);
  const save = (what: string, ending: string, query: Record<string, string> = {}): void => {
    setTrouble("");
    download(`/mcp/calls/${encodeURIComponent(state.call)}/${what}`, `call-${state.call}.${ending}`, query).catch((e: unknown) => setTrouble(e instanceof Error ? e.message : String(e)));
  };
  return (
    <aside class="call" ref={pane} tabIndex={-1} aria-label="Call">
      <div class="bar-top"><h2>Call {state.call.slice(0, 12)}</h2><button type="button" onClick={() => go({ call: "", packet: "" })}>Close <kbd>Esc</kbd></button></div>
      <Load of={a} what="Reading the call">
        {(v) => (
          <div>
            <p class="title"><T>{text(v.call["summary"])}</T></p>
            <p>{v.call["failed"] ? <span class="failed">✕ </span> : ""}<T>{text(v.call["outcome"]).replaceAll("_", " ")}</T>{v.call["error"] ? <span>: <T>{text(v.call["error"])}</T></span> : null}{delivered(v.call)}</p>
            <dl class="facts">
              <Fact name="time"><T>{text(v.call["ts"])}</T></Fact>
              <Fact name="from"><Side of={v.client} port={v.call["src_port"]} /></Fact>
              <Fact name="to"><Side of={v.server} port={v.call["dst_port"]} /></Fact>
              <Fact name="protocol"><T>{text(v.call["protocol"])}</T></Fact>
              {v.call["trace_id"] ? <Fact name="trace id"><T>{text(v.call["trace_id"])}</T></Fact> : null}
            </dl>
            <Waterfall call={v.call} />
            <Message key={"q" + state.call} title="Request" of={v.request} decoded={text(v.call["grpc_request_text"])} call={state.call} />
            <Message key={"r" + state.call} title="Response" of={v.response} decoded={text(v.call["grpc_response_text"])} call={state.call} />
            {alone ? <Same command={`pcapsule ask trace-request BUNDLE --call-id ${state.call.slice(0, 12)}`} what="Calls that belong to this one: " /> : <Chain id={state.call} go={go} />}
            <Fields call={v.call} />
            <section>
              <h3>Packets</h3>
              <p><code><T>{v.packets}</T></code> {v.flow ? <span>on a connection that is {text(v.flow["state"]).replaceAll("_", " ")}{Number(v.flow["retransmissions"]) ? <span class="failed">, {plural(Number(v.flow["retransmissions"]), "retransmission")}</span> : ", no retransmission"}</span> : null}</p>
              <Packets state={state} go={go} />
              <p class="buttons"><button type="button" onClick={() => save("pcap", "pcapng")}>Packets for Wireshark</button> <button type="button" onClick={() => save("pcap", "pcapng", { context: "connections" })}>Whole connection</button>
                {alone || !/^(http[123]|grpc)$/.test(text(v.call["protocol"])) ? null : <Fragment><button type="button" onClick={() => save("http", "sh", { format: "curl" })}>curl</button> <button type="button" onClick={() => save("http", "har", { format: "har" })}>HAR</button></Fragment>}</p>
              {trouble ? <p class="problem" role="alert">{trouble}</p> : null}
              <p class="cite">Cite: call <code class="all">{text(v.call["call_id"])}</code>, <T>{v.packets}</T>{v.verified ? ", files verified" : ""} <Copy text={`call ${text(v.call["call_id"])}, ${v.packets}`} /></p>
            </section>
            <Notes notes={v.notes} />
            <Same command={`pcapsule show BUNDLE ${state.call.slice(0, 12)}`} />
          </div>
        )}
      </Load>
    </aside>
  );
}

function text(v: unknown): string {
  return v === null || v === undefined ? "" : typeof v === "object" ? JSON.stringify(v) : String(v);
}

function Fact(p: { name: string; children: h.JSX.Element }) {
  return <div><dt>{p.name}</dt><dd>{p.children}</dd></div>;
}

function Side({ of, port }: { of: Record<string, unknown>; port: unknown }) {
  const known = text(of["how_known"]).replaceAll("_", " ");
  return <span><T>{text(of["name"]) || text(of["ip"])}</T> <small><T>{`${text(of["ip"])}:${text(port)}`}</T>{known && known !== "none" ? `, name from ${known}` : ""}</small></span>;
}

const said = wording({ yes: "arrived", no: "did not arrive", part: "arrived in part", unknown: "may or may not have arrived" });

function delivered(call: Record<string, unknown>): h.JSX.Element | null {
  const list = (["request", "response"] as const).filter((side) => call[`${side}_delivered`]).map((side) => `${side} ${said(text(call[`${side}_delivered`])).replaceAll("_", " ")}`);
  return list.length ? <small class="delivered"> · {list.join(", ")}</small> : null;
}

const phases: [string, string][] = [["dns_us", "DNS"], ["connect_us", "connect"], ["tls_us", "TLS"], ["send_us", "request"], ["wait_us", "wait"], ["receive_us", "response"]];

// Waterfall is the time of a call, part by part.
function Waterfall({ call }: { call: Record<string, unknown> }) {
  const list = phases.map(([key, name]) => ({ name, ms: typeof call[key] === "number" ? (call[key] as number) / 1000 : null })).filter((x) => x.ms !== null) as { name: string; ms: number }[];
  const all = list.reduce((n, x) => n + x.ms, 0);
  if (!list.length) return null;
  let at = 0;
  return (
    <section>
      <h3>Time</h3>
      <table class="waterfall">
        <tbody>
          {list.map((x) => {
            const left = all ? (100 * at) / all : 0;
            const wide = all ? (100 * x.ms) / all : 0;
            at += x.ms;
            return <tr key={x.name}><th scope="row">{x.name}</th><td class="line"><svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect x={Math.min(left, 99.5)} width={Math.max(0.5, wide)} y="1" height="6" /></svg></td><td class="n">{duration(x.ms)}</td></tr>;
          })}
          <tr><th scope="row">in all</th><td /><td class="n">{typeof call["elapsed_us"] === "number" ? duration((call["elapsed_us"] as number) / 1000) : "no end"}</td></tr>
        </tbody>
      </table>
      {Number(call["resent_segments"]) ? <p class="failed">{plural(Number(call["resent_segments"]), "segment")} sent again{call["resent_us"] ? `, which took ${duration(Number(call["resent_us"]) / 1000)}` : ""}.</p> : null}
    </section>
  );
}

// Message is one side of a call. decoded is its body as text, if the body itself is none.
function Message({ title, of, decoded, call }: { title: "Request" | "Response"; of: Details["request"]; decoded: string; call: string }) {
  const [raw, setRaw] = useState(false);
  if (!of) return null;
  const bare = of.text ?? dump(of.hex ?? "");
  const shaped = of.text ? (/^application\/x-www-form-urlencoded\b/i.test(of.content_type ?? "") ? form(of.text) : pretty(of.text)) : fields(of.decoded ?? decoded) || bare;
  return (
    <section>
      <h3>{title} <small>{[of.content_type ? visible(of.content_type) : "", bytes(of.size), of.complete ? "" : "incomplete"].filter(Boolean).join(", ")}</small></h3>
      {of.headers?.length ? (
        <details open={of.headers.length <= 8}>
          <summary>{plural(of.headers.length, "header")}</summary>
          <table class="headers"><tbody>{of.headers.map((x, i) => <tr key={i}><th scope="row"><T>{x.name}</T></th><td class={x.value.includes("[masked]") ? "masked" : ""}><T>{x.value}</T></td></tr>)}</tbody></table>
        </details>
      ) : null}
      {bare ? (
        <div>
          {/^image\/(png|jpe?g|gif|webp)\b/i.test(of.content_type ?? "") ? <Picture call={call} side={title === "Request" ? "request" : "response"} /> : null}
          {shaped !== bare ? <button type="button" aria-pressed={raw} onClick={() => setRaw(!raw)}>{raw ? "Pretty" : "Raw"}</button> : null}
          {!of.text && shaped !== bare && !raw ? <p class="quiet">Fields of protobuf by number; their types are guessed.</p> : null}
          <pre class="content" tabIndex={0} aria-label={`${title} body`}>{visible(raw ? bare : shaped)}</pre>
          {of.truncated ? <p>Only the first {bytes(of.text ? of.text.length : (of.hex ?? "").length / 2)} are shown.</p> : null}
        </div>
      ) : null}
    </section>
  );
}

// Picture draws what the server has drawn again, so that no bytes of a capture reach the browser's readers of pictures.
function Picture({ call, side }: { call: string; side: string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [said, say] = useState("");
  const draw = async (): Promise<void> => {
    say("");
    try {
      const p = await createImageBitmap(await blob(`/mcp/calls/${encodeURIComponent(call)}/picture`, { side }));
      const c = canvas.current;
      if (!c) return;
      [c.width, c.height] = [p.width, p.height];
      c.getContext("2d")?.drawImage(p, 0, 0);
      c.hidden = false;
    } catch (e) {
      say(e instanceof Error ? e.message : String(e));
    }
  };
  return (
    <div>
      <button type="button" onClick={() => void draw()}>Show the picture</button>
      {said ? <p class="problem" role="alert">{visible(said)}</p> : null}
      <canvas ref={canvas} class="picture" role="img" aria-label={`Picture of the ${side}`} hidden />
    </div>
  );
}

function Chain({ id, go }: { id: string; go: Props["go"] }) {
  const a = useAnswer(id, (signal) => post<Trace>("/mcp/ask/trace_request", { call_id: id }, signal));
  return (
    <Load of={a} what="Following the request">
      {(v) => {
        const c = v.chains?.[0];
        const steps = c?.steps ?? [];
        if (!c || steps.length < 2) return <p class="quiet">No other call belongs to this one.</p>;
        const begin = Math.min(...steps.map((s) => s.at_ms));
        const all = Math.max(...steps.map((s) => s.at_ms - begin + (s.elapsed_ms ?? 0)), 0.001);
        const depth = new Map<number, number>();
        for (const s of steps) depth.set(s.step, s.parent ? (depth.get(s.parent) ?? 0) + 1 : 0);
        return (
          <section>
            <h3>Trace <small>{plural(c.calls, "call")}</small></h3>
            <p class="quiet"><T>{c.what}</T></p>
            <table class="waterfall trace">
              <tbody>
                {steps.map((s) => (
                  <tr key={s.step} class={s.call_id === id ? "open" : ""}>
                    <td class={`step d${Math.min(6, depth.get(s.step) ?? 0)}`}><button {...link(() => go({ call: s.call_id, packet: "" }))}><T>{s.summary}</T></button><small><T>{s.dst}</T>{s.sure && s.sure !== "exact" ? `, ${s.sure}` : ""}</small></td>
                    <td class="line"><svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect x={Math.min(99.3, (100 * (s.at_ms - begin)) / all)} width={Math.max(0.7, (100 * (s.elapsed_ms ?? 0)) / all)} y="1" height="6" /></svg></td>
                    <td class="n">{s.elapsed_ms === undefined ? "no end" : duration(s.elapsed_ms)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </section>
        );
      }}
    </Load>
  );
}

function Fields({ call }: { call: Record<string, unknown> }) {
  const names = Object.keys(call).sort();
  return (
    <details>
      <summary>All {names.length} fields</summary>
      <table class="headers"><tbody>{names.map((n) => <tr key={n}><th scope="row">{n}</th><td><T>{text(call[n])}</T></td></tr>)}</tbody></table>
    </details>
  );
}
