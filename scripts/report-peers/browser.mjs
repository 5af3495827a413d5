// Judges reports in a browser: node browser.mjs PACKAGES FILE...
//
// PACKAGES is a folder with the npm packages axe-core and mermaid. Each HTML file is checked by axe, in
// light and dark; each diagram of a Markdown file is drawn by mermaid. Exit code 1: something was found.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";

const [packages, ...files] = process.argv.slice(2);
const axe = readFileSync(join(packages, "node_modules/axe-core/axe.min.js"), "utf8");
const mermaid = readFileSync(join(packages, "node_modules/mermaid/dist/mermaid.min.js"), "utf8");
const dir = mkdtempSync(join(tmpdir(), "report-peers-"));
const inline = (text) => `<script>${text.replaceAll("</script", "<\\/script")}</script>`;

// answer runs a page that puts its answer as JSON into <pre id="answer">.
function answer(page, ...flags) {
  const path = join(dir, "page.html");
  writeFileSync(path, page);
  const dom = execFileSync("chromium-headless-shell", ["--no-sandbox", "--disable-gpu", "--virtual-time-budget=60000", "--window-size=1180,2400", "--user-data-dir=" + join(dir, "user"),
    ...flags, "--dump-dom", "file://" + path], { encoding: "utf8", maxBuffer: 1 << 28, stdio: ["ignore", "pipe", "ignore"] });
  const m = /<pre id="answer">([^<]*)<\/pre>/.exec(dom);
  if (!m) throw new Error("the page did not answer");
  return JSON.parse(m[1].replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&"));
}

const give = `const give = (x) => { const p = document.createElement("pre"); p.id = "answer"; p.textContent = JSON.stringify(x); document.body.append(p); };`;
let found = 0;
for (const file of files) {
  const text = readFileSync(file, "utf8");
  if (file.endsWith(".html")) {
    // The policy of the page would forbid the judge's script.
    const page = text.replace(/<meta http-equiv="Content-Security-Policy"[^>]*>/, "")
      .replace("</body>", () => inline(axe) + inline(`${give} axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]})
        .then((r) => give(r.violations.map((v) => v.id + " (" + v.impact + "): " + v.nodes.length + " × " + v.nodes[0].html.slice(0, 160) + " " + v.nodes[0].failureSummary)))`) + "</body>");
    for (const flags of [[], ["--blink-settings=preferredColorScheme=0"]]) {
      const list = answer(page, ...flags);
      found += list.length;
      console.log(`axe ${basename(file)}${flags.length ? " dark" : ""}: ${list.length} findings`, list.join("\n"));
    }
  } else {
    const diagrams = [...text.matchAll(/```mermaid\n([^]*?)```/g)].map((m) => m[1]);
    const page = `<!DOCTYPE html><html><body>${inline(mermaid)}${inline(`${give} const list = ${JSON.stringify(diagrams).replaceAll("<", "\\u003c")};
      mermaid.initialize({startOnLoad: false, maxTextSize: 1e6, maxEdges: 1000});
      (async () => { const bad = []; for (const [i, d] of list.entries()) try { await mermaid.render("d" + i, d); } catch (e) { bad.push(i + ": " + e); } give(bad); })()`)}</body></html>`;
    const bad = answer(page);
    found += bad.length;
    console.log(`mermaid ${basename(file)}: ${diagrams.length} diagrams, ${bad.length} with errors`, bad.join("\n"));
  }
}
rmSync(dir, { recursive: true, force: true });
process.exit(found ? 1 : 0);
