// Reports and cover sheets that came with a bundle. They are documents of the sender: the tab shows or saves them as they are.
import { h } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { count, visible } from "../src/format";
import { quoted, Same, T } from "../src/parts";
import type { Dropped } from "./dropped";
import { still } from "./trusted";

/** mostShown is how long a report may be that a tab shows, in bytes. */
const mostShown = 32 << 20;

const nameOf = (f: Dropped): string => f.path.split("/").pop() ?? f.path;

const shows = (f: Dropped): boolean => /\.(html?|md|txt|csv|json|jsonld)$/i.test(f.path) && f.blob.size <= mostShown;

function save(f: Dropped): void {
	const a = document.createElement("a");
	a.href = URL.createObjectURL(new Blob([f.blob], { type: "application/octet-stream" }));
	a.download = nameOf(f);
	a.click();
	setTimeout(() => URL.revokeObjectURL(a.href), 60_000);
}

export function Reports({ list, name }: { list: Dropped[]; name: string }) {
	const [shown, show] = useState<Dropped | null>(null);
	return (
		<section class="reports">
			<p>These files came with the bundle. The sender wrote them: this tab shows what they say, and has not compared it with the packets.</p>
			<table>
				<thead><tr><th>file</th><th class="n">bytes</th><th /></tr></thead>
				<tbody>{list.map((f) => (
					<tr key={f.path}><td><T>{nameOf(f)}</T></td><td class="n">{count(f.blob.size)}</td>
						<td>{shows(f) ? <button type="button" class="show" aria-pressed={shown === f} onClick={() => show(shown === f ? null : f)}>{shown === f ? "Close" : "Show"}</button> : null}<button type="button" onClick={() => save(f)}>Save</button></td></tr>
				))}</tbody>
			</table>
			{list.some((f) => f.path.endsWith(".age")) ? <p class="quiet">What ends in .age is encrypted, and no given key or passphrase opens it.</p> : null}
			<Same what="Every figure of a report compared with the bundle: " command={`pcapsule report verify REPORT ${quoted(name)}`} />
			{shown ? <Shown key={shown.path} of={shown} /> : null}
		</section>
	);
}

/** Shown is a document: a page in a frame without scripts and connections, or text. */
function Shown({ of }: { of: Dropped }) {
	const [text, set] = useState("");
	const frame = useRef<HTMLIFrameElement>(null);
	const page = /\.html?$/i.test(of.path);
	useEffect(() => {
		of.blob.text().then((t) => {
			if (page && frame.current) frame.current.srcdoc = still(t);
			else set(t);
		}, (err: unknown) => set(String(err)));
	}, []);
	return page ? <iframe ref={frame} class="document" sandbox="" title={nameOf(of)} /> : <pre class="document">{visible(text)}</pre>;
}
