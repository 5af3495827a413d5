// SHA-256 of whole blocks in WebAssembly that C was compiled to. Go's own code for WebAssembly takes fourteen times as long.
import { createSHA256 } from "hash-wasm";

/** Blocks continues a SHA-256: it changes state, of 32 bytes, by data, which has whole blocks of 64 bytes. */
export type Blocks = (state: Uint8Array, data: Uint8Array) => void;

// Of what hash-wasm saves (lib/WASMInterface.ts and src/sha256.c): an identifier, the rest of a block, the number of bytes, then the state as
// eight numbers, least significant byte first.
const lengthAt = 4 + 64;
const stateAt = lengthAt + 8;

export async function blocks(): Promise<Blocks> {
	const hash = (await createSHA256()).init();
	const saved = hash.save(), view = new DataView(saved.buffer, saved.byteOffset, saved.byteLength);
	return (state, data) => {
		const words = new DataView(state.buffer, state.byteOffset, state.byteLength);
		view.setBigUint64(lengthAt, 0n);
		for (let i = 0; i < 8; i++) view.setUint32(stateAt + 4 * i, words.getUint32(4 * i), true);
		const after = hash.load(saved).update(data).save();
		const said = new DataView(after.buffer, after.byteOffset, after.byteLength);
		for (let i = 0; i < 8; i++) words.setUint32(4 * i, said.getUint32(stateAt + 4 * i, true));
	};
}
