// Saved filters and the history of the filter box, in the memory of this browser for this address.

export type Saved = { saved: string[]; recent: string[] };

const key = "pcapsule-filters";
const most = 30;

// place is where filters are kept: nowhere, for a document without an origin.
export function place(): Pick<Storage, "getItem" | "setItem"> {
  try {
    return localStorage;
  } catch {
    return { getItem: () => null, setItem: () => undefined };
  }
}

// read returns what is stored. Whatever else is there counts as nothing.
export function read(store: Pick<Storage, "getItem">): Saved {
  try {
    const v = (JSON.parse(store.getItem(key) ?? "{}") ?? {}) as { saved?: unknown; recent?: unknown };
    const texts = (x: unknown): string[] => (Array.isArray(x) ? x.filter((t): t is string => typeof t === "string" && t.length > 0 && t.length <= 10_000).slice(0, most) : []);
    return { saved: texts(v.saved), recent: texts(v.recent) };
  } catch {
    return { saved: [], recent: [] };
  }
}

// write stores a value; a browser that refuses to keep anything is no problem.
export function write(store: Pick<Storage, "setItem">, v: Saved): void {
  try {
    store.setItem(key, JSON.stringify(v));
  } catch {
    // full, or switched off
  }
}

// used puts a filter first in the history.
export function used(v: Saved, kfl: string): Saved {
  return kfl ? { ...v, recent: [kfl, ...v.recent.filter((x) => x !== kfl)].slice(0, most) } : v;
}

// toggled saves a filter, or removes it if it is saved.
export function toggled(v: Saved, kfl: string): Saved {
  if (!kfl) return v;
  return { ...v, saved: v.saved.includes(kfl) ? v.saved.filter((x) => x !== kfl) : [kfl, ...v.saved].slice(0, most) };
}
