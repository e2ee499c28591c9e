// Writes the pages that are made from other things: one a command from what commander prints, and BENCHMARKS.md with links as the site has them.
// Plain JavaScript, because this workspace is not compiled. Needs a built checkout (npm run build at the root).
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = new URL("../", import.meta.url);
const bitnet = new URL("packages/cli/bin/bitnet.js", root);
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("BITNET_")));

function help(...args) {
  return execFileSync(process.execPath, [fileURLToPath(bitnet), ...args, "--help"], { encoding: "utf8", env }).trim();
}

const folder = new URL("cli/", import.meta.url);
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
const overview = help();
// Groups of commands, each under a title, from behind the options up to the examples.
const listed = overview.slice(overview.indexOf("-h, --help"), overview.indexOf("\nExamples:"));
const commands = [...listed.matchAll(/^ {2}([a-z][\w-]*)/gm)].map(([, name]) => name).filter((name) => name !== "help");
if (commands.length < 5) throw new Error(`generate-cli: only ${commands.length} commands in:\n${overview}`);

const links = commands.map((name) => `- [${name}](./${name}.md)`).join("\n");
writeFileSync(
  new URL("index.md", folder),
  `---\naside: false\n---\n\n# The command line\n\nOutside of a clone the command is \`npx bitnet.ts\`; the package \`bitnet\` belongs to somebody else.\n\n\`\`\`text\n${overview}\n\`\`\`\n\n${links}\n`,
);
for (const name of commands)
  writeFileSync(new URL(`${name}.md`, folder), `---\naside: false\n---\n\n# bitnet ${name}\n\n\`\`\`text\n${help(name)}\n\`\`\`\n`);
writeFileSync(new URL("cli/commands.json", import.meta.url), JSON.stringify(commands));

const benchmarks = readFileSync(new URL("BENCHMARKS.md", root), "utf8");
writeFileSync(
  new URL("benchmarks.md", import.meta.url),
  benchmarks.replaceAll("](docs/", "](./").replaceAll(/\[([^\]]+)\]\(bench\/?[^)]*\)/g, "$1"),
);
