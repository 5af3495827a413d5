// Numbers and times as people read them.

// wording returns the words for names that are shown, each name itself if it has none. A plain
// object would have words for "constructor" and "__proto__", too, which a capture can contain.
export function wording(words: Record<string, string>): (name: string) => string {
  const known = new Map(Object.entries(words));
  return (name) => known.get(name) ?? name;
}

export function count(n: number): string {
  return n.toLocaleString("en-US");
}

// plural returns "1 call" or "2 calls".
export function plural(n: number, one: string, many: string = one + "s"): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return "";
  if (ms < 1) return `${round(ms * 1000)} µs`;
  if (ms < 1000) return `${round(ms)} ms`;
  if (ms < 120_000) return `${round(ms / 1000)} s`;
  if (ms < 7_200_000) return `${round(ms / 60_000)} min`;
  return ms < 172_800_000 ? `${round(ms / 3_600_000)} h` : `${round(ms / 86_400_000)} days`;
}

export function bytes(n: number | null | undefined): string {
  if (n === null || n === undefined) return "";
  if (n < 1000) return `${n} B`;
  if (n < 1e6) return `${round(n / 1e3)} kB`;
  if (n < 1e9) return `${round(n / 1e6)} MB`;
  return `${round(n / 1e9)} GB`;
}

function round(n: number): string {
  return n >= 100 ? n.toFixed(0) : n >= 10 ? n.toFixed(1).replace(/\.0$/, "") : n.toFixed(2).replace(/\.?0+$/, "");
}

// rate returns a number with at most three digits, or a whole one.
export function rate(n: number): string {
  return n >= 100 ? count(Math.round(n)) : String(Number(n.toPrecision(3)));
}

export function percent(part: number, all: number): string {
  return all ? `${round((100 * part) / all)} %` : "";
}

let begin = 11; // of what clock returns, in a time of ISO 8601

// dated makes clock return the date, too, if what is open has packets of several days, and the year if of several years.
// It reports whether it does.
export function dated(all: readonly [number, number] | null): boolean {
  const [from, to] = all ? [day(all[0]), day(all[1])] : ["", ""];
  begin = from === to ? 11 : from.slice(0, 4) === to.slice(0, 4) ? 5 : 0;
  return begin < 11;
}

// clock returns the UTC time of day, to the millisecond or to the given part.
export function clock(ms: number, digits = 3): string {
  const text = new Date(ms).toISOString();
  return text.slice(begin, digits ? 20 + digits : 19).replace("T", " ");
}

export function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

// short returns a time of an answer (RFC 3339) as clock does.
export function short(stamp: string | undefined): string {
  const at = Date.parse(stamp ?? "");
  return Number.isNaN(at) ? "" : clock(at);
}

// pretty indents JSON; other text stays as it is.
export function pretty(text: string): string {
  if (!/^\s*[[{]/.test(text) || text.length > 1 << 20) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

// fields writes fields of protobuf, {1: "a", 2: {3: 4}}, on a line each.
export function fields(text: string): string {
  let out = "";
  let deep = 0;
  for (const [part] of text.matchAll(/\[[^\]"{}]*\]|"(?:[^"\\]|\\.)*"?|[{}]|, |[^"{},[]+|[[,]/g)) {
    if (part === "{") out += "{" + line(++deep);
    else if (part === "}") out += line((deep = Math.max(0, deep - 1))) + "}";
    else if (part === ", ") out += line(deep);
    else out += part;
  }
  return out.replace(/\{\s+\}/g, "{}");
}

function line(deep: number): string {
  return "\n" + "  ".repeat(Math.min(deep, 20));
}

// dump writes bytes, given in hexadecimal, as 16 on a line with their characters.
export function dump(hex: string): string {
  return (hex.match(/.{1,32}/g) ?? []).map((row, i) => {
    const list = row.match(/../g) ?? [];
    const plain = list.map((x) => (/^[2-6]|^7[0-9a-e]/.test(x) ? String.fromCharCode(parseInt(x, 16)) : ".")).join("");
    return `${(16 * i).toString(16).padStart(4, "0")}  ${list.join(" ").padEnd(47)}  ${plain}`;
  }).join("\n");
}

// form writes the members of a form on a line each.
export function form(text: string): string {
  return text.split("&").map((pair) => {
    const [name = "", ...value] = pair.split("=");
    const plain = (x: string): string => {
      try {
        return decodeURIComponent(x.replaceAll("+", " "));
      } catch {
        return x;
      }
    };
    return `${plain(name)} = ${plain(value.join("="))}`;
  }).join("\n");
}

// brief leaves out the end that all names of a Kubernetes cluster's services have.
export function brief(name: string): string {
  return name.replace(/\.svc\.cluster\.local$/, "");
}

// visible replaces characters that control a display or its direction of writing by their names, so
// that captured text cannot look like something else.
export function visible(text: string): string {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g, (c) => `\u27e8U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}\u27e9`);
}
