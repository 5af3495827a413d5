// The part of hash-wasm 4.13.0 (lib/WASMInterface.ts) that is used.
export type IHasher = {
  init(): IHasher;
  update(data: Uint8Array): IHasher;
  digest(outputType: "binary"): Uint8Array;
  save(): Uint8Array;
  load(state: Uint8Array): IHasher;
};
export declare function createSHA256(): Promise<IHasher>;
