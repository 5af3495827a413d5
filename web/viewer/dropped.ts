/** Dropped is a file with its path below what was dropped, such as incident.pcapsule/data/bundle.json. */
export type Dropped = { path: string; blob: Blob };

/** Item is one thing that the viewer can work on: its name, and its files with that name before their paths. */
export type Item = { kind: "bundle" | "package" | "captures"; name: string; files: Dropped[] };

/** Found is what the dropped files are. identities are private keys that open a package. */
export type Found = { item?: Item; keys: Dropped[]; identities: Dropped[] };

/** dropped lists the files of a drop, with those in folders. */
export async function dropped(data: DataTransfer): Promise<Dropped[]> {
	const entries = [...data.items].map((i) => (i.kind === "file" ? i.webkitGetAsEntry() : null)).filter((e) => e !== null);
	const files = [...data.files];
	if (!entries.some((e) => e.isDirectory)) return files.map((f) => ({ path: f.name, blob: f }));
	const list: Dropped[] = [];
	try {
		for (const e of entries) await walk(e, list);
	} catch {
		throw new Error("This browser does not let a page from a disk read a folder that is dropped. Use Choose a folder, or drop the ZIP.");
	}
	return list;
}

/** maxFiles is above what a bundle may have. */
const maxFiles = 200_000;

async function walk(entry: FileSystemEntry, list: Dropped[]): Promise<void> {
	if (list.length > maxFiles) throw new Error("too many files");
	if (entry.isFile) {
		const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
		list.push({ path: entry.fullPath.replace(/^\//, ""), blob: file });
		return;
	}
	const reader = (entry as FileSystemDirectoryEntry).createReader();
	for (;;) {
		const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
		if (some.length === 0) return;
		for (const e of some) await walk(e, list);
	}
}

/** captureStarts are the first bytes of captures, and of gzip and zstd around them. */
const captureStarts = ["\n\r\r\n", "\xd4\xc3\xb2\xa1", "\xa1\xb2\xc3\xd4", "\x4d\x3c\xb2\xa1", "\xa1\xb2\x3c\x4d", "\x1f\x8b", "\x28\xb5\x2f\xfd"];

/** collect adds files to what was found before: a bundle, package or captures replace those before, keys add up. */
export async function collect(files: Dropped[], before: Found): Promise<Found> {
	const found: Found = { ...before, keys: [...before.keys], identities: [...before.identities] };
	const folders = files.filter((f) => f.path.includes("/")), captures: Dropped[] = [];
	const root = (pattern: RegExp) => folders.map((f) => pattern.exec(f.path)?.[1]).find((name) => name !== undefined);
	const below = (name: string) => folders.filter((f) => f.path.startsWith(name + "/"));
	const bag = root(/^([^/]+)\/(?:bagit\.txt|manifest-sha256\.txt|data\/bundle\.json)$/), handed = root(/^([^/]+)\/(?:cover\.html|cover\.jsonld|[^/]+\.pcapsule\.zip(?:\.age)?(?:\.001)?)$/);
	if (bag !== undefined) found.item = { kind: "bundle", name: bag, files: below(bag) };
	else if (handed !== undefined) found.item = { kind: "package", name: handed, files: below(handed) };
	let other = bag === undefined && handed === undefined && folders.length > 0 ? folders[0]!.path.split("/", 1)[0]! : "";
	for (const f of files) {
		if (f.path.includes("/")) continue;
		const start = new Uint8Array(await f.blob.slice(0, 2000).arrayBuffer()), text = new TextDecoder("latin1").decode(start), small = f.blob.size < 1 << 20;
		if (text.startsWith("PK\x03\x04") || text.startsWith("PK\x05\x06")) found.item = { kind: "bundle", name: f.path, files: [f] };
		else if (text.startsWith("age-encryption.org/v1\n")) found.item = { kind: "package", name: f.path, files: [f] };
		else if (small && /^AGE-SECRET-KEY-|^-----BEGIN OPENSSH PRIVATE KEY-----/m.test(text)) found.identities.push(f);
		else if (small && /^(-----BEGIN (?!.*PRIVATE)|ssh-|ecdsa-|sk-)/.test(text)) found.keys.push(f);
		else if (captureStarts.some((s) => text.startsWith(latin(s)))) captures.push(f);
		else other ||= f.path;
	}
	if (captures.length > 0) found.item = { kind: "captures", name: captures[0]!.path, files: captures };
	if (other !== "") throw new Error(`${other} is neither a bundle, as a folder or ZIP, nor a handover package, a capture or a key.`);
	return found;
}

/** latin reads bytes as TextDecoder does, in which 0x80 to 0x9f are other characters than in a string. */
const latin = (bytes: string): string => new TextDecoder("latin1").decode(Uint8Array.from(bytes, (c) => c.charCodeAt(0)));
