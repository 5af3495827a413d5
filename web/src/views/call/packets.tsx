import { h } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Packet, Packets as List } from "../../api";
import { get } from "../../client";
import { count, short, visible, wording } from "../../format";
import { link, Load, Notes, type Props, T, useAnswer } from "../../parts";
import { type Extent, fieldAt, segments } from "./extent";

type Layer = NonNullable<Packet["layers"]>[number];
type Field = NonNullable<Layer["fields"]>[number];

const wide = 16; // bytes in a row
const first = 1024; // bytes that are shown at once

// Packets are the packets of a call as Wireshark shows them: a list, and the layers and bytes of one.
export function Packets({ state, go }: Props) {
  const [from, setFrom] = useState(0);
  const id = encodeURIComponent(state.call);
  const a = useAnswer(`${state.call} ${from}`, (signal) => get<List>(`/mcp/calls/${id}/packets`, { from, limit: 50 }, signal));
  return (
    <Load of={a} what="Reading packets">
      {(v) => (
        <div class="packets">
          <div class="scroll short" tabIndex={0} role="region" aria-label="Packets of this call">
            <table>
              <thead><tr><th class="n">frame</th><th>time</th><th>from</th><th>layer</th><th>what</th><th class="n">bytes</th></tr></thead>
              <tbody>
                {(v.list ?? []).map((p) => (
                  <tr key={p.packet_no} class={String(p.packet_no) === state.packet ? "open" : ""}>
                    <td class="n"><button {...link(() => go({ packet: String(p.packet_no) === state.packet ? "" : String(p.packet_no) }, true))} aria-expanded={String(p.packet_no) === state.packet} title={p.file}>{p.frame || p.packet_no}</button></td>
                    <td>{short(p.ts)}</td><td>{p.sender}</td><td>{p.protocol}</td><td><T>{p.summary}</T></td><td class="n">{count(p.len)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
          {v.total > 50 ? (
            <p class="buttons">
              <button type="button" disabled={from === 0} onClick={() => setFrom(Math.max(0, from - 50))}>Earlier</button>
              <button type="button" disabled={!v.truncated} onClick={() => setFrom(v.next ?? from)}>Later</button>
              <span class="quiet">{count(from + 1)} to {count(from + (v.list?.length ?? 0))} of {count(v.total)} packets</span>
            </p>
          ) : null}
          {state.packet ? <One key={state.packet} call={id} no={state.packet} /> : <p class="quiet">A frame number opens its layers and bytes.</p>}
        </div>
      )}
    </Load>
  );
}

function One({ call, no }: { call: string; no: string }) {
  const [recorded, setRecorded] = useState(false);
  const a = useAnswer(`${call} ${no} ${recorded}`, (signal) => get<Packet>(`/mcp/calls/${call}/packet`, { packet_no: no, bytes: recorded ? "recorded" : "masked" }, signal));
  const place = useRef<HTMLElement>(null);
  const there = a.value !== undefined;
  useEffect(() => {
    if (there) place.current?.scrollIntoView({ block: "start" });
  }, [there]);
  return (
    <section ref={place} aria-label={`Packet ${no}`}>
      <Load of={a} what="Reading the packet">{(p) => <Bytes packet={p} />}</Load>
      {a.value?.masked_bytes || recorded ? (
        <p class="buttons">
          <button type="button" aria-pressed={recorded} onClick={() => setRecorded(!recorded)}>Show bytes as recorded</button>
          {!recorded ? <span class="quiet">{count(a.value?.masked_bytes ?? 0)} bytes that applications sent are masked (··).</span> : null}
        </p>
      ) : null}
    </section>
  );
}

// Bytes ties fields to their bytes: choosing one marks the other.
function Bytes({ packet }: { packet: Packet }) {
  const layers = packet.layers ?? [];
  const bytes = packet.bytes ?? [];
  const [mark, setMark] = useState<Extent | null>(null);
  const [cursor, setCursor] = useState(-1);
  const [all, setAll] = useState(false);
  const tree = useRef<HTMLDivElement>(null);
  const fields = useMemo(() => layers.flatMap((l, i) => (l.fields ?? []).map((f, k) => ({ id: `${i}.${k}`, start: f.start, end: f.end }))), [packet]);
  const chosen = (x: Extent): void => {
    setMark(x);
    setCursor(x.start);
    if (x.end > first) setAll(true);
  };
  // A byte chooses the smallest field that has it.
  const at = (i: number): void => {
    const n = Math.min(Math.max(i, 0), bytes.length - 1);
    const layer = layers.findIndex((l) => l.layer !== "call" && l.start <= n && n < l.end);
    const l = layers[layer];
    setMark(fieldAt(fields, n) ?? (l ? { id: `${layer}`, start: l.start, end: l.end } : null));
    setCursor(n);
  };
  useEffect(() => {
    if (mark) tree.current?.querySelector(`[data-id="${mark.id}"]`)?.scrollIntoView({ block: "nearest" });
  }, [mark]);
  const key = (e: KeyboardEvent): void => {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: wide, ArrowUp: -wide }[e.key];
    if (step === undefined) return;
    e.preventDefault();
    e.stopPropagation();
    at(cursor < 0 ? 0 : cursor + step);
  };
  const shown = all ? bytes : bytes.slice(0, first);
  const named = mark ? describe(layers, mark) : "";
  return (
    <div>
      <div class="layers" ref={tree}>
        {layers.map((l, i) => (
          <details key={i} open={!network.has(l.layer) || (mark?.id ?? "").split(".")[0] === String(i)}>
            <summary data-id={String(i)} class={mark?.id === String(i) ? "marked" : ""} onFocus={() => chosen({ id: String(i), start: l.start, end: l.end })}>{title(l.layer)} <small>bytes {l.start} to {l.end - 1}</small></summary>
            <ul>
              {(l.fields ?? []).map((f, k) => {
                const x = { id: `${i}.${k}`, start: f.start, end: f.end };
                return <li key={k}><button type="button" data-id={x.id} class={mark?.id === x.id ? "field marked" : "field"} aria-pressed={mark?.id === x.id} onClick={() => chosen(x)} onFocus={() => chosen(x)}><span class="name">{visible(f.field)}</span> <T>{f.value}</T></button></li>;
              })}
            </ul>
          </details>
        ))}
      </div>
      <p class="status quiet" role="status">{named ? visible(named) : "Choose a field or a byte."}</p>
      <div class="hex" tabIndex={0} role="group" aria-label={`${count(bytes.length)} bytes; arrow keys choose a byte and its field`} onKeyDown={key} onClick={(e) => {
        const i = (e.target as HTMLElement).dataset["at"];
        if (i !== undefined) at(Number(i));
      }}>
        {Array.from({ length: Math.ceil(shown.length / wide) }, (_, r) => <Row key={r} from={r * wide} bytes={shown.slice(r * wide, (r + 1) * wide)} mark={mark} cursor={cursor} />)}
      </div>
      {bytes.length > first && !all ? <p><button type="button" onClick={() => setAll(true)}>All {count(bytes.length)} bytes</button></p> : null}
      <Notes notes={packet.notes} />
    </div>
  );
}

function Row({ from, bytes, mark, cursor }: { from: number; bytes: (number | null)[]; mark: Extent | null; cursor: number }) {
  const parts = segments(from, bytes.length, mark);
  const part = (of: (b: number | null) => string, each: string) =>
    parts.map((s) => (
      <span key={s.start} class={s.marked ? "marked" : ""}>
        {bytes.slice(s.start - from, s.end - from).map((b, i) => <span key={i} data-at={s.start + i} class={s.start + i === cursor ? "cursor" : b === null ? "hidden" : ""}>{of(b)}{each}</span>)}
      </span>
    ));
  return (
    <div class="line">
      <span class="offset">{from.toString(16).padStart(4, "0")}</span>
      <span class="values">{part((b) => (b === null ? "··" : b.toString(16).padStart(2, "0")), " ")}</span>
      <span class="ascii" aria-hidden="true">{part((b) => (b === null ? "·" : b >= 0x20 && b < 0x7f ? String.fromCharCode(b) : "."), "")}</span>
    </div>
  );
}

function describe(layers: Layer[], mark: Extent): string {
  const [i, k] = mark.id.split(".").map(Number);
  const l = layers[i ?? -1];
  const f: Field | undefined = k === undefined ? undefined : l?.fields?.[k];
  const n = mark.end - mark.start;
  return `${f?.field ?? title(l?.layer ?? "")}: ${n === 1 ? `byte ${mark.start}` : `bytes ${mark.start} to ${mark.end - 1}`}`;
}

// network are the headers that few look at first.
const network = new Set(["eth", "sll", "sll2", "null", "vlan", "mpls", "ip", "ipv6", "tcp", "udp", "data", "padding"]);

const title = wording({ eth: "Ethernet", sll: "Linux cooked capture", sll2: "Linux cooked capture", null: "Loopback", vlan: "VLAN", mpls: "MPLS", arp: "ARP", ip: "IPv4", ipv6: "IPv6", icmp: "ICMP", icmpv6: "ICMPv6", tcp: "TCP", udp: "UDP", sctp: "SCTP", gre: "GRE", vxlan: "VXLAN", geneve: "Geneve", http: "HTTP", tls: "TLS", dns: "DNS", data: "Data", padding: "Padding", call: "Values of the call" });
