// What a bundle says: the views of the page of pcapsule open that need no database, with an engine in the worker in place of the
// server (forensics/reader).
import { h } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Buckets, Cases } from "../src/api";
import { download, get, renew } from "../src/client";
import { Filter } from "../src/filter";
import { bytes, count, plural, visible } from "../src/format";
import { link, Load, type Props, quoted, recorded, Same, T, useAnswer, useDates } from "../src/parts";
import { and, initial, span, type State } from "../src/state";
import { Strip } from "../src/strip";
import { Call } from "../src/views/call/call";
import { Calls } from "../src/views/calls/calls";
import { Connections } from "../src/views/connections/connections";
import { Evidence } from "../src/views/evidence/evidence";
import type { Dropped } from "./dropped";
import { Reports } from "./reports";

/** Checked is what a check of the bundle said, if there was one. */
export type Checked = { verdict: string; good: boolean; lines: string[] };

type Derived = {
	kind: string; unchanged: number; changed: number; removed: number; from_packets: number; rederivable: string; proofs: number;
	rules: { rule: string; packets: number }[]; lacks: { reason: string; packets: number; detail: string }[];
};
type Overview = { calls: { protocol: string; outcome: string; calls: number; failed: number }[]; connections: number; dropped: number; events: number; derived?: Derived };

const names = { summary: "Overview", calls: "Calls", connections: "Connections", evidence: "Evidence", reports: "Reports" } as const;
type View = keyof typeof names;

export function Read({ name, checked, reports, close }: { name: string; checked: Checked | null; reports: Dropped[]; close: () => void }) {
	const [state, set] = useState<State>(initial);
	const [trouble, setTrouble] = useState("");
	const go: Props["go"] = (change) => set((s) => ({ ...s, ...change }));
	useEffect(renew, []);
	useEffect(() => {
		const f = (e: KeyboardEvent): void => {
			if (e.ctrlKey || e.metaKey || e.altKey || (e.target as HTMLElement).closest("input, textarea, select")) return;
			if (e.key === "Escape") go({ call: "", packet: "" });
			else if (e.key === "/") document.getElementById("kfl")?.focus();
			else return;
			e.preventDefault();
		};
		addEventListener("keydown", f);
		return () => removeEventListener("keydown", f);
	}, []);
	const cases = useAnswer("cases", (signal) => get<Cases>("/mcp/cases", {}, signal));
	const total = useAnswer(`${state.kfl} ${state.time?.join()}`, (signal) => get<Buckets>("/mcp/calls/buckets", { kfl: state.kfl, start: state.time?.[0], end: state.time?.[1], steps: 1 }, signal));
	const save = (): void => {
		setTrouble("");
		download("/viewer/pcap", name.replace(/(\.pcapsule)?(\.zip)?(\.age)?$/, ".pcapng"), { kfl: state.kfl, start: state.time?.[0], end: state.time?.[1] }).catch((e: unknown) => setTrouble(e instanceof Error ? e.message : String(e)));
	};
	const all = cases.value ? span(cases.value) : null;
	useDates(all);
	const view = (state.view in names ? state.view : "calls") as View;
	const own: Record<View, () => h.JSX.Element> = {
		summary: () => <Summary state={state} go={go} name={name} checked={checked} />,
		calls: () => <Calls state={state} go={go} />,
		connections: () => <Connections state={state} go={go} />,
		evidence: () => <Evidence state={state} go={go} />,
		reports: () => <Reports list={reports} name={name} />,
	};
	const shown = (Object.keys(names) as View[]).filter((v) => v !== "reports" || reports.length > 0);
	return (
		<div class="page">
			<header>
				<h1><T>{name}</T></h1>
				<button type="button" class={checked && !checked.good ? "trust broken" : "trust"} onClick={() => go({ view: "summary" })}>{checked ? (checked.good ? "✓ verified" : "✕ " + checked.verdict.toLowerCase()) : "not verified here"}</button>
				<button type="button" id="close" onClick={close}>Back to the check</button>
			</header>
			<Filter state={state} go={go} found={total.value && !total.problem ? plural(total.value.calls, "call") : total.problem ? "not applied" : ""} />
			{total.problem ? <pre class="problem" role="alert">{total.problem.message}</pre> : null}
			{all ? <Strip state={state} go={go} all={all} /> : null}
			<div class="body">
				<nav aria-label="Views">
					{shown.map((v) => <button key={v} type="button" id={"view-" + v} aria-current={v === view ? "page" : undefined} onClick={() => go({ view: v })}>{names[v]}</button>)}
					<button type="button" id="wireshark" onClick={save}>Packets for Wireshark</button>
				</nav>
				<main id="main" tabIndex={-1} aria-label={names[view]}>
					<Load of={cases} what="Opening">{() => null}</Load>
					{trouble ? <p class="problem" role="alert">{trouble}</p> : null}
					{own[view]()}
				</main>
				{state.call ? <Call key={state.call} state={state} go={go} alone /> : null}
			</div>
		</div>
	);
}

const whole: Record<string, string> = { fully: "The tables are what the packets here give.", packets: "The packets are kept; tables of the original are not made from them." };

function Summary({ state, go, name, checked }: Props & { name: string; checked: Checked | null }) {
	const o = useAnswer("overview", (signal) => get<Overview>("/viewer/overview", {}, signal));
	const c = useAnswer("cases", (signal) => get<Cases>("/mcp/cases", {}, signal));
	const calls = (kfl: string): void => go({ view: "calls", kfl: and(state.kfl, kfl) });
	return (
		<div class="summary">
			<Load of={c} what="Reading the bundle">
				{(v) => (
					<section>
						<p class="verdict">{recorded(v.coverage)}</p>
						{(v.cases ?? []).map((b) => (
							<dl class="facts" key={b.path}>
								<div><dt>recorded</dt><dd>{b.from ? `${b.from} to ${b.to}` : "no packet has a time"}</dd></div>
								<div><dt>packets</dt><dd>{count(b.packets)}, {bytes(b.bytes)}, from {plural(b.inputs?.length ?? 0, "file")}: {(b.inputs ?? []).map((i) => <span key={i.sha256}><T>{i.name}</T> </span>)}</dd></div>
								<div><dt>made by</dt><dd><T>{b.made_by}</T></dd></div>
							</dl>
						))}
					</section>
				)}
			</Load>
			<Load of={o} what="Counting calls">
				{(v) => (
					<div class="columns">
						<section>
							<h2>Calls</h2>
							<table id="calls-by">
								<thead><tr><th>protocol</th><th>outcome</th><th class="n">calls</th><th class="n">failed</th></tr></thead>
								<tbody>
									{v.calls.map((g) => (
										<tr key={g.protocol + g.outcome}>
											<td><button {...link(() => calls(`protocol == ${JSON.stringify(g.protocol)}`))}><T>{g.protocol}</T></button></td>
											<td><button {...link(() => calls(`protocol == ${JSON.stringify(g.protocol)} && outcome == ${JSON.stringify(g.outcome)}`))}><T>{g.outcome.replaceAll("_", " ")}</T></button></td>
											<td class="n">{count(g.calls)}</td><td class="n">{g.failed ? <span class="failed">✕ {count(g.failed)}</span> : ""}</td>
										</tr>
									))}
								</tbody>
							</table>
							<p>{v.calls.length === 0 ? "No calls. " : ""}On <button {...link(() => go({ view: "connections" }))}>{plural(v.connections, "connection")}</button>. {v.dropped ? <span class="failed">✕ {plural(v.dropped, "packet")} lost, as the files say.</span> : "The files name no lost packet."}</p>
							{v.events ? <Same what={`${plural(v.events, "event")} of Kubernetes and of processes: `} command={`pcapsule open ${quoted(name)}`} /> : null}
						</section>
						<section>
							<h2>Check</h2>
							{checked ? <div><p class={checked.good ? "" : "failed"}>{checked.verdict}</p><div class="lines">{checked.lines.map((l) => <div class={/^(no |error: )/.test(l) ? "no" : ""}>{visible(l)}</div>)}</div></div> : <p class="quiet">Nothing was checked in this tab. What you read here may have been changed since it was recorded; go back to check it.</p>}
							{v.derived ? <Removed of={v.derived} /> : null}
						</section>
					</div>
				)}
			</Load>
			<Same what="Questions, findings, maps and SQL need the program: " command={`pcapsule open ${quoted(name)}`} />
		</div>
	);
}

/** Removed is what a derived bundle no longer has. */
function Removed({ of }: { of: Derived }) {
	return (
		<div id="derived">
			<h2>This bundle was {of.kind === "merged" ? "added to" : of.kind}</h2>
			<p>{of.from_packets ? `Of ${plural(of.from_packets, "packet")} of the original: ` : ""}{count(of.unchanged)} unchanged, {count(of.changed)} changed, {count(of.removed)} removed. {whole[of.rederivable] ?? ""} {of.proofs ? `${plural(of.proofs, "proof")} of what was kept: the check compares them.` : ""}</p>
			{of.lacks.length ? <ul>{of.lacks.map((l) => <li key={l.detail}><T>{l.detail}</T>{l.packets ? `: ${plural(l.packets, "packet")}` : ""}</li>)}</ul> : null}
			{of.rules.length ? <table><thead><tr><th>rule</th><th class="n">packets changed</th></tr></thead><tbody>{of.rules.map((r) => <tr key={r.rule}><td><T>{r.rule}</T></td><td class="n">{count(r.packets)}</td></tr>)}</tbody></table> : null}
		</div>
	);
}
