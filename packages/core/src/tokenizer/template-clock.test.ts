import { describe, expect, it } from "vitest";
import { formatTime } from "./template-clock.ts";

describe("formatTime", () => {
  it("writes the parts of a time as Python does in the C locale", () => {
    const time = new Date("2026-02-03T13:05:09Z");
    expect(formatTime(time, "%Y-%m-%d %H:%M:%S")).toBe("2026-02-03 13:05:09");
    expect(formatTime(time, "%A %a %B %b %d %y %I %p")).toBe("Tuesday Tue February Feb 03 26 01 PM");
    expect(formatTime(new Date("2026-02-03T00:00:00Z"), "%I %p")).toBe("12 AM");
    expect(formatTime(time, "100%% %Q % %%Y %-Q %-")).toBe("100% %Q % %Y %-Q %-");
  });

  // What Python 3.11 writes on Linux.
  it.each([
    ["%e %h %u %w %f", " 4 Mar 3 3 000000"],
    ["%-d %-m %-I %-H %-j %-y %-e %-M %-S", "4 3 5 5 63 26 4 6 7"],
    ["%F %T %R %D %x %X", "2026-03-04 05:06:07 05:06 03/04/26 03/04/26 05:06:07"],
    ["%c", "Wed Mar  4 05:06:07 2026"],
    ["[%Z%z]", "[]"],
  ])("knows the directives of %j", (format, text) => {
    expect(formatTime(new Date("2026-03-04T05:06:07Z"), format)).toBe(text);
  });

  it("leaves a zero alone that is the whole number, and numbers the days of a week from Monday to Sunday", () => {
    expect(formatTime(new Date("2026-03-01T00:00:00Z"), "%-H %-M %-S %u %w")).toBe("0 0 0 7 0");
  });
});
