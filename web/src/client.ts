import { borrow, lend } from "./tabs";

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
  lend(() => token);
}

let borrowing: Promise<string> | null = null;

// borrowed is true if another tab has a token for this one.
async function borrowed(): Promise<boolean> {
  const found = await (borrowing ??= borrow());
  if (found && !token) authorize(found);
  return token !== "";
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

// scope is what all questions have in common: the data that they are about, and how often it was renewed.
const scope = { db: "", renewed: 0 };

// about sets the data that questions are about. An empty name is what is open.
export function about(db: string): void {
  scope.db = db;
}

// renew makes every view ask again.
export function renew(): void {
  scope.renewed++;
}

// epoch differs whenever the same question may have another answer.
export function epoch(): string {
  return `${scope.db} ${scope.renewed}`;
}

// withDB names the data in a question. Paths about rings and reports have no data of their own.
function withDB<V>(path: string, query: Record<string, V | string>): Record<string, V | string> {
  return scope.db && !("db" in query) && !/^\/mcp\/(data-boundaries|snapshots|reports)|^\/delayed/.test(path) ? { ...query, db: scope.db } : query;
}

type Value = string | number | undefined;

function address(path: string, query: Record<string, Value>): string {
  const p = new URLSearchParams();
  for (const [name, v] of Object.entries(withDB<Value>(path, query))) if (v !== undefined && v !== "") p.set(name, String(v));
  return path + (p.size ? "?" + p.toString() : "");
}

export async function get<T>(path: string, query: Record<string, Value>, signal?: AbortSignal): Promise<T> {
  return (await send(address(path, query), { signal: signal ?? null })).json() as Promise<T>;
}

// text returns an answer that is not JSON.
export async function text(path: string, query: Record<string, Value>, signal?: AbortSignal): Promise<string> {
  return (await send(address(path, query), { signal: signal ?? null })).text();
}

export async function post<T>(path: string, body: Record<string, unknown>, signal?: AbortSignal): Promise<T> {
  const filled = Object.fromEntries(Object.entries(withDB<unknown>(path, body)).filter(([, v]) => v !== undefined && v !== ""));
  return (await send(path, { method: "POST", body: JSON.stringify(filled), signal: signal ?? null })).json() as Promise<T>;
}

export async function blob(path: string, query: Record<string, Value>): Promise<Blob> {
  return (await send(address(path, query), {})).blob();
}

// download saves an answer as a file.
export async function download(path: string, name: string, query: Record<string, Value> = {}): Promise<void> {
  const url = URL.createObjectURL(await blob(path, query));
  const a = document.createElement("a");
  a.href = url;
  a.download = name;
  a.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

// base is the path of what this page is about: on a hub, a snapshot has a page of its own.
export const base = globalThis.location?.pathname.startsWith("/v1/") ? location.pathname.replace(/\/$/, "") : "";

// answers is what answers: a server, unless another part of this page does.
let answers: (path: string, init: RequestInit) => Promise<Response> = (path, init) => fetch(base + path, init);

// answeredBy makes another part of this page answer all questions.
export function answeredBy(f: typeof answers): void {
  answers = f;
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
    r = await answers(path, { ...init, headers, credentials: "omit", cache: "no-store" });
  } catch (e) {
    if (e instanceof Problem || (e instanceof DOMException && e.name === "AbortError")) throw e;
    throw new Problem(0, "The server does not answer. If it ended, start it again with the same --addr, then retry. Filter and selected time stay in the address.");
  }
  if (r.ok) return r;
  if (r.status === 401 && !token && (await borrowed())) return ask(path, init);
  if (r.status === 401) {
    dispatchEvent(new Event(refused));
    throw new Problem(401, "This server needs a token, or the token is no longer valid.");
  }
  let text = `The server answered with status ${r.status}.`;
  const body = await r.text();
  if (r.headers.get("Content-Type")?.startsWith("text/plain") && body.length < 500) text = body.trim();
  try {
    const said = (JSON.parse(body) as { error?: unknown }).error;
    if (typeof said === "string") text = said;
    else if (typeof said === "object" && said && "message" in said && typeof said.message === "string") text = said.message;
  } catch {
    // not JSON: the status is all that there is to say
  }
  throw new Problem(r.status, hints[r.status] ? `${text}\n${hints[r.status]}` : text);
}

// refused is the event of an answer that needs another token.
export const refused = "pcapsule-refused";

// hints say what helps.
const hints: Record<number, string> = {
  409: "Nothing in this page is lost. Retry when the data is there again.",
  502: "Retry: the other questions still work.",
  503: "Retry in a moment.",
  504: "Select a shorter time or add to the filter, then retry.",
  507: "Select a shorter time or add to the filter, then retry.",
};

// between returns the arguments of questions for a time range.
export function between(time: readonly [number, number] | null): { from?: string; to?: string } {
  return time ? { from: new Date(time[0]).toISOString(), to: new Date(time[1]).toISOString() } : {};
}
