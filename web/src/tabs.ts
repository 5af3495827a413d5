// Tabs of this page at one address lend each other the token while one of them is open, so that a link in a report opens
// its call without asking for the token again. Only documents of the same origin get these messages.

const name = "pcapsule-token";
const question = "token?";
const patience = 300; // ms until nobody answers

// lend answers other tabs.
export function lend(token: () => string): void {
  const c = new BroadcastChannel(name);
  c.onmessage = (e: MessageEvent<unknown>) => {
    if (e.data === question && token()) c.postMessage({ token: token() });
  };
}

// borrow asks other tabs. Nothing is an empty text.
export function borrow(): Promise<string> {
  return new Promise((done) => {
    const c = new BroadcastChannel(name);
    const end = (token: string): void => {
      c.close();
      done(token);
    };
    c.onmessage = (e: MessageEvent<{ token?: unknown } | string>) => {
      if (typeof e.data === "object" && typeof e.data?.token === "string") end(e.data.token);
    };
    c.postMessage(question);
    setTimeout(() => end(""), patience);
  });
}
