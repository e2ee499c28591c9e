/** The prebuilt package of this platform, made and installed the way a user would have it: it wins over the local build. */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { nativeStatus } from "@bitnet.ts/native";
import { expect, it } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const target = `${process.platform}-${process.arch}`;

it.skipIf(nativeStatus().path === null)("an installed @bitnet.ts/native package is used", () => {
  const app = mkdtempSync(join(tmpdir(), "bitnet-prebuilt-"));
  try {
    const scope = join(app, "node_modules", "@bitnet.ts");
    mkdirSync(scope, { recursive: true });
    execFileSync(
      process.execPath,
      [join(root, "build/scripts/pack-native.js"), join(scope, `native-${target}`)],
      {
        stdio: "pipe",
      },
    );
    for (const name of ["core", "native"]) {
      const from = join(root, "packages", name);
      cpSync(join(from, "dist"), join(scope, name, "dist"), { recursive: true });
      cpSync(join(from, "package.json"), join(scope, name, "package.json"));
    }
    cpSync(
      join(root, "node_modules", "@huggingface", "jinja"),
      join(app, "node_modules", "@huggingface", "jinja"),
      {
        recursive: true,
      },
    );
    const script = `import { nativeStatus } from "@bitnet.ts/native"; console.log(nativeStatus().path);`;
    const args = ["--input-type=module", "--eval", script];
    const path = execFileSync(process.execPath, args, { cwd: app, encoding: "utf8" }).trim();
    expect(path).toBe(join(scope, `native-${target}`, "bitnet.node"));
  } finally {
    rmSync(app, { recursive: true, force: true });
  }
});
