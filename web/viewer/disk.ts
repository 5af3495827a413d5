// The files that Go's package os sees in a tab: a tree in memory. What the user dropped stays in the browser's files and is
// read in pieces; what the program writes is kept in memory. A tree belongs to one run, and is gone with its worker.

// Only workers have it, and the type checker knows one kind of scope.
declare class FileReaderSync {
	readAsArrayBuffer(blob: Blob): ArrayBuffer;
}

/** Node is a file or a folder. */
type Node = {
	readonly ino: number;
	readonly children?: Map<string, Node>; // of a folder
	blob?: Blob; // a dropped file, which is only read
	data: Uint8Array; // of a file without blob: size bytes are used
	size: number;
	mode: number;
	changed: number; // ms since 1970
};

type Open = { node: Node; at: number; append: boolean; from: number; ahead?: Uint8Array };

type Done = (err: Error | null, value?: unknown) => void;

const constants = { O_RDONLY: 0, O_WRONLY: 1, O_RDWR: 2, O_CREAT: 0o100, O_EXCL: 0o200, O_TRUNC: 0o1000, O_APPEND: 0o2000, O_DIRECTORY: 0o200000 };

const folderMode = 0o040755, fileMode = 0o100644;

/** piece is how much of a dropped file is read at once. */
const piece = 1 << 20;

/** failure is an error with one of Go's names of errors. */
const failure = (code: string): Error => Object.assign(new Error(code), { code });

const empty = new Uint8Array();

/** Disk is the file system of one run. write receives what the program prints, by number of the stream. */
export class Disk {
	private count = 1;
	private next = 10; // numbers of open files
	private readonly open = new Map<number, Open>();
	private readonly root = this.folder();
	private readonly reader = new FileReaderSync();
	/** used is how many bytes the program has written and not removed. */
	used = 0;

	/** most limits used. */
	constructor(private readonly print: (stream: number, bytes: Uint8Array) => void, private readonly most: number, readonly working: string) {}

	private folder(): Node {
		return { ino: this.count++, children: new Map(), data: empty, size: 0, mode: folderMode, changed: 0 };
	}

	/** parts are the names in a path, which is absolute or in the working folder. */
	private parts(path: string): string[] {
		const list: string[] = [];
		for (const name of (path.startsWith("/") ? path : this.working + "/" + path).split("/")) {
			if (name === "..") list.pop();
			else if (name !== "" && name !== ".") list.push(name);
		}
		return list;
	}

	private walk(names: string[]): Node {
		let node = this.root;
		for (const name of names) {
			if (!node.children) throw failure("ENOTDIR");
			const below = node.children.get(name);
			if (!below) throw failure("ENOENT");
			node = below;
		}
		return node;
	}

	private find(path: string): Node {
		return this.walk(this.parts(path));
	}

	/** place is the folder that a path is in, and its name there. */
	private place(path: string): { in: Map<string, Node>; name: string } {
		const names = this.parts(path), name = names.pop();
		if (name === undefined) throw failure("EEXIST");
		const folder = this.walk(names);
		if (!folder.children) throw failure("ENOTDIR");
		return { in: folder.children, name };
	}

	/** add puts a dropped file at a path, and makes its folders. */
	add(path: string, blob: Blob): void {
		const names = this.parts(path), last = names.pop() ?? "";
		let node = this.root;
		for (const name of names) {
			let below = node.children!.get(name);
			if (!below) node.children!.set(name, (below = this.folder()));
			if (!below.children) throw failure("ENOTDIR");
			node = below;
		}
		node.children!.set(last, { ino: this.count++, blob, data: empty, size: blob.size, mode: fileMode, changed: 0 });
	}

	/** text is the content of a file that the program wrote. */
	bytes(path: string): Uint8Array {
		const node = this.find(path);
		return node.data.subarray(0, node.size);
	}

	private stat(node: Node) {
		const folder = node.children !== undefined;
		return { dev: 1, ino: node.ino, mode: node.mode, nlink: 1, uid: 0, gid: 0, rdev: 0, size: node.size, blksize: 4096, blocks: Math.ceil(node.size / 512),
			atimeMs: node.changed, mtimeMs: node.changed, ctimeMs: node.changed, isDirectory: () => folder };
	}

	private opened(fd: number): Open {
		const f = this.open.get(fd);
		if (!f) throw failure("EBADF");
		return f;
	}

	private resize(node: Node, size: number): void {
		if (node.blob) throw failure("EROFS");
		if (this.used + size - node.size > this.most) throw failure("ENOSPC");
		if (size > node.data.length) {
			const more = new Uint8Array(Math.max(size, Math.min(node.data.length * 2, node.data.length + (32 << 20)), 512));
			more.set(node.data.subarray(0, node.size));
			node.data = more;
		}
		if (size < node.size) node.data.fill(0, size, node.size);
		this.used += size - node.size;
		node.size = size;
	}

	private drop(node: Node): void {
		if (node.blob) return;
		this.used -= node.size;
		node.size = 0;
		node.data = empty;
	}

	private read(f: Open, into: Uint8Array, at: number): number {
		const n = Math.max(0, Math.min(into.length, f.node.size - at));
		if (n === 0) return 0;
		if (!f.node.blob) {
			into.set(f.node.data.subarray(at, at + n));
			return n;
		}
		if (n >= piece) {
			into.set(new Uint8Array(this.reader.readAsArrayBuffer(f.node.blob.slice(at, at + n))));
			return n;
		}
		if (!f.ahead || at < f.from || at + n > f.from + f.ahead.length) {
			f.from = at;
			f.ahead = new Uint8Array(this.reader.readAsArrayBuffer(f.node.blob.slice(at, at + piece)));
			if (f.ahead.length < n) throw failure("EIO"); // the file became shorter
		}
		into.set(f.ahead.subarray(at - f.from, at - f.from + n));
		return n;
	}

	private write(f: Open, from: Uint8Array, at: number): number {
		if (at + from.length > f.node.size) this.resize(f.node, at + from.length);
		else if (f.node.blob) throw failure("EROFS");
		f.node.data.set(from, at);
		return from.length;
	}

	private make(path: string, mode: number): Node {
		const p = this.place(path);
		const node: Node = { ino: this.count++, data: empty, size: 0, mode: 0o100000 | (mode & 0o777), changed: 0 };
		p.in.set(p.name, node);
		return node;
	}

	private look(path: string): Node | undefined {
		try {
			return this.find(path);
		} catch (err) {
			if ((err as { code?: string }).code === "ENOENT") return undefined;
			throw err;
		}
	}

	/** fs is what Go calls: the part of Node's module fs that it uses. */
	fs(): Record<string, unknown> {
		const answer = <A extends unknown[]>(act: (...args: A) => unknown) => (...args: [...A, Done]) => {
			const done = args.pop() as Done;
			let value: unknown;
			try {
				value = act(...(args as unknown as A));
			} catch (err) {
				done((err as { code?: string }).code ? (err as Error) : failure("EIO"));
				return;
			}
			done(null, value);
		};
		const nothing = answer(() => undefined);
		return {
			constants,
			writeSync: (fd: number, bytes: Uint8Array) => (this.print(fd, bytes.slice()), bytes.length),
			open: answer((path: string, flags: number, mode: number) => {
				let node = this.look(path);
				if (node && flags & constants.O_CREAT && flags & constants.O_EXCL) throw failure("EEXIST");
				if (!node && !(flags & constants.O_CREAT)) throw failure("ENOENT");
				const writes = (flags & 3) !== 0;
				if (node?.children && writes) throw failure("EISDIR");
				if (node && !node.children && flags & constants.O_DIRECTORY) throw failure("ENOTDIR");
				node ??= this.make(path, mode);
				if (writes && node.blob) throw failure("EROFS");
				if (flags & constants.O_TRUNC && writes) this.resize(node, 0);
				this.open.set(this.next, { node, at: 0, append: (flags & constants.O_APPEND) !== 0, from: 0 });
				return this.next++;
			}),
			close: answer((fd: number) => void this.open.delete(fd)),
			read: answer((fd: number, into: Uint8Array, offset: number, length: number, position: number | null) => {
				if (fd === 0) return 0;
				const f = this.opened(fd);
				if (f.node.children) throw failure("EISDIR");
				const n = this.read(f, into.subarray(offset, offset + length), position ?? f.at);
				if (position === null) f.at += n;
				return n;
			}),
			write: answer((fd: number, from: Uint8Array, offset: number, length: number, position: number | null) => {
				const bytes = from.subarray(offset, offset + length);
				if (fd === 1 || fd === 2) {
					this.print(fd, bytes.slice());
					return length;
				}
				const f = this.opened(fd);
				const n = this.write(f, bytes, f.append ? f.node.size : position ?? f.at);
				if (position === null) f.at += n;
				return n;
			}),
			stat: answer((path: string) => this.stat(this.find(path))),
			lstat: answer((path: string) => this.stat(this.find(path))),
			fstat: answer((fd: number) => this.stat(this.opened(fd).node)),
			readdir: answer((path: string) => {
				const node = this.find(path);
				if (!node.children) throw failure("ENOTDIR");
				return [...node.children.keys()];
			}),
			mkdir: answer((path: string, mode: number) => {
				const p = this.place(path);
				if (p.in.has(p.name)) throw failure("EEXIST");
				const node = this.folder();
				node.mode = 0o040000 | (mode & 0o777);
				p.in.set(p.name, node);
			}),
			unlink: answer((path: string) => {
				const p = this.place(path), node = this.find(path);
				if (node.children) throw failure("EISDIR");
				p.in.delete(p.name);
				this.drop(node);
			}),
			rmdir: answer((path: string) => {
				const p = this.place(path), node = this.find(path);
				if (!node.children) throw failure("ENOTDIR");
				if (node.children.size > 0) throw failure("ENOTEMPTY");
				p.in.delete(p.name);
			}),
			rename: answer((from: string, to: string) => {
				const node = this.find(from), old = this.look(to), a = this.place(from), b = this.place(to);
				if (node === old) return;
				if (old?.children && old.children.size > 0) throw failure("ENOTEMPTY");
				if (old) this.drop(old);
				a.in.delete(a.name);
				b.in.set(b.name, node);
			}),
			ftruncate: answer((fd: number, size: number) => this.resize(this.opened(fd).node, size)),
			truncate: answer((path: string, size: number) => this.resize(this.find(path), size)),
			chmod: answer((path: string, mode: number) => {
				const node = this.find(path);
				node.mode = (node.mode & ~0o777) | (mode & 0o777);
			}),
			fchmod: answer((fd: number, mode: number) => {
				const node = this.opened(fd).node;
				node.mode = (node.mode & ~0o777) | (mode & 0o777);
			}),
			readlink: answer(() => {
				throw failure("EINVAL"); // there are no links
			}),
			link: answer(() => {
				throw failure("ENOSYS");
			}),
			symlink: answer(() => {
				throw failure("ENOSYS");
			}),
			fsync: nothing, utimes: nothing, chown: nothing, fchown: nothing, lchown: nothing,
		};
	}

	/** process and path are the other two objects that Go uses. */
	process(): Record<string, unknown> {
		const zero = () => 0;
		return { getuid: zero, getgid: zero, geteuid: zero, getegid: zero, getgroups: () => [], pid: 1, ppid: 0, umask: () => 0o022, cwd: () => this.working, chdir: () => { throw failure("ENOSYS"); } };
	}

	path(): Record<string, unknown> {
		return { resolve: (...list: string[]) => "/" + this.parts(list.join("/")).join("/") };
	}
}
