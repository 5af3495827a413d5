"use strict";
for (const box of document.querySelectorAll("div.table")) {
  const table = box.querySelector("table"), body = table.tBodies[0], rows = [...body.rows];
  if (rows.length < 3) continue;
  const heads = [...table.tHead.rows[0].cells];
  const key = (row, i) => row.cells[i].dataset.v ?? row.cells[i].textContent;
  const exact = (i) => rows.some((r) => r.cells[i].dataset.v !== undefined);
  heads.forEach((head, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.ariaSort === "ascending" || (head.ariaSort === null && exact(i)) ? -1 : 1;
      for (const h of heads) h.ariaSort = null;
      head.ariaSort = down < 0 ? "descending" : "ascending";
      const order = exact(i) ? (a, b) => (Number(key(a, i)) || 0) - (Number(key(b, i)) || 0) : (a, b) => key(a, i).localeCompare(key(b, i), "en", { numeric: true });
      body.append(...[...rows].sort((a, b) => down * order(a, b)));
    });
  });
  const field = document.createElement("input"), count = document.createElement("span");
  field.type = "search";
  field.placeholder = "Filter rows";
  field.setAttribute("aria-label", "Filter rows of " + box.querySelector("h3").firstChild.textContent.trim());
  count.className = "faint";
  count.setAttribute("role", "status");
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((w) => text.includes(w));
      if (!row.hidden) shown++;
    }
    count.textContent = words.length ? shown + " of " + rows.length + " rows" : "";
  });
  const tools = document.createElement("p");
  tools.className = "tools";
  tools.append(field, " ", count);
  box.querySelector("h3").after(tools);
}
