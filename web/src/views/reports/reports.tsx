import { h } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Reports as Answer } from "../../api";
import { download, get, text } from "../../client";
import { wording } from "../../format";
import { Load, type Props, quoted, Same, useAnswer } from "../../parts";

const word = wording({ html: "HTML", md: "Markdown", json: "JSON", csv: "CSV", xlsx: "Excel", pdf: "PDF" });

// Reports previews a report and saves it in a format.
export function Reports(p: Props) {
  const a = useAnswer("reports", (signal) => get<Answer>("/mcp/reports", {}, signal));
  return <Load of={a} what="Reading the templates">{(v) => (v.templates?.length ? <Choice {...p} of={v} /> : <p class="nothing">This server makes no reports. pcapsule report makes them.</p>)}</Load>;
}

function Choice({ state, go, of }: Props & { of: Answer }) {
  const [trouble, setTrouble] = useState("");
  const [saving, setSaving] = useState("");
  const list = of.templates ?? [];
  const chosen = list.find((t) => t.template === state.report) ?? list[0];
  if (!chosen) return null;
  const query = { template: chosen.template, kfl: state.kfl, start: state.time?.[0], end: state.time?.[1] };
  const save = (format: string): void => {
    setTrouble("");
    setSaving(format);
    download("/mcp/report", `${chosen.template}.${format}`, { ...query, format }).catch((e: unknown) => setTrouble(e instanceof Error ? e.message : String(e))).finally(() => setSaving(""));
  };
  return (
    <div>
      <div class="tools">
        <label>Report <select value={chosen.template} onChange={(e) => go({ report: e.currentTarget.value })}>{list.map((t) => <option key={t.template} value={t.template}>{t.title}</option>)}</select></label>
        <span class="save" role="group" aria-label="Save">Save as {(of.formats ?? []).map((f) => <button key={f} type="button" disabled={saving === f} onClick={() => save(f)}>{word(f)}</button>)}</span>
        <span role="status">{saving ? `Writing ${word(saving)} …` : ""}</span>
      </div>
      <p class="quiet">{chosen.what} {state.kfl || state.time ? "Only calls within the filter and the selected time." : ""}</p>
      {trouble ? <p class="problem" role="alert">{trouble}</p> : null}
      <Preview key={chosen.template} {...{ state, go, query }} />
      <Same command={`pcapsule report BUNDLE --template ${chosen.template}${state.kfl ? ` --kfl ${quoted(state.kfl)}` : ""}${state.time ? ` --from ${new Date(state.time[0]).toISOString()} --to ${new Date(state.time[1]).toISOString()}` : ""} -o ${chosen.template}.html`} />
    </div>
  );
}

// Preview shows a report in a frame without scripts of the report, without this page's data and without a network.
function Preview({ state, go, query }: Props & { query: Record<string, string | number | undefined> }) {
  const a = useAnswer(`${state.kfl} ${state.time?.join()} ${query["template"]}`, (signal) => text("/mcp/report", { ...query, format: "html" }, signal));
  const frame = useRef<HTMLIFrameElement>(null);
  const [ready, setReady] = useState(false);
  const act = useRef(go);
  act.current = go;
  useEffect(() => {
    const f = (e: MessageEvent<unknown>): void => {
      if (e.source !== frame.current?.contentWindow) return;
      if (e.data === "ready") setReady(true);
      else if (typeof e.data === "string" && /^[0-9a-f]{8,64}$/.test(e.data)) act.current({ call: e.data });
    };
    addEventListener("message", f);
    return () => removeEventListener("message", f);
  }, []);
  useEffect(() => {
    // The frame has no origin, because it is sandboxed, so the message cannot name one.
    if (ready && a.value !== undefined) frame.current?.contentWindow?.postMessage(a.value, "*");
  }, [ready, a.value]);
  return (
    <div>
      <Load of={a} what="Writing the report">{() => null}</Load>
      <iframe class={a.value === undefined || a.problem ? "preview away" : "preview"} ref={frame} title="Preview of the report" sandbox="allow-scripts" src="/page/frame.html" />
    </div>
  );
}

