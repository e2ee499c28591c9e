import { expect, it } from "vitest";
import type { LogEntry } from "./log.ts";
import { plotLog, watchPage } from "./plot.ts";

const hostile = '<script>"x"</script> & \u001b[2J';

it("draws losses, evaluations and rates, and lets nothing of a name be markup", () => {
  const entries: LogEntry[] = Array.from({ length: 20 }, (_, i) => ({
    ...{ kind: "step", step: i + 1, loss: 5 / (i + 1), tokens: 100 * (i + 1), rate: 1e-3, weightDecay: 0 },
    ...{ gradientNorm: 1, seconds: i, tokensPerSecond: 100 },
  }));
  const picture = plotLog([...entries, { kind: "evaluation", step: 20, loss: 0.4, tokens: 2000 }], hostile);
  expect(picture.match(/<path /g)).toHaveLength(3);
  expect(picture).toContain("0.400");
  for (const text of [picture, watchPage(hostile)]) {
    expect(text).toContain("&lt;script>&quot;x&quot;&lt;/script> &amp;");
    expect(text).not.toContain("\u001b");
  }
});

it("has a page that fetches the picture again", () => {
  expect(watchPage("small")).toMatch(/<img [^>]*src="loss\.svg".*setInterval\(.*loss\.svg\?/s);
});
