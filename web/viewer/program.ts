import type { Job, Said } from "./worker";

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

	cancel(): void {
		this.running?.worker.terminate();
		this.running?.stop(new Error("canceled"));
		this.running = undefined;
	}
}

/** crashed says what a person can do about a program that ended on its own. */
function crashed(what: string): string {
	const memory = /out of memory|allocation|RangeError/i.test(what);
	return (memory ? "The memory of this tab does not suffice" : "The program ended with an error of its own") + ". Use the program pcapsule instead: pcapsule verify. It said: " + (what.split("\n", 1)[0] ?? "").slice(0, 300);
}

declare const trustedTypes: { createPolicy(name: string, rules: { createScriptURL(s: string): string }): { createScriptURL(s: string): string } } | undefined;

let trusted: { createScriptURL(s: string): string } | undefined;

/** start starts the one script that a worker may be. */
function start(address: string): Worker {
	if (typeof trustedTypes !== "undefined") trusted ??= trustedTypes.createPolicy("pcapsule", { createScriptURL: (s) => (s === address ? s : "") });
	return new Worker(trusted ? trusted.createScriptURL(address) : address);
}
