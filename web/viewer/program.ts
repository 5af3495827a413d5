import { Problem } from "../src/client";
import { trusted } from "./trusted";
import type { Job, Question, Reply, Said } from "./worker";

export type Progress = { done: number; total: number; text: string };
export type Ended = { code: number; out: string; err: string; files: Record<string, Uint8Array> };

/** mostWritten is how many bytes one run may write: a bundle that is made again may be larger than what it is made of. */
const mostWritten = 2_000_000_000;

/** Program is the program, compiled. Each run has a worker and memory of its own. */
export class Program {
	private running?: { worker: Worker; stop: (err: Error) => void };

	private constructor(private readonly address: string, private readonly module: WebAssembly.Module) {}

	/** load asks the outer page for the program and compiles it. */
	static async load(): Promise<Program> {
		const given = await new Promise<{ program: string; worker: string }>((resolve) => {
			const hear = (e: MessageEvent) => {
				if (e.source !== parent) return;
				removeEventListener("message", hear);
				resolve(e.data as { program: string; worker: string });
			};
			addEventListener("message", hear);
			parent.postMessage("program", "*");
		});
		const address = URL.createObjectURL(new Blob([given.worker], { type: "text/javascript" }));
		const worker = start(address);
		try {
			return await new Promise<Program>((resolve, reject) => {
				worker.onmessage = (e: MessageEvent<Said>) => ("module" in e.data ? resolve(new Program(address, e.data.module)) : reject(new Error("problem" in e.data ? e.data.problem : "the program does not start")));
				worker.onerror = (e) => reject(new Error("the program does not start: " + e.message));
				worker.postMessage({ program: given.program });
			});
		} finally {
			worker.terminate();
		}
	}

	/** run runs one command. It fails with words if the tab's memory does not suffice. */
	async run(job: Pick<Job, "args" | "files"> & { keep?: string[] }, progress: (p: Progress) => void): Promise<Ended> {
		this.cancel();
		const worker = start(this.address);
		try {
			return await new Promise<Ended>((resolve, reject) => {
				this.running = { worker, stop: reject };
				worker.onmessage = (e: MessageEvent<Said>) => {
					if ("progress" in e.data) progress(e.data.progress);
					else if ("ended" in e.data) {
						const { code, err } = e.data.ended;
						if (code === 2 && /^(fatal error|panic|runtime)/m.test(err)) reject(new Error(crashed(err)));
						else resolve(e.data.ended);
					} else if ("problem" in e.data) reject(new Error(crashed(e.data.problem)));
				};
				worker.onerror = (e) => reject(new Error(crashed(e.message)));
				worker.postMessage({ module: this.module, args: job.args, files: job.files, keep: job.keep ?? [], most: mostWritten } satisfies Job);
			});
		} finally {
			worker.terminate();
			this.running = undefined;
		}
	}

	/** read starts a program that reads a bundle, and returns it when it is ready for questions. */
	async read(job: Pick<Job, "args" | "files">, progress: (p: Progress) => void): Promise<Reading> {
		this.cancel();
		const worker = start(this.address);
		return new Promise<Reading>((resolve, reject) => {
			const reading = new Reading(worker);
			const stop = (err: Error) => {
				worker.terminate();
				reading.end(new Problem(0, err.message));
				reject(err);
			};
			this.running = { worker, stop };
			worker.onmessage = (e: MessageEvent<Said>) => {
				if ("progress" in e.data) progress(e.data.progress);
				else if ("reading" in e.data) resolve(reading);
				else if ("reply" in e.data) reading.hear(e.data.reply);
				else if ("ended" in e.data) stop(new Error(e.data.ended.code === 2 ? crashed(e.data.ended.err, "pcapsule open") : (e.data.ended.out + e.data.ended.err).trim()));
				else if ("problem" in e.data) stop(new Error(crashed(e.data.problem, "pcapsule open")));
			};
			worker.onerror = (e) => stop(new Error(crashed(e.message, "pcapsule open")));
			worker.postMessage({ module: this.module, args: job.args, files: job.files, keep: [], most: mostWritten } satisfies Job);
		});
	}

	cancel(): void {
		this.running?.worker.terminate();
		this.running?.stop(new Error("canceled"));
		this.running = undefined;
	}
}

/** Reading is a program that answers questions about a bundle. */
export class Reading {
	private count = 0;
	private over?: Error;
	private readonly waiting = new Map<number, { resolve: (r: Response) => void; reject: (err: Error) => void }>();

	constructor(private readonly worker: Worker) {}

	/** ask asks as the page asks a server. */
	ask(address: string, init: RequestInit): Promise<Response> {
		return new Promise((resolve, reject) => {
			if (this.over) {
				reject(this.over);
				return;
			}
			const id = this.count++;
			this.waiting.set(id, { resolve, reject });
			init.signal?.addEventListener("abort", () => {
				this.waiting.delete(id);
				reject(new DOMException("canceled", "AbortError"));
			});
			this.worker.postMessage({ id, address, body: typeof init.body === "string" ? init.body : "" } satisfies Question);
		});
	}

	hear(r: Reply): void {
		this.waiting.get(r.id)?.resolve(new Response(r.body as BodyInit, { status: r.status, headers: { "Content-Type": r.type } }));
		this.waiting.delete(r.id);
	}

	end(err: Error): void {
		this.over = err;
		for (const w of this.waiting.values()) w.reject(err);
		this.waiting.clear();
	}
}

/** crashed says what a person can do about a program that ended on its own. */
function crashed(what: string, command = "pcapsule verify"): string {
	const memory = /out of memory|allocation|RangeError/i.test(what);
	return (memory ? "The memory of this tab does not suffice" : "The program ended with an error of its own") + `. Use the program pcapsule instead: ${command}. It said: ` + (what.split("\n", 1)[0] ?? "").slice(0, 300);
}

/** start starts the one script that a worker may be. */
function start(address: string): Worker {
	return new Worker(trusted.createScriptURL(address));
}
