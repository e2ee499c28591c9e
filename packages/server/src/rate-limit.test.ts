import { expect, test } from "vitest";
import { addressOf } from "./clients.ts";
import { ServeError } from "./errors.ts";
import { Account } from "./rate-limit.ts";

function at(limits: ConstructorParameters<typeof Account>[0]) {
  let now = 1000;
  return { account: new Account(limits, () => now), pass: (seconds: number) => (now += seconds) };
}

function refusal(action: () => unknown): ServeError {
  try {
    action();
  } catch (error) {
    if (error instanceof ServeError) return error;
  }
  throw new Error("nothing was refused");
}

test("requests over a sliding minute", () => {
  const { account, pass } = at({ requestsPerMinute: 3 });
  account.open();
  pass(30);
  account.open();
  account.open();
  const refused = refusal(() => account.open());
  expect(refused.code).toBe("RATE_LIMIT_EXCEEDED");
  // The first of them leaves the window 30 s from now.
  expect(refused.retryAfterMs).toBeGreaterThanOrEqual(30_000);
  expect(refused.retryAfterMs).toBeLessThan(31_000);
  pass(29);
  refusal(() => account.open());
  pass(1);
  account.open();
  refusal(() => account.open());
  expect(account.usage).toMatchObject({ requests: 4, refused: 3 });
});

test("tokens are reserved, and given back when fewer were used", () => {
  const { account, pass } = at({ tokensPerMinute: 100 });
  const settle = account.reserve(90);
  refusal(() => account.reserve(20));
  settle(10);
  settle(10);
  account.reserve(90);
  refusal(() => account.reserve(1));
  pass(60);
  account.reserve(100);
  expect(refusal(() => account.reserve(101)).code).toBe("INVALID_INPUT");
  expect(account.headers()).toMatchObject({
    "x-ratelimit-limit-tokens": "100",
    "x-ratelimit-remaining-tokens": "0",
  });
});

test("giving back after the window has passed changes nothing", () => {
  const { account, pass } = at({ tokensPerMinute: 100 });
  const settle = account.reserve(100);
  pass(60);
  account.reserve(100);
  settle(0);
  refusal(() => account.reserve(1));
});

test("requests at once", () => {
  const { account } = at({ concurrent: 2 });
  const close = account.open();
  account.open();
  refusal(() => account.open());
  close();
  close();
  account.open();
  refusal(() => account.open());
});

test.each([
  ["10.0.0.7", "10.0.0.7"],
  ["::ffff:10.0.0.7", "10.0.0.7"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2"],
  ["2001:db8:1:2::9", "2001:db8:1:2"],
  ["2001:db8::9", "2001:db8:0:0"],
  ["::1", "0:0:0:0"],
])("%s counts as %s", (ip, expected) => {
  expect(addressOf(ip)).toBe(expected);
});
