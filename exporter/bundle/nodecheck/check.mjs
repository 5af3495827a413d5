// Opens a bundle as anyone would without pcapsule: data/open.sql run in data/ by another
// DuckDB, then each question of the command line; prints one value a line.
import { readFileSync } from "node:fs";
import { DuckDBInstance } from "@duckdb/node-api";

const db = await (await DuckDBInstance.create()).connect();
await db.run(readFileSync("open.sql", "utf8"));
for (const question of process.argv.slice(2)) {
  const rows = (await db.runAndReadAll(question)).getRows();
  console.log(String(rows[0][0]));
}
