// Client asks the REST paths. The token, if there is one, is in the memory of this tab only.
const key = "pcapsule-token";
let token = "";

// adopt takes the token from the address and removes it there, so that a copied address or the
// history does not have it.
export function adopt(): void {
  const p = new URLSearchParams(location.hash.slice(1));
  const found = p.get("token");
  if (found) {
    sessionStorage.setItem(key, found);
    p.delete("token");
    history.replaceState(null, "", location.pathname + (p.size ? "#" + p.toString() : ""));
  }
  token = sessionStorage.getItem(key) ?? "";
}

export function authorize(secret: string): void {
  token = secret;
  sessionStorage.setItem(key, secret);
}

// Problem is an answer that is not one, in words for people.
export class Problem extends Error {
  constructor(
    readonly status: number,
    text: string,
  ) {
    super(text);
  }
}

type Value = string | number | undefined;

export async function get<T>(path: string, query: Record<string, Value>, signal?: AbortSignal): Promise<T> {
  const p = new URLSearchParams();
  for (const [name, v] of Object.entries(query)) if (v !== undefined && v !== "") p.set(name, String(v));
  return (await send(path + (p.size ? "?" + p.toString() : ""), { signal: signal ?? null })).json() as Promise<T>;
}

export async function post<T>(path: string, body: Record<string, unknown>, signal?: AbortSignal): Promise<T> {
  const filled = Object.fromEntries(Object.entries(body).filter(([, v]) => v !== undefined && v !== ""));
  return (await send(path, { method: "POST", body: JSON.stringify(filled), signal: signal ?? null })).json() as Promise<T>;
}

// download saves an answer as a file.
export async function download(path: string, name: string): Promise<void> {
  const url = URL.createObjectURL(await (await send(path, {})).blob());
  const a = document.createElement("a");
  a.href = url;
  a.download = name;
  a.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

let waiting = 0;

// send asks, and marks the page as busy meanwhile.
async function send(path: string, init: RequestInit): Promise<Response> {
  waiting++;
  document.body.ariaBusy = "true";
  try {
    return await ask(path, init);
  } finally {
    // The answer is still to be read and drawn.
    setTimeout(() => {
      if (--waiting === 0) document.body.ariaBusy = "false";
    }, 50);
  }
}

async function ask(path: string, init: RequestInit): Promise<Response> {
  const headers: Record<string, string> = { "Content-Type": "application/json" };
  if (token) headers["Authorization"] = "Bearer " + token;
  let r: Response;
  try {
    r = await fetch(path, { ...init, headers, credentials: "omit", cache: "no-store" });
  } catch (e) {
    if (e instanceof DOMException && e.name === "AbortError") throw e;
    throw new Problem(0, "The server does not answer. Start it again with pcapsule open, then retry.");
  }
  if (r.ok) return r;
  if (r.status === 401) throw new Problem(401, "This server needs a token, or the token is no longer valid.");
  let text = `The server answered with status ${r.status}.`;
  try {
    const said = ((await r.json()) as { error?: unknown }).error;
    if (typeof said === "string") text = said;
  } catch {
    // not JSON: the status is all that there is to say
  }
  throw new Problem(r.status, text);
}

// between returns the arguments of questions for a time range.
export function between(time: readonly [number, number] | null): { from?: string; to?: string } {
  return time ? { from: new Date(time[0]).toISOString(), to: new Date(time[1]).toISOString() } : {};
}
