// Extent is a part of a packet that has a name: a layer or a field.
export type Extent = { id: string; start: number; end: number };

// fieldAt returns the smallest field with a byte.
export function fieldAt(fields: Extent[], at: number): Extent | null {
  let best: Extent | null = null;
  for (const f of fields) if (f.start <= at && at < f.end && (!best || f.end - f.start < best.end - best.start)) best = f;
  return best;
}

// segments divides the bytes from from on into those before, in and after a mark.
export function segments(from: number, size: number, mark: Extent | null): { start: number; end: number; marked: boolean }[] {
  const end = from + size;
  const a = Math.min(end, Math.max(from, mark?.start ?? end));
  const b = Math.min(end, Math.max(a, mark?.end ?? end));
  return [{ start: from, end: a, marked: false }, { start: a, end: b, marked: !!mark }, { start: b, end, marked: false }].filter((s) => s.end > s.start);
}
