/** Who is at fault when a step fails, and how the rows of a step are shared out. */
import { describe, expect, it } from "vitest";
import { BitNetError } from "../base/errors.ts";
import { type PlannedRows, partsAtFault, type StepPlan, shareRows } from "./step-plan.ts";

/** Requests with so many rows each. */
function planOf(counts: readonly number[]): StepPlan {
  let firstRow = 0;
  const parts = counts.map((count) => {
    const part = { from: 0, count, firstRow, nHeads: 1 } as PlannedRows;
    firstRow += count;
    return part;
  });
  return { step: { heads: [] } as unknown as StepPlan["step"], parts, nForeseen: 1 };
}

function failureAt(row: number | undefined, code: BitNetError["code"] = "NUMERIC_FAILURE"): BitNetError {
  return new BitNetError(code, "", { details: row === undefined ? {} : { row } });
}

describe("the parts at fault", () => {
  const plan = planOf([3, 1, 2]);

  it.each([
    [0, 0],
    [2, 0],
    [3, 1],
    [4, 2],
    [5, 2],
  ])("row %i is that of request %i", (row, owner) => {
    expect(partsAtFault(plan, failureAt(row))).toEqual([plan.parts[owner]]);
    expect(partsAtFault(plan, failureAt(row, "INVALID_ARGUMENT"))).toEqual([plan.parts[owner]]);
  });

  it("a failure without a row, or with one that nobody has, is everybody's of the step", () => {
    for (const row of [undefined, -1, 6]) expect(partsAtFault(plan, failureAt(row))).toEqual(plan.parts);
  });

  it("other failures concern requests outside the step, too", () => {
    expect(partsAtFault(plan, failureAt(0, "BACKEND_FAILED"))).toBeNull();
    expect(partsAtFault(plan, new Error("lost"))).toBeNull();
  });
});

describe("rows of a step", () => {
  it.each([
    { lengths: [100, 100], room: 64, shares: [32, 32] },
    { lengths: [10, 100], room: 64, shares: [10, 54] },
    { lengths: [100, 100, 100], room: 2, shares: [1, 1, 0] },
    { lengths: [5, 7], room: 64, shares: [5, 7] },
    { lengths: [5], room: 0, shares: [0] },
    { lengths: [5], room: -3, shares: [0] },
  ])("$lengths in $room: $shares", ({ lengths, room, shares }) => {
    expect(shareRows(lengths, room)).toEqual(shares);
  });
});
