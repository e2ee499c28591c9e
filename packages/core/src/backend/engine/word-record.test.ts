import { describe, expect, it } from "vitest";
import { engineRecords } from "./engine-records.ts";
import { readRecord, wordsOf, writeRecord } from "./word-record.ts";

const filters = {
  topK: 40,
  nBest: 3,
  typicalP: 0.1,
  topP: 1 / 3,
  minP: 0,
  repeat: 1.5,
  frequency: -0.25,
  presence: 0,
};

describe("a record as words", () => {
  it("comes back by name", () => {
    const words = new Int32Array(2 + wordsOf(engineRecords.drawFilters));
    expect(writeRecord(words, 2, engineRecords.drawFilters, filters)).toBe(words.length);
    expect(readRecord(words.buffer, 2, engineRecords.drawFilters)).toEqual(filters);
  });

  it("keeps flags, choices and all 32 bits of what has no sign", () => {
    const head = {
      row: 7,
      want: "winner",
      k: 0,
      real: 0.5,
      share: 0,
      seed: 2 ** 32 - 1,
      choice: 3,
      index: 2 ** 31,
      hasLogSumExp: true,
      hasAllow: false,
      nApart: 2,
    } as const;
    const words = new Int32Array(wordsOf(engineRecords.askedHead));
    writeRecord(words, 0, engineRecords.askedHead, head);
    expect([...words.subarray(0, 2), words[8]]).toEqual([7, 2, 1]);
    expect(readRecord(words.buffer, 0, engineRecords.askedHead)).toEqual(head);
  });

  it("takes a whole number of pairs where it holds doubles", () => {
    expect(Object.values(engineRecords).map(wordsOf)).toEqual([7, 2, 14, 6, 14, 7, 11, 12, 12]);
  });

  it("writes into a part of an array", () => {
    const all = new Int32Array(9);
    const counts = {
      nRows: 1,
      nTables: 2,
      nCopies: 3,
      nHeads: 4,
      nInputs: 5,
      nOutputs: 6,
      hasAdapters: true,
    };
    writeRecord(all.subarray(1), 1, engineRecords.stepCounts, counts);
    expect([...all]).toEqual([0, 0, 1, 2, 3, 4, 5, 6, 1]);
  });
});
