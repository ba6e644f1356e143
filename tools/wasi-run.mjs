#!/usr/bin/env -S node --no-warnings
// Runs a wasm32-wasip1 program under Node.js: cargo's runner for tests (see .cargo/config.toml).
// The program sees the repository under its own path and the working directory as `.`, so files are found as in a
// native test. It has no network and no other directory. A panic ends the whole program there, before the test
// harness could print what it captured: so nothing is captured.
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { WASI } from "node:wasi";

const repository = fileURLToPath(new URL("..", import.meta.url)).replace(/\/$/, "");
const [program, ...args] = process.argv.slice(2);
const wasi = new WASI({
  version: "preview1",
  args: [program, ...args],
  env: { ...process.env, RUST_TEST_NOCAPTURE: "1" },
  preopens: { ".": process.cwd(), [repository]: repository },
  returnOnExit: true,
});
const module = await WebAssembly.compile(await readFile(program));
const instance = await WebAssembly.instantiate(module, wasi.getImportObject());
process.exit(wasi.start(instance));
