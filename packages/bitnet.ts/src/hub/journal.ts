/**
 * Which pieces of a download have arrived, kept beside it: a header and then the numbers of the pieces in the order in which they were
 * written. Appended after the bytes are in the file, so that a killed process loses at most the pieces that were under way; a torn end
 * is cut off.
 */
import { type FileHandle, open } from "node:fs/promises";

const headerBytes = 16;
const magic = 0x4a4e_5442; // "BTNJ"

export interface Journal {
  /** By number of the piece. */
  readonly done: readonly boolean[];
  /** Notes pieces whose bytes are written. */
  add(piece: number): Promise<void>;
  close(): Promise<void>;
}

export interface JournalPlan {
  size: number;
  pieceBytes: number;
}

/** Opens the journal at `path`, or starts an empty one when there is none or it is of another plan. */
export async function openJournal(path: string, { size, pieceBytes }: JournalPlan): Promise<Journal> {
  const nPieces = Math.ceil(size / pieceBytes);
  const done: boolean[] = new Array(nPieces).fill(false);
  const file = await open(path, "a+");
  try {
    // Each piece is written once, or twice by two processes that took each other for dead; whatever is longer is no journal.
    const isJournal = (await file.stat()).size <= headerBytes + 8 * nPieces;
    const bytes = isJournal ? await file.readFile() : Buffer.alloc(0);
    const header = headerOf(size, pieceBytes);
    if (bytes.length < headerBytes || !bytes.subarray(0, headerBytes).equals(header)) {
      await file.truncate(0);
      await file.appendFile(header);
    } else {
      const whole = headerBytes + 4 * Math.floor((bytes.length - headerBytes) / 4);
      if (whole < bytes.length) await file.truncate(whole);
      for (let at = headerBytes; at < whole; at += 4) {
        const piece = bytes.readUInt32LE(at);
        if (piece < nPieces) done[piece] = true;
      }
    }
  } catch (error) {
    await file.close();
    throw error;
  }
  return journal(file, done);
}

function journal(file: FileHandle, done: boolean[]): Journal {
  return {
    done,
    async add(piece) {
      const entry = Buffer.alloc(4);
      entry.writeUInt32LE(piece);
      await file.appendFile(entry);
      done[piece] = true;
    },
    close: () => file.close(),
  };
}

function headerOf(size: number, pieceBytes: number): Buffer {
  const header = Buffer.alloc(headerBytes);
  header.writeUInt32LE(magic, 0);
  header.writeUInt32LE(pieceBytes, 4);
  header.writeBigUInt64LE(BigInt(size), 8);
  return header;
}
