/** How a run ends: its exit status, whatever ends it first and whatever fails besides. */
import { afterEach, expect, it, vi } from "vitest";
import { openSession } from "./session.ts";

afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
});

it.each([
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
] as const)("%s ends it with %i, once asked and then at once", (name, status) => {
  const exit = vi.spyOn(process, "exit").mockImplementation((() => {}) as never);
  const session = openSession();
  try {
    process.emit(name, name);
    expect({ endedBy: session.endedBy, isAborted: session.signal.aborted }).toEqual({
      endedBy: name,
      isAborted: true,
    });
    expect(exit).not.toHaveBeenCalled();
    process.emit(name, name);
    expect(exit).toHaveBeenCalledExactlyOnceWith(status);
    // What fails because of the end is not why it ended.
    session.fail(124);
  } finally {
    session.close();
  }
  expect(process.exitCode).toBe(status);
});

it("the first failure is the status of a run that nothing ended", () => {
  const session = openSession();
  session.fail(124);
  session.fail();
  session.close();
  expect(process.exitCode).toBe(124);
});
