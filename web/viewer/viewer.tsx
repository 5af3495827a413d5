// The viewer: what a person drops is checked by the program in a worker (worker.ts). It has no server and opens no connection.
import "./closed"; // before everything else
import { h, render, type ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { collect, dropped, type Dropped, type Found, type Item } from "./dropped";
import { answeredBy } from "../src/client";
import { Program, type Ended, type Progress } from "./program";
import { Read, type Checked } from "./read";

/** largest is how many bytes one check may have: a tab has 4 GB at most, and what is checked is made again in it. */
export const largest = 500_000_000;

type State =
	| { at: "loading" | "ready" }
	| { at: "running"; progress?: Progress }
	| { at: "done"; item: Item; ended: Ended; words: string }
	| { at: "reading"; item: Item; checked: Checked | null; reports: Dropped[] }
	| { at: "failed"; problem: string };

const nothing: Found = { keys: [], identities: [] };

const headline = (kind: Item["kind"], code: number): string =>
	kind === "captures" ? (code === 0 ? "The bundle is made" : "No bundle was made") : code === 0 ? "Verified" : code === 8 ? "Not verified" : "It could not be checked";

const titles = { bundle: "Bundle", package: "Handover package", captures: "Captures" };

/** made is where the program puts the bundle that it makes of captures. */
const made = "/out/bundle.pcapsule";

/** inside is the name of the bundle in a package, which the program gives to what it takes out. */
const inside = (item: Item): string => item.files.map((f) => /(?:^|\/)([^/-][^/]*\.pcapsule)\.zip(?:\.age)?(?:\.001)?$/.exec(f.path)?.[1]).find((name) => name !== undefined) ?? "bundle.pcapsule";

/** Openers are what opens a package: files with private keys, and one with a passphrase. */
type Openers = { identities: Dropped[]; passphrase: Dropped[] };

/** opening returns the arguments for them. */
const opening = (o: Openers): string[] => [...o.identities.flatMap((k) => ["--identity", k.path]), ...o.passphrase.flatMap((k) => ["--passphrase", k.path])];

/** commandOf returns the arguments for an item, and the command of the program that does the same. */
function commandOf(item: Item, rederive: boolean, keys: Dropped[], openers: Openers): { args: string[]; same: string } {
	const signers = keys.flatMap((k) => ["--signer", k.path]), again = rederive ? ["--rederive"] : [];
	switch (item.kind) {
		case "bundle":
			return { args: ["verify", item.name, ...again, ...signers], same: `pcapsule verify ${item.name}${rederive ? " --rederive" : ""}` };
		case "package":
			return { args: ["receive", item.name, "-o", inside(item), ...opening(openers), ...signers, "then", "verify", inside(item), ...again, ...signers], same: `pcapsule receive ${item.name}` };
		case "captures":
			return { args: ["bundle", ...item.files.map((f) => f.path), "-o", made], same: `pcapsule bundle ${item.name}` };
	}
}

/** readOf returns the arguments to read an item. */
function readOf(item: Item, openers: Openers): string[] {
	return item.kind === "package" ? ["receive", item.name, "-o", inside(item), ...opening(openers), "then", "read", inside(item)] : ["read", item.name];
}

/** reportsOf are the reports and the cover sheets in a handover package, decrypted if a key or the passphrase opens them. */
async function reportsOf(p: Program, item: Item, openers: Openers): Promise<Dropped[]> {
	if (item.kind !== "package") return [];
	const list = item.files.filter((f) => /\/(report-[^/]*|cover\.(html|pdf|jsonld))$/.test(f.path));
	const plain: Dropped[] = [];
	for (const f of list) {
		const path = "/in/" + f.path, to = "/out/report", open = [...openers.identities, ...openers.passphrase];
		if (!f.path.endsWith(".age") || open.length === 0) {
			plain.push(f);
			continue;
		}
		const ended = await p.run({ args: ["decrypt", path, "-o", to, ...opening(openers)], files: [{ path, blob: f.blob }, ...open], keep: [to] }, () => undefined);
		const text = ended.files[to];
		plain.push(ended.code === 0 && text ? { path: f.path.replace(/\.age$/, ""), blob: new Blob([text as BlobPart]) } : f);
	}
	return plain;
}

/** lineClass is how a line of the result looks. */
const lineClass = (line: string): string => (line.startsWith("no ") || line.startsWith("error: ") ? "no" : line.startsWith("not checked") ? "quiet" : "");

/** nameOf is the name of the bundle that is made of captures. */
const nameOf = (item: Item): string => item.name.replace(/(\.pcap(ng)?)?(\.gz|\.zst)?$/, ".pcapsule.zip");

/** checkedOf is what a check said, for the reader. */
const checkedOf = (item: Item, ended: Ended): Checked | null =>
	item.kind === "captures" ? null : { verdict: headline(item.kind, ended.code), good: ended.code === 0, lines: (ended.out + ended.err).trimEnd().split("\n") };

/** stateOf is what a check said about the files alone. */
function stateOf(checked: Checked | null): string {
	const said = (answer: string) => ["files", "hashes"].map((what) => checked?.lines.some((l) => l.startsWith(answer) && l.slice(answer.length).trimStart().startsWith(what)) ?? false);
	return said("no ").includes(true) ? "broken" : said("yes ").includes(false) ? "not_verified" : "verified";
}

function save(name: string, content: string | Uint8Array): void {
	const a = document.createElement("a");
	a.href = URL.createObjectURL(new Blob([content as BlobPart], { type: typeof content === "string" ? "text/plain;charset=utf-8" : "application/zip" }));
	a.download = name;
	a.click();
	URL.revokeObjectURL(a.href);
}

function Viewer() {
	const [state, setState] = useState<State>({ at: "loading" });
	const [found, setFound] = useState<Found>(nothing);
	const [pasted, setPasted] = useState("");
	const [passphrase, setPassphrase] = useState("");
	const [rederive, setRederive] = useState(true);
	const [over, setOver] = useState(false);
	const program = useRef<Program>();
	useEffect(() => {
		Program.load().then((p) => {
			program.current = p;
			setState({ at: "ready" });
		}, (err: unknown) => setState({ at: "failed", problem: String(err) }));
	}, []);

	const add = async (files: Promise<Dropped[]>) => {
		try {
			const next = await collect(await files, found);
			setFound(next);
			setState({ at: "ready" });
		} catch (err) {
			setState({ at: "failed", problem: err instanceof Error ? err.message : String(err) });
		}
	};
	const placed = (folder: string, list: Dropped[]) => list.map((k, i) => ({ path: `/${folder}/${i}/${k.path}`, blob: k.blob }));
	const openersOf = (): Openers => ({ identities: placed("identities", found.identities), passphrase: passphrase ? [{ path: "/passphrase", blob: new Blob([passphrase]) }] : [] });
	const check = async () => {
		const p = program.current, item = found.item;
		if (!p || !item) return;
		const keys = placed("keys", [...found.keys, ...(pasted.trim() ? [{ path: "pasted", blob: new Blob([pasted]) }] : [])]), openers = openersOf();
		const command = commandOf(item, rederive, keys, openers), size = item.files.reduce((n, f) => n + f.blob.size, 0);
		if (size > largest) {
			setState({ at: "failed", problem: `${item.name} has ${size} bytes, more than the ${largest} that a tab can work on. Use the program: ${command.same}` });
			return;
		}
		setState({ at: "running" });
		try {
			const files = [...item.files.map((f) => ({ path: "/in/" + f.path, blob: f.blob })), ...keys, ...openers.identities, ...openers.passphrase];
			const ended = await p.run({ args: command.args, files, keep: item.kind === "captures" ? [made + ".zip"] : [] }, (progress) => setState({ at: "running", progress }));
			const digest = /^tagmanifest sha256 ([0-9a-f]{64})$/m.exec(ended.out)?.[1];
			const words = digest ? (await p.run({ args: ["words", digest], files: [] }, () => undefined)).out.trim() : "";
			setState({ at: "done", item, ended, words });
		} catch (err) {
			setState({ at: "failed", problem: err instanceof Error ? err.message : String(err) });
		}
	};
	const read = async (item: Item, checked: Checked | null) => {
		const p = program.current, size = item.files.reduce((n, f) => n + f.blob.size, 0);
		if (!p) return;
		if (size > largest) {
			setState({ at: "failed", problem: `${item.name} has ${size} bytes, more than the ${largest} that a tab can work on. Use the program: pcapsule open ${item.name}` });
			return;
		}
		const openers = openersOf(), open = [...openers.identities, ...openers.passphrase];
		setState({ at: "running" });
		try {
			const reports = await reportsOf(p, item, openers);
			const reading = await p.read({ args: [...readOf(item, openers), "--state", stateOf(checked)], files: [...item.files.map((f) => ({ path: "/in/" + f.path, blob: f.blob })), ...open] }, (progress) => setState({ at: "running", progress }));
			answeredBy((path, init) => reading.ask(path, init));
			setState({ at: "reading", item, checked, reports });
		} catch (err) {
			setState({ at: "failed", problem: err instanceof Error ? err.message : String(err) });
		}
	};
	const cancel = () => {
		program.current?.cancel();
		setState({ at: "ready" });
	};
	if (state.at === "reading") return <Read name={state.item.kind === "package" ? inside(state.item) : state.item.name} checked={state.checked} reports={state.reports} close={cancel} />;
	const busy = state.at === "loading" || state.at === "running";
	return (
		<main class="check" aria-busy={busy ? "true" : "false"} data-state={state.at}>
			<h1>pcapsule viewer</h1>
			<p class="quiet">It checks and reads an evidence bundle in this tab, with the code of the program pcapsule. It opens no connection: nothing leaves this page.</p>
			<div class={over ? "drop over" : "drop"}
				onDragOver={(e) => { e.preventDefault(); setOver(true); }} onDragLeave={() => setOver(false)}
				onDrop={(e) => { e.preventDefault(); setOver(false); if (e.dataTransfer) void add(dropped(e.dataTransfer)); }}>
				<p>Drop a bundle here, its folder or its ZIP, and the public keys of those who must have signed it. A handover package needs the key or passphrase that opens it; of captures a bundle is made.</p>
				<Choose id="files" multiple onFiles={add}>Choose files…</Choose>
				<Choose id="folder" folder onFiles={add}>Choose a folder…</Choose>
				{found.item && <p>{titles[found.item.kind]}: <b>{found.item.name}</b>{found.item.kind === "captures" && found.item.files.length > 1 ? ` and ${found.item.files.length - 1} more` : ""}</p>}
				{found.item?.kind === "package" && <p><label>Passphrase, if the sender chose one: <input type="password" id="passphrase" autocomplete="off" value={passphrase} onInput={(e) => setPassphrase(e.currentTarget.value)} /></label></p>}
				<button type="button" id="forget" onClick={() => { setFound(nothing); setPasted(""); setPassphrase(""); setState({ at: "ready" }); }}>Forget all</button>
				{found.keys.length + found.identities.length > 0 && <ul>{found.keys.map((k) => <li>Key: {k.path}</li>)}{found.identities.map((k) => <li>Key that opens a package: {k.path}</li>)}</ul>}
			</div>
			<details>
				<summary>Options</summary>
				<p><label><input type="checkbox" id="rederive" checked={rederive} onChange={(e) => setRederive(e.currentTarget.checked)} /> Make every table again from the packets, and compare</label></p>
				<p><label>A public key or certificate: PEM, or a line in OpenSSH format
					<textarea id="pasted" rows={4} value={pasted} onInput={(e) => setPasted(e.currentTarget.value)} spellcheck={false} /></label></p>
			</details>
			<p>
				{state.at === "running" ? <button type="button" id="cancel" onClick={cancel}>Cancel</button>
					: <button type="button" id="check" disabled={busy || !found.item} onClick={() => void check()}>{found.item?.kind === "captures" ? "Make a bundle" : "Check"}</button>}
				{found.item && found.item.kind !== "captures" && !busy ? <button type="button" id="read" onClick={() => { if (found.item) void read(found.item, state.at === "done" ? checkedOf(state.item, state.ended) : null); }}>Read</button> : null}
			</p>
			<Result state={state} read={read} />
		</main>
	);
}

function Choose(p: { id: string; folder?: boolean; multiple?: boolean; onFiles: (f: Promise<Dropped[]>) => void; children: ComponentChildren }) {
	const input = useRef<HTMLInputElement>(null);
	useEffect(() => {
		if (p.folder) input.current?.setAttribute("webkitdirectory", "");
	}, []);
	return (
		<label class="button">{p.children}
			<input ref={input} id={p.id} type="file" multiple={p.multiple ?? false} onChange={(e) => {
				const list = [...(e.currentTarget.files ?? [])].map((f) => ({ path: f.webkitRelativePath || f.name, blob: f }));
				e.currentTarget.value = "";
				p.onFiles(Promise.resolve(list));
			}} />
		</label>
	);
}

function Result({ state, read }: { state: State; read: (item: Item, checked: Checked | null) => Promise<void> }) {
	switch (state.at) {
		case "loading":
			return <p role="status">Loading the program…</p>;
		case "ready":
		case "reading":
			return null;
		case "failed":
			return <p class="problem" role="alert">{state.problem}</p>;
		case "running": {
			const p = state.progress;
			return <div role="status"><p>{p?.text ?? "Starting…"}</p>{p && p.total > 0 ? <progress max={p.total} value={p.done} /> : <progress />}</div>;
		}
		case "done": {
			const { item, ended, words } = state, verdict = headline(item.kind, ended.code), zip = ended.files[made + ".zip"];
			const report = `${verdict}: ${item.name}\n\n${ended.out}${ended.err}${words && `in words ${words}\n`}`;
			return (
				<section aria-label="Result">
					<p class={ended.code === 0 ? "verdict" : "verdict bad"} role="status">{verdict}</p>
					<div class="lines" id="lines">{(ended.out + ended.err).trimEnd().split("\n").map((l) => <div class={lineClass(l)}>{l}</div>)}</div>
					{words && <p>The fingerprint in words, to compare with the cover sheet: <span class="words" id="words">{words}</span></p>}
					<p>{zip && <button type="button" id="read-made" onClick={() => void read({ kind: "bundle", name: nameOf(item), files: [{ path: nameOf(item), blob: new Blob([zip as BlobPart]) }] }, null)}>Read it</button>}{zip && <button type="button" id="save" onClick={() => save(nameOf(item), zip)}>Save the bundle</button>}<button type="button" onClick={() => save(item.name + ".check.txt", report)}>Save this report</button><button type="button" onClick={() => print()}>Print</button></p>
				</section>
			);
		}
	}
}

addEventListener("dragover", (e) => e.preventDefault());
addEventListener("drop", (e) => e.preventDefault()); // beside the place for it, a browser would open the file
render(<Viewer />, document.getElementById("viewer")!);
