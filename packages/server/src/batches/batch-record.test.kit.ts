/** A batch of one line that runs, for tests. */
import { newRecordId } from "../store/records.ts";
import type { BatchRecord } from "./batch-record.ts";

export function runningBatch(id: string, tenant: string): BatchRecord {
  return {
    ...{ id, tenant, endpoint: "/v1/completions", completion_window: "24h", metadata: { for: "tests" } },
    ...{ input_file_id: newRecordId("file-", 1), output_file_id: newRecordId("file-", 2) },
    ...{ error_file_id: newRecordId("file-", 3), output_expires_after: null, tokens: 10, errors: [] },
    ...{ created_at: 1_800_000_000, expires_at: 1_800_086_400, status: "in_progress" },
    ...{ in_progress_at: 1_800_000_001, counts: { total: 2, completed: 1, failed: 0 } },
    ...{
      usage: { input_tokens: 1, output_tokens: 2, cached_tokens: 0 },
      files: { output: true, error: false },
    },
  };
}
