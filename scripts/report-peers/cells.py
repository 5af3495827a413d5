"""Compares a workbook as openpyxl reads it with the sheets that LibreOffice shows: cells.py FILE.xlsx FOLDER

FOLDER has a CSV file of each sheet, written by LibreOffice. Exit code 1: a cell differs, is a formula,
or is missing.
"""
import csv
import pathlib
import sys

import openpyxl

csv.field_size_limit(1 << 30)
book = openpyxl.load_workbook(sys.argv[1])
folder = pathlib.Path(sys.argv[2])
# LibreOffice names the files after the workbook and the sheets, with _ for characters that a file may not have.
files = {p.stem.removeprefix(pathlib.Path(sys.argv[1]).stem + "-"): p for p in folder.glob("*.csv")}
cells = bad = 0
for sheet in book:
    shown = list(csv.reader(files[sheet.title.replace("/", "_")].open(encoding="utf-8", newline="")))
    if sheet.freeze_panes != "A2" or not sheet.auto_filter.ref:
        bad += 1
        print(f"{sheet.title}: no frozen head, or no filter")
    for row in sheet.iter_rows():
        for c in row:
            if c.value is None:
                continue
            cells += 1
            want = str(c.value)
            got = shown[c.row - 1][c.column - 1]
            if c.data_type == "f" or got != want:
                bad += 1
                print(f"{sheet.title}!{c.coordinate} ({c.data_type}): {want!r:.100} is shown as {got!r:.100}")
print(f"{sys.argv[1]}: {len(book.sheetnames)} sheets, {cells} cells, {bad} differences")
sys.exit(bad > 0)
