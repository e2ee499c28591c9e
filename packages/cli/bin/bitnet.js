#!/usr/bin/env node
import { existsSync } from "node:fs";

const entry = new URL("../dist/index.js", import.meta.url);
if (!existsSync(entry)) {
  console.error("bitnet: this checkout is not built yet; run npm run build");
  process.exit(1);
}
const { main } = await import(entry.href);
await main(process.argv.slice(2));
