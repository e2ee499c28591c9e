import { describe, expect, it } from "vitest";
import { formatTime } from "./template-clock.ts";

describe("formatTime", () => {
  it("writes the parts of a time as Python does in the C locale", () => {
    const time = new Date("2026-02-03T13:05:09Z");
    expect(formatTime(time, "%Y-%m-%d %H:%M:%S")).toBe("2026-02-03 13:05:09");
    expect(formatTime(time, "%A %a %B %b %d %y %I %p")).toBe("Tuesday Tue February Feb 03 26 01 PM");
    expect(formatTime(new Date("2026-02-03T00:00:00Z"), "%I %p")).toBe("12 AM");
    expect(formatTime(time, "100%% %Q %")).toBe("100% %Q %");
  });
});
