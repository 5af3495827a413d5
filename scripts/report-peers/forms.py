"""Compares the forms of a report with its JSON, as other programs read them: forms.py NAME (for NAME.json, .pdf, .md, .csv)

pypdf reads the tags and the text of the PDF, markdown-it the Markdown as CommonMark with tables, and
Python's csv module the CSV. Exit code 1: a title, a table, a row or a cell is missing.
"""
import collections
import csv
import json
import re
import sys

import markdown_it
import pypdf

csv.field_size_limit(1 << 30)
name = sys.argv[1]
report = json.load(open(name + ".json", encoding="utf-8"))
tables = [b["table"] for s in report["sections"] for b in s.get("blocks", []) if "table" in b]
figures = [b["figure"] for s in report["sections"] for b in s.get("blocks", []) if "figure" in b]
rows = sum(len(t.get("rows") or []) for t in tables)
problems = []


def same(what, got, want):
    if got != want:
        problems.append(f"{what}: {got!r:.200}, want {want!r:.200}")


def squeezed(text):
    """The text without spaces, because lines of a PDF break words."""
    return re.sub(r"\s", "", text)


pdf = pypdf.PdfReader(name + ".pdf")
kinds = collections.Counter()
todo = [pdf.trailer["/Root"]["/StructTreeRoot"]]
while todo:
    element = todo.pop().get_object()
    if "/S" in element:
        kinds[element["/S"]] += 1
        if element["/S"] == "/Figure" and not element.get("/Alt"):
            problems.append("a figure without alternative text")
    inside = element.get("/K", [])
    todo += [k for k in (inside if isinstance(inside, list) else [inside]) if not isinstance(k, int) and k.get_object().get("/Type") != "/MCR"]
same("tables of the PDF", kinds["/Table"], len(tables))
same("rows of the PDF", kinds["/TR"], rows + len(tables))
same("figures of the PDF", kinds["/Figure"], len(figures))
text = squeezed("".join(p.extract_text() for p in pdf.pages))
for s in report["sections"]:
    if squeezed(s["title"]) not in text:
        problems.append(f"the PDF has no title {s['title']!r}")
same("data of the PDF", json.loads(pdf.attachments["report.json"][0]), report)

tokens = markdown_it.MarkdownIt("commonmark").enable("table").parse(open(name + ".md", encoding="utf-8").read())
titles = [tokens[i + 1].content for i, t in enumerate(tokens) if t.type == "heading_open" and t.tag == "h2"]
for s in report["sections"]:
    if not any(squeezed(s["title"]) == squeezed(re.sub(r"\\(.)", r"\1", t)) for t in titles):
        problems.append(f"the Markdown has no title {s['title']!r}")
sizes = []  # rows of each table; some pictures are tables too
for t in tokens:
    if t.type == "table_open":
        sizes.append(-1)  # its head
    elif t.type == "tr_open":
        sizes[-1] += 1
missing = collections.Counter(len(t["rows"]) for t in tables if t.get("rows")) - collections.Counter(sizes)
same("sizes of tables that the Markdown lacks", dict(missing), {})

lines = list(csv.reader(open(name + ".csv", encoding="utf-8", newline="")))
same("columns of the CSV", {len(line) for line in lines}, {9})
cells = collections.Counter(line[1] for line in lines if line[0] == "cell")
for t in tables:
    same(f"cells of {t['id']} in the CSV", cells[t["id"]], len(t["columns"]) * len(t.get("rows") or []))

print(f"{name}: {len(pdf.pages)} pages, {len(tables)} tables, {rows} rows, {len(problems)} differences")
for p in problems:
    print(" ", p)
sys.exit(len(problems) > 0)
