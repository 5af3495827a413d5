import { h } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Completions } from "./api";
import { get } from "./client";
import type { Props } from "./parts";
import { place, read, toggled, used, write } from "./saved";

// Filter is the KFL box. Enter applies, Esc clears, and a list completes names.
export function Filter({ state, go, found }: Props & { found: string }) {
  const [text, setText] = useState(state.kfl);
  const [kept, keep] = useState(() => read(place()));
  const [list, setList] = useState<NonNullable<Completions["completions"]>>([]);
  const [chosen, choose] = useState(-1);
  const input = useRef<HTMLInputElement>(null);
  const asked = useRef<AbortController | null>(null);
  useEffect(() => setText(state.kfl), [state.kfl]);
  useEffect(() => {
    keep((k) => used(k, state.kfl));
  }, [state.kfl]);
  useEffect(() => write(place(), kept), [kept]);
  const raw = (s: string): number => new TextEncoder().encode(s).length;
  // remembered lists saved filters, then those that were used.
  const remembered = (): void => {
    const whole = { start: 0, end: raw(text) };
    setList([...kept.saved.map((t) => ({ ...whole, text: t, kind: "saved filter" })), ...kept.recent.filter((t) => !kept.saved.includes(t)).map((t) => ({ ...whole, text: t, kind: "used before" }))]);
    choose(-1);
  };

  const complete = (value: string): void => {
    asked.current?.abort();
    const c = (asked.current = new AbortController());
    const before = value.slice(0, input.current?.selectionStart ?? value.length);
    get<Completions>("/mcp/kfl/complete", { text: before }, c.signal).then(
      (a) => {
        if (c.signal.aborted) return;
        setList((a.completions ?? []).slice(0, 12));
        choose(-1);
      },
      () => setList([]), // a box without completions still works
    );
  };
  const close = (): void => {
    asked.current?.abort();
    setList([]);
    choose(-1);
  };
  const apply = (value: string): void => {
    close();
    go({ kfl: value.trim() });
  };
  const accept = (i: number): void => {
    const c = list[i];
    const el = input.current;
    if (!c || !el) return;
    // Offsets count bytes of UTF-8.
    const bytes = new TextEncoder().encode(text);
    const decode = (part: Uint8Array): string => new TextDecoder().decode(part);
    const head = decode(bytes.slice(0, c.start)) + c.text;
    setText(head + decode(bytes.slice(c.end)));
    close();
    el.focus();
    requestAnimationFrame(() => el.setSelectionRange(head.length, head.length));
  };
  const key = (e: KeyboardEvent): void => {
    e.stopPropagation();
    if (e.key === "Enter") {
      e.preventDefault();
      if (chosen >= 0) accept(chosen);
      else {
        apply(text);
        document.getElementById("main")?.focus(); // whose keys are meant next
      }
    } else if (e.key === "Escape") {
      if (list.length) close();
      else if (text) {
        setText("");
        apply("");
      } else input.current?.blur();
    } else if (e.key === "ArrowDown" && !list.length) {
      e.preventDefault();
      remembered();
    } else if (e.key === "ArrowDown" && list.length) {
      e.preventDefault();
      choose((chosen + 1) % list.length);
    } else if (e.key === "ArrowUp" && list.length) {
      e.preventDefault();
      choose(chosen <= 0 ? list.length - 1 : chosen - 1);
    } else if (e.key === "Tab" && list.length && chosen >= 0) {
      e.preventDefault();
      accept(chosen);
    }
  };
  return (
    <div class="filter" role="search" aria-label="Filter">
      <label for="kfl">KFL</label>
      <div class="entry">
        <input id="kfl" ref={input} value={text} spellcheck={false} autocomplete="off" role="combobox" aria-expanded={list.length > 0} aria-controls="completions" aria-autocomplete="list"
          aria-activedescendant={chosen >= 0 ? `completion-${chosen}` : undefined} placeholder={'status_code >= 500 && dst.service == "payment"'} onKeyDown={key}
          onInput={(e) => {
            setText(e.currentTarget.value);
            complete(e.currentTarget.value);
          }}
          onBlur={() => setTimeout(close, 150)} />
        <ul id="completions" role="listbox" aria-label="Completions" hidden={!list.length}>
          {list.map((c, i) => (
            <li key={c.text + i} id={`completion-${i}`} role="option" aria-selected={i === chosen} onMouseDown={(e) => {
              e.preventDefault();
              accept(i);
            }}>
              <b>{c.text}</b> <span>{c.doc ?? c.kind}</span>
            </li>
          ))}
        </ul>
      </div>
      <span class="found" role="status">{found}</span>
      <button type="button" aria-expanded={list.some((c) => c.kind === "saved filter" || c.kind === "used before")} onClick={() => {
        input.current?.focus();
        remembered();
      }}>History</button>
      {state.kfl ? <button type="button" aria-pressed={kept.saved.includes(state.kfl)} onClick={() => {
        const next = toggled(kept, state.kfl);
        write(place(), next);
        keep(next);
      }}>{kept.saved.includes(state.kfl) ? "Saved" : "Save"}</button> : null}
      {state.kfl ? <button type="button" onClick={() => apply("")}>Clear</button> : null}
    </div>
  );
}
