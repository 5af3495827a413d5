// The viewer: what a person drops is checked by the program in a worker (worker.ts). It has no server and opens no connection.
import "./closed"; // before everything else
import { h, render, type ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { collect, dropped, type Dropped, type Found } from "./dropped";
import { Program, type Ended, type Progress } from "./program";

/** largest is how many bytes one check may have: a tab has 4 GB at most, and what is checked is made again in it. */
export const largest = 500_000_000;

type State =
	| { at: "loading" | "ready" }
	| { at: "running"; progress?: Progress }
	| { at: "done"; ended: Ended; words: string }
	| { at: "failed"; problem: string };

const headline = (code: number): string => (code === 0 ? "Verified" : code === 8 ? "Not verified" : "It could not be checked");

/** lineClass is how a line of the result looks. */
const lineClass = (line: string): string => (line.startsWith("no ") || line.startsWith("error: ") ? "no" : line.startsWith("not checked") ? "quiet" : "");

function save(name: string, text: string): void {
	const a = document.createElement("a");
	a.href = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
	a.download = name;
	a.click();
	URL.revokeObjectURL(a.href);
}

function Viewer() {
	const [state, setState] = useState<State>({ at: "loading" });
	const [found, setFound] = useState<Found>({ keys: [] });
	const [pasted, setPasted] = useState("");
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
	const check = async () => {
		const p = program.current, b = found.bundle;
		if (!p || !b) return;
		const size = b.files.reduce((n, f) => n + f.blob.size, 0);
		if (size > largest) {
			setState({ at: "failed", problem: `${b.name} has ${size} bytes, more than the ${largest} that a tab can check. Use the program: pcapsule verify ${b.name}${rederive ? " --rederive" : ""}` });
			return;
		}
		const keys = [...found.keys, ...(pasted.trim() ? [{ path: "pasted", blob: new Blob([pasted]) }] : [])].map((k, i) => ({ path: `/keys/${i}/${k.path}`, blob: k.blob }));
		setState({ at: "running" });
		try {
			const args = ["verify", b.name, ...(rederive ? ["--rederive"] : []), ...keys.flatMap((k) => ["--signer", k.path])];
			const ended = await p.run({ args, files: [...b.files.map((f) => ({ path: "/in/" + f.path, blob: f.blob })), ...keys] }, (progress) => setState({ at: "running", progress }));
			const digest = /^tagmanifest sha256 ([0-9a-f]{64})$/m.exec(ended.out)?.[1];
			const words = digest ? (await p.run({ args: ["words", digest], files: [] }, () => undefined)).out.trim() : "";
			setState({ at: "done", ended, words });
		} catch (err) {
			setState({ at: "failed", problem: err instanceof Error ? err.message : String(err) });
		}
	};
	const cancel = () => {
		program.current?.cancel();
		setState({ at: "ready" });
	};
	const busy = state.at === "loading" || state.at === "running";
	return (
		<main aria-busy={busy ? "true" : "false"} data-state={state.at}>
			<h1>pcapsule viewer</h1>
			<p class="quiet">It checks an evidence bundle in this tab, with the code of the program pcapsule. It opens no connection: nothing leaves this page.</p>
			<div class={over ? "drop over" : "drop"}
				onDragOver={(e) => { e.preventDefault(); setOver(true); }} onDragLeave={() => setOver(false)}
				onDrop={(e) => { e.preventDefault(); setOver(false); if (e.dataTransfer) void add(dropped(e.dataTransfer)); }}>
				<p>Drop a bundle here, its folder or its ZIP, and the public keys of those who must have signed it.</p>
				<Choose id="files" multiple onFiles={add}>Choose files…</Choose>
				<Choose id="folder" folder onFiles={add}>Choose a folder…</Choose>
				{found.bundle && <p>Bundle: <b>{found.bundle.name}</b></p>}
				<button type="button" id="forget" onClick={() => { setFound({ keys: [] }); setPasted(""); setState({ at: "ready" }); }}>Forget all</button>
				{found.keys.length > 0 && <ul>{found.keys.map((k) => <li>Key: {k.path}</li>)}</ul>}
			</div>
			<details>
				<summary>Options</summary>
				<p><label><input type="checkbox" id="rederive" checked={rederive} onChange={(e) => setRederive(e.currentTarget.checked)} /> Make every table again from the packets, and compare</label></p>
				<p><label>A public key or certificate: PEM, or a line in OpenSSH format
					<textarea id="pasted" rows={4} value={pasted} onInput={(e) => setPasted(e.currentTarget.value)} spellcheck={false} /></label></p>
			</details>
			<p>
				{state.at === "running" ? <button type="button" id="cancel" onClick={cancel}>Cancel</button>
					: <button type="button" id="check" disabled={busy || !found.bundle} onClick={() => void check()}>Check</button>}
			</p>
			<Result state={state} name={found.bundle?.name ?? ""} />
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

function Result({ state, name }: { state: State; name: string }) {
	switch (state.at) {
		case "loading":
			return <p role="status">Loading the program…</p>;
		case "ready":
			return null;
		case "failed":
			return <p class="problem" role="alert">{state.problem}</p>;
		case "running": {
			const p = state.progress;
			return <div role="status"><p>{p?.text ?? "Starting…"}</p>{p && p.total > 0 ? <progress max={p.total} value={p.done} /> : <progress />}</div>;
		}
		case "done": {
			const { ended, words } = state, verdict = headline(ended.code);
			const report = `${verdict}: ${name}\n\n${ended.out}${ended.err}${words && `in words ${words}\n`}`;
			return (
				<section aria-label="Result">
					<p class={ended.code === 0 ? "verdict" : "verdict bad"} role="status">{verdict}</p>
					<div class="lines" id="lines">{(ended.out + ended.err).trimEnd().split("\n").map((l) => <div class={lineClass(l)}>{l}</div>)}</div>
					{words && <p>The fingerprint in words, to compare with the cover sheet: <span class="words" id="words">{words}</span></p>}
					<p><button type="button" onClick={() => save(name + ".check.txt", report)}>Save this report</button><button type="button" onClick={() => print()}>Print</button></p>
				</section>
			);
		}
	}
}

addEventListener("dragover", (e) => e.preventDefault());
addEventListener("drop", (e) => e.preventDefault()); // beside the place for it, a browser would open the file
render(<Viewer />, document.getElementById("viewer")!);
