// The outer page has the program and nothing else. The viewer itself is a frame in a sandbox: it cannot navigate this page,
// open another one, or load anything into itself, so that no address can carry data out.
import "./closed";

const text = (id: string): string => document.getElementById(id)?.textContent ?? "";

addEventListener("message", (e) => {
	const frame = document.querySelector("iframe")?.contentWindow;
	if (frame && e.source === frame && e.data === "program") frame.postMessage({ program: text("program"), worker: text("worker") }, "*");
});
