// Reads variables with the package that Next.js reads them with. Standard input holds a JSON array of
// {files: {name: text}, environment: {name: value}, mode}, standard output gets a JSON array of the environments that the
// app would have then.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";

const require = createRequire(import.meta.url);
const silent = { info() {}, error() {} };

function read({ files, environment, mode }) {
  const folder = mkdtempSync(join(tmpdir(), "synkora-env-"));
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, environment);
  // Imported each time: the package remembers the environment of its first call.
  delete require.cache[require.resolve("@next/env")];
  require("@next/env").loadEnvConfig(folder, mode === "development", silent);
  rmSync(folder, { recursive: true });
  const { __NEXT_PROCESSED_ENV, ...found } = process.env;
  return found;
}

console.log(JSON.stringify(JSON.parse(await text(process.stdin)).map(read)));
