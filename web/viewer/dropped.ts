/** Dropped is a file with its path below what was dropped, such as incident.pcapsule/data/bundle.json. */
export type Dropped = { path: string; blob: Blob };

/** Found is what the dropped files are. */
export type Found = { bundle?: { name: string; files: Dropped[] }; keys: Dropped[] };

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

/** collect adds files to what was found before: a bundle replaces the one before, keys add up. */
export async function collect(files: Dropped[], before: Found): Promise<Found> {
	const found: Found = { ...before, keys: [...before.keys] };
	const folders = files.filter((f) => f.path.includes("/"));
	const bag = folders.map((f) => /^([^/]+)\/(bagit\.txt|manifest-sha256\.txt|data\/bundle\.json)$/.exec(f.path)?.[1]).find((name) => name !== undefined);
	if (bag !== undefined) found.bundle = { name: bag, files: folders.filter((f) => f.path.startsWith(bag + "/")) };
	let other = bag === undefined && folders.length > 0 ? folders[0]!.path.split("/", 1)[0]! : "";
	for (const f of files) {
		if (f.path.includes("/")) continue;
		const start = new Uint8Array(await f.blob.slice(0, 64).arrayBuffer()), text = new TextDecoder("latin1").decode(start);
		if (text.startsWith("PK\x03\x04") || text.startsWith("PK\x05\x06")) found.bundle = { name: f.path, files: [f] };
		else if (f.blob.size < 1 << 20 && /^(-----BEGIN |ssh-|ecdsa-|sk-)/.test(text)) found.keys.push(f);
		else other ||= f.path;
	}
	if (other !== "") throw new Error(`${other} is neither a bundle, as a folder or ZIP, nor a public key.`);
	return found;
}
