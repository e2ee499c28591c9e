/** Says in words what the first bytes of a file look like, for messages about files of the wrong kind. */

const signatures: readonly { starts: readonly number[]; name: string }[] = [
  { starts: ascii("GGUF"), name: "a GGUF file" },
  { starts: ascii("ggjt").reverse(), name: "an old GGML file (ggjt); convert it to GGUF" },
  { starts: ascii("ggml").reverse(), name: "an old GGML file; convert it to GGUF" },
  { starts: ascii("PK\x03\x04"), name: "a ZIP archive, such as PyTorch writes" },
  { starts: [0x80, 0x02], name: "a Python pickle" },
  { starts: [0x1f, 0x8b], name: "a gzip archive; unpack it first" },
  { starts: [0xfd, 0x37, 0x7a, 0x58, 0x5a], name: "an xz archive; unpack it first" },
  { starts: [0x28, 0xb5, 0x2f, 0xfd], name: "a zstd archive; unpack it first" },
];

/** `bytes` are the first few of the file; a hundred are plenty. */
export function describeBytes(bytes: Uint8Array): string {
  if (bytes.length === 0) return "an empty file";
  const known = signatures.find(({ starts }) => starts.every((byte, i) => bytes[i] === byte));
  if (known !== undefined) return known.name;
  if (bytes[8] === 0x7b && bytes[7] === 0 && bytes[6] === 0) return "a safetensors file";
  const text = printable(bytes.subarray(0, 60));
  if (text === null) return `bytes ${hex(bytes.subarray(0, 8))}`;
  if (/^\s*(<!doctype html|<html|<head|<\?xml)/i.test(text)) {
    return `a web page ("${text}"); the download probably needs another link or a login`;
  }
  if (text.startsWith("version https://git-lfs"))
    return 'a Git LFS pointer; fetch the file itself with "git lfs pull"';
  return `text ("${text}")`;
}

function ascii(text: string): number[] {
  return Array.from(text, (char) => char.charCodeAt(0));
}

/** One line of ASCII text, or null when the bytes are not that. */
function printable(bytes: Uint8Array): string | null {
  const isText = bytes.every(
    (byte) => (byte >= 0x20 && byte < 0x7f) || byte === 9 || byte === 10 || byte === 13,
  );
  return isText
    ? (String.fromCharCode(...bytes)
        .trim()
        .split(/[\r\n]/, 1)[0] ?? "")
    : null;
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}
