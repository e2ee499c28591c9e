import { existsSync, readFileSync } from "node:fs";
import { defineConfig } from "vitepress";

/** What `npm run generate` wrote. */
function generated(path) {
  const url = new URL(path, import.meta.url);
  if (!existsSync(url)) throw new Error(`${url.pathname} is missing: run npm run generate`);
  return JSON.parse(readFileSync(url, "utf8"));
}

const page = (text, link) => ({ text, link });

export default defineConfig({
  title: "bitnet.ts",
  description: "Run 1-bit language models from TypeScript, losslessly and at the machine's limit",
  cleanUrls: true,
  // Dead links fail the build. The two that lead out of the site into the repository are rewritten below.
  ignoreDeadLinks: false,
  markdown: {
    config(md) {
      const render = md.renderer.rules.link_open;
      md.renderer.rules.link_open = (tokens, index, options, env, self) => {
        const href = tokens[index].attrGet("href");
        if (href === "../BENCHMARKS.md") tokens[index].attrSet("href", "./benchmarks.md");
        return render ? render(tokens, index, options, env, self) : self.renderToken(tokens, index, options);
      };
    },
  },
  themeConfig: {
    search: { provider: "local" },
    nav: [page("Guide", "/guide/start"), page("Command line", "/cli/"), page("API", "/api/")],
    sidebar: [
      {
        text: "Guide",
        items: [
          page("Start", "/guide/start"),
          page("Streaming", "/guide/streaming"),
          page("Abort and errors", "/guide/abort-and-errors"),
          page("Many conversations", "/guide/many-conversations"),
          page("Ways to run a model", "/guide/engines"),
          page("Deployment", "/guide/deployment"),
          page("Samplers and seeds", "/guide/samplers-and-seeds"),
          page("Log-probabilities", "/guide/log-probabilities"),
          page("Embeddings", "/guide/embeddings"),
          page("Memory and speed", "/guide/memory-and-speed"),
          page("Browsers", "/guide/browser"),
          page("Bundling", "/guide/bundling"),
          page("Bun, Deno, Electron, CommonJS", "/guide/runtimes"),
          page("Coming from elsewhere", "/guide/coming-from"),
          page("Troubleshooting", "/guide/troubleshooting"),
        ],
      },
      {
        text: "Command line",
        collapsed: true,
        items: generated("../cli/commands.json").map((name) => page(name, `/cli/${name}`)),
      },
      { text: "API", collapsed: true, items: generated("../api/typedoc-sidebar.json") },
      {
        text: "Tasks",
        items: [
          page("Models of a hub", "/hub"),
          page("Formats and conversion", "/formats"),
          page("The server", "/server"),
          page("Running servers", "/running-servers"),
          page("Training and fine-tuning", "/training"),
          page("Evaluation", "/evaluation"),
          page("The default model", "/default-model"),
        ],
      },
      {
        text: "How it works",
        items: [
          page("Numerics", "/numerics"),
          page("Operations", "/operations"),
          page("Kernels", "/kernels"),
          page("WebAssembly", "/wasm"),
          page("Benchmarks", "/benchmarks"),
        ],
      },
    ],
  },
});
