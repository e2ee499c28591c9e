import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { expectReading } from "./reading.ts";

const { isTTY } = process.stderr;
let written = "";
beforeEach(() => {
  written = "";
  vi.useFakeTimers();
  vi.stubEnv("NO_COLOR", "1");
  vi.stubEnv("TERM", "xterm");
  vi.spyOn(process.stderr, "write").mockImplementation((text) => {
    written += String(text);
    return true;
  });
});
afterEach(() => {
  process.stderr.isTTY = isTTY;
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

it("says after half a second how much is being read, and takes it back", () => {
  process.stderr.isTTY = true;
  const reading = expectReading(1234);
  vi.advanceTimersByTime(499);
  expect(written).toBe("");
  vi.advanceTimersByTime(1);
  expect(written).toBe("reading 1,234 tokens …");
  reading.end();
  reading.end();
  expect(written).toBe("reading 1,234 tokens …\r\u001b[2K");
});

it("says nothing when the answer comes sooner, and nothing where nobody looks", () => {
  process.stderr.isTTY = true;
  const soon = expectReading(1);
  vi.advanceTimersByTime(400);
  soon.end();
  process.stderr.isTTY = false;
  const piped = expectReading(1);
  vi.advanceTimersByTime(5000);
  piped.end();
  expect(written).toBe("");
});
