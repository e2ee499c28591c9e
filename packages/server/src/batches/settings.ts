/** The settings of files and batches, and their defaults. */

export interface BatchSettings {
  /** Largest uploaded file. */
  maxFileBytes: number;
  /** All files of all clients together. */
  maxStoredBytes: number;
  /** Largest file that a batch may be made of. */
  maxInputBytes: number;
  maxLines: number;
  /** Lines of batches that run at once, beside what clients wait for. */
  parallel: number;
  /** Tokens that the unfinished lines of one client's batches may take together; null: any number. */
  maxQueuedTokens: number | null;
  /** Batches of one client that have not ended. */
  maxOpen: number;
  /** Time to send a file. */
  uploadMs: number;
  /** Another server takes a batch over whose holder has said nothing for so long. */
  leaseMs: number;
}

export const defaultBatchSettings: BatchSettings = {
  maxFileBytes: 512 * 2 ** 20,
  maxStoredBytes: 10 * 2 ** 30,
  maxInputBytes: 200 * 2 ** 20,
  maxLines: 50_000,
  parallel: 8,
  maxQueuedTokens: null,
  maxOpen: 100,
  uploadMs: 600_000,
  leaseMs: 6000,
};
