// The worker of the viewer: it runs one command of the program at a time, in WebAssembly, while the page stays alive. Go's
// wasm_exec.js is before this text (web/bundler).
import { decompress } from "fzstd";
import { blocks } from "./blocks";
import { Disk } from "./disk";

/** Job is what the page asks for. The worker ends with the job: the page starts another one for the next. */
export type Job = {
	module: WebAssembly.Module;
	args: string[];
	files: { path: string; blob: Blob }[];
	keep: string[]; // files that the program writes and the page wants
	most: number; // bytes that the program may write
};

/** Question is what the page asks a program that reads a bundle: an address of the REST paths. */
export type Question = { id: number; address: string; body: string };

/** Reply is its answer; status is as in HTTP. */
export type Reply = { id: number; status: number; type: string; body: Uint8Array };

/** Said is what the worker says: progress, and once the end. */
export type Said =
	| { progress: { done: number; total: number; text: string } }
	| { ended: { code: number; out: string; err: string; files: Record<string, Uint8Array> } }
	| { module: WebAssembly.Module }
	| { reading: true }
	| { reply: Reply }
	| { problem: string };

/** Asked is how the program is asked once it reads a bundle. */
type Asked = (address: string, body: string, done: (status: number, type: string, body: Uint8Array) => void) => void;

let asked: Asked | undefined;

declare class Go {
	argv: string[];
	env: Record<string, string>;
	exit: (code: number) => void;
	importObject: WebAssembly.Imports;
	run(instance: WebAssembly.Instance): Promise<void>;
}

const say = (m: Said) => (postMessage as (m: Said) => void)(m);

/** progressPath is a file that the program writes its progress to, one line of JSON each time. */
const progressPath = "/progress";

/** unpacked decodes the text of the program in the page: base 85 of a zstd. */
function unpacked(text: string): Promise<WebAssembly.Module> {
	const n = Math.floor(text.length / 5), packed = new Uint8Array(n * 4);
	const value = new Uint8Array(128);
	for (let d = 0; d < 85; d++) value[letter(d)] = d;
	for (let i = 0, at = 0; i < n; i++) {
		let v = 0;
		for (let k = 0; k < 5; k++) v = v * 85 + value[text.charCodeAt(i * 5 + k)]!;
		packed[at++] = v >>> 24;
		packed[at++] = v >>> 16;
		packed[at++] = v >>> 8;
		packed[at++] = v;
	}
	// The first four bytes are the length, because groups are whole.
	const size = new DataView(packed.buffer).getUint32(0);
	return WebAssembly.compile(decompress(packed.subarray(4, 4 + size)) as BufferSource);
}

/** letter is the character of a digit: printable, but neither < nor &. */
function letter(d: number): number {
	const c = 35 + d;
	return c === 60 ? 121 : c === 38 ? 122 : c;
}

/** lines joins what the program prints, as text. */
class Printed {
	private readonly decoder = new TextDecoder();
	text = "";
	add(bytes: Uint8Array) {
		this.text += this.decoder.decode(bytes, { stream: true });
	}
}

async function run(job: Job): Promise<void> {
	const printed: Record<number, Printed> = { 1: new Printed(), 2: new Printed() };
	const disk = new Disk((stream, bytes) => printed[stream]?.add(bytes), job.most, "/in");
	for (const f of job.files) disk.add(f.path, f.blob);
	const fs = disk.fs();
	for (const folder of ["/tmp", "/in", "/out"]) (fs.mkdir as (path: string, mode: number, done: () => void) => void)(folder, 0o755, () => undefined);
	// Progress needs no file: what is written to it is said at once.
	const open = fs.open as (...args: unknown[]) => void, write = fs.write as (...args: unknown[]) => void, meter = 3;
	fs.open = (path: string, flags: number, mode: number, done: (err: null, fd: number) => void) => (path === progressPath ? done(null, meter) : open(path, flags, mode, done));
	fs.write = (fd: number, bytes: Uint8Array, offset: number, length: number, position: number | null, done: (err: null, n: number) => void) => {
		if (fd !== meter) return write(fd, bytes, offset, length, position, done);
		say({ progress: JSON.parse(new TextDecoder().decode(bytes.subarray(offset, offset + length))) });
		done(null, length);
	};
	const pcapsuleReady = (f: Asked) => {
		asked = f;
		say({ reading: true });
	};
	Object.assign(globalThis, { fs, process: disk.process(), path: disk.path(), pcapsuleReady, pcapsuleBlocks: await blocks() });
	const go = new Go();
	go.argv = ["pcapsule-viewer", ...job.args];
	go.env = { TMPDIR: "/tmp", HOME: "/", PCAPSULE_PROGRESS: progressPath };
	let code = 0;
	go.exit = (n) => void (code = n);
	await go.run(await WebAssembly.instantiate(job.module, go.importObject));
	const files: Record<string, Uint8Array> = {};
	for (const path of job.keep) {
		try {
			files[path] = disk.bytes(path).slice();
		} catch {
			// The program did not get as far as to write it.
		}
	}
	say({ ended: { code, out: printed[1]!.text, err: printed[2]!.text, files } });
}

onmessage = (e: MessageEvent<{ program: string } | Job | Question>) => {
	if ("address" in e.data) {
		const { id, address, body } = e.data;
		asked?.(address, body, (status, type, bytes) => say({ reply: { id, status, type, body: bytes } }));
		return;
	}
	const work = "program" in e.data ? unpacked(e.data.program).then((module) => say({ module })) : run(e.data);
	work.catch((err: unknown) => say({ problem: String(err) }));
};
