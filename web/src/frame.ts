// The document of a report's preview. It is sandboxed: it has no origin, no network, and no script but this one. It gets
// the report from the page and tells the page which call to open.
addEventListener("message", (e: MessageEvent<unknown>) => {
  if (e.source !== parent || typeof e.data !== "string") return;
  const report = new DOMParser().parseFromString(e.data, "text/html");
  for (const el of report.querySelectorAll("script, meta, link, base, iframe, object, embed, img, picture, video, audio, image, form")) el.remove();
  document.documentElement.lang = report.documentElement.lang || "en";
  document.head.replaceChildren(...report.head.childNodes);
  document.body.replaceWith(document.adoptNode(report.body));
  for (const el of document.querySelectorAll<HTMLElement>('span[title^="call "]')) {
    const id = el.title.slice("call ".length);
    const b = document.createElement("button");
    b.type = "button";
    b.textContent = el.textContent;
    b.title = el.title;
    b.setAttribute("aria-label", `${el.textContent}, open this call`);
    b.style.cssText = "all:unset;cursor:pointer;text-decoration:underline";
    b.addEventListener("focus", () => (b.style.outline = "2px solid"));
    b.addEventListener("blur", () => (b.style.outline = ""));
    b.addEventListener("click", () => parent.postMessage(id, "*"));
    el.replaceWith(b);
  }
  // Links within the report work without a navigation.
  document.addEventListener("click", (c) => {
    const a = (c.target as Element).closest("a");
    if (!a) return;
    c.preventDefault();
    const to = a.getAttribute("href") ?? "";
    if (to.startsWith("#")) document.getElementById(to.slice(1))?.scrollIntoView();
  });
});
parent.postMessage("ready", "*");
