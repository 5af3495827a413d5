import { type ComponentChildren, Fragment, h } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { epoch, Problem } from "./client";
import type { State } from "./state";
import { brief, dated, duration, percent, plural, short, visible } from "./format";

// Props are what every view gets. The counts are those of the calls that the state selects, as soon as they are known.
export type Props = { state: State; go: (change: Partial<State>, replace?: boolean) => void; counts?: Counts | null | undefined };
export type Counts = { calls: number; failed: number };

export type Answer<T> = { value?: T; problem?: Problem; busy: boolean; retry: () => void; cancel: () => void };

// useAnswer asks again whenever what changes. The last value stays until the next one arrives.
export function useAnswer<T>(what: string, ask: (signal: AbortSignal) => Promise<T>): Answer<T> {
  const [got, set] = useState<{ what: string; value?: T; problem?: Problem }>({ what: "" });
  const [attempt, again] = useState(0);
  const [busy, setBusy] = useState(true);
  const control = useRef<AbortController | null>(null);
  useEffect(() => {
    const c = new AbortController();
    control.current = c;
    setBusy(true);
    ask(c.signal).then(
      (value) => {
        if (c.signal.aborted) return;
        set({ what, value });
        setBusy(false);
      },
      (e: unknown) => {
        if (control.current !== c) return;
        const stopped = c.signal.aborted;
        set({ what, problem: stopped ? new Problem(0, "You cancelled this question.") : e instanceof Problem ? e : new Problem(0, String(e)) });
        setBusy(false);
      },
    );
    return () => {
      if (control.current === c) control.current = null;
      c.abort();
    };
  }, [what, attempt, epoch()]);
  return { ...(got.value === undefined ? {} : { value: got.value }), ...(got.problem ? { problem: got.problem } : {}), busy, retry: () => again((n) => n + 1), cancel: () => control.current?.abort() };
}

// Load shows an answer, or what is being computed, or what went wrong.
export function Load<T>(p: { of: Answer<T>; what: string; children: (value: T) => ComponentChildren }) {
  const { value, problem, busy, retry, cancel } = p.of;
  const late = useLate(busy);
  return (
    <Fragment>
      {problem && !busy ? (
        <div class="problem" role="alert">
          <p>{visible(problem.message)}</p>
          <button type="button" onClick={retry}>Retry</button>
        </div>
      ) : null}
      {late ? (
        <p class="busy" role="status">
          {p.what} … <button type="button" onClick={cancel}>Cancel</button>
        </p>
      ) : null}
      {value !== undefined && !problem ? p.children(value) : null}
    </Fragment>
  );
}

// useLate is true once something has been busy for 150 ms.
export function useLate(busy: boolean): boolean {
  const [late, set] = useState(false);
  useEffect(() => {
    if (!busy) {
      set(false);
      return;
    }
    const t = setTimeout(() => set(true), 150);
    return () => clearTimeout(t);
  }, [busy]);
  return late;
}

// Copy puts a text on the clipboard.
export function Copy(p: { text: string; children?: ComponentChildren }) {
  const [said, say] = useState("");
  return (
    <button type="button" onClick={() => void (navigator.clipboard?.writeText(p.text) ?? Promise.reject()).then(() => say("Copied"), () => say("Select it and copy"))}>{said || p.children || "Copy"}</button>
  );
}

// T is captured text.
export function T(p: { children: string | number | null | undefined }) {
  return <span class="captured" dir="ltr">{visible(String(p.children ?? ""))}</span>;
}

// Name is the name of an end of a call, which may be too long for its place.
export function Name(p: { children: string | null | undefined }) {
  const whole = visible(p.children ?? "");
  return <span class="captured" dir="ltr" title={whole}>{brief(whole)}</span>;
}

// Nothing says why a list is empty.
export function Nothing(p: { what: string; coverage?: Recorded }) {
  return <p class="nothing">{p.what} {p.coverage ? recorded(p.coverage) : ""}{p.coverage?.state === "none" ? " This proves nothing." : ""}</p>;
}

type Recorded = { state: string; unread?: boolean; holes?: unknown[] | null; more_holes?: number; quiet?: { from: string; to: string }[] | null };

// recorded says how much of a time was recorded and could be read.
export function recorded(c: Recorded): string {
  const [first, ...more] = c.quiet ?? [];
  const gaps = (c.holes?.length ?? 0) + (c.more_holes ?? 0);
  const text =
    c.state === "none" ? ["Nothing was recorded in this time."]
    : c.state === "partial" ? [`Only a part of this time was recorded: ${plural(gaps, "gap")}.`]
    : first ? [] : ["The whole time was recorded."];
  if (first) text.push(`From ${short(first.from)} to ${short(first.to)} (${duration(Date.parse(first.to) - Date.parse(first.from))}) there is no packet${more.length ? `, nor in ${plural(more.length, "other long time")}` : ""}: nothing was sent, or nothing was recorded.`);
  if (c.unread) text.push("Some of what was recorded could not be read.");
  return text.join(" ");
}

// useDates makes times have dates where they need them, and gives them room.
export function useDates(all: readonly [number, number] | null): void {
  const long = dated(all);
  useEffect(() => {
    document.documentElement.classList.toggle("dated", long);
  }, [long]);
}

// Same is the command that answers the same question, or one that what names.
export function Same(p: { command: string; what?: string }) {
  return (
    <p class="same">
      <span>{p.what ?? "The same as "}</span>
      <code>{p.command}</code>{" "}
      <Copy text={p.command} />
    </p>
  );
}

// quoted returns a text as one word of a shell.
export function quoted(text: string): string {
  return /^[\w./:@=-]+$/.test(text) ? text : "'" + text.replaceAll("'", `'\\''`) + "'";
}

// Bar is a share of the largest value, with its number beside it.
export function Bar(p: { value: number; of: number; bad?: boolean }) {
  const width = p.of > 0 ? Math.max(1, Math.min(100, (100 * p.value) / p.of)) : 0;
  return (
    <svg class={p.bad ? "bar bad" : "bar"} viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
      <rect x="0" y="1" width={width} height="6" rx="1" />
    </svg>
  );
}

// Failed is a count of failures: a mark, a number and their share.
export function Failed(p: { failed: number; calls: number }) {
  return p.failed ? <span class="failed">✕ {p.failed.toLocaleString("en-US")} <small>({percent(p.failed, p.calls)})</small></span> : <span class="none">0</span>;
}

// Notes are remarks of an answer. What it says about its pages is not for people: the tables here say what they leave out.
export function Notes(p: { notes?: string[] | null | undefined }) {
  const list = (p.notes ?? []).filter((n) => !n.startsWith("this page has a part"));
  if (!list.length) return null;
  return <ul class="notes">{list.map((n) => <li key={n}>{visible(n)}</li>)}</ul>;
}

// link returns the properties of an element that leads to another state.
export function link(action: () => void) {
  return { type: "button" as const, class: "link", onClick: action };
}
