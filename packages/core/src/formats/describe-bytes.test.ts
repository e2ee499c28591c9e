import { expect, test } from "vitest";
import { describeBytes } from "./describe-bytes.ts";

const latin1 = (text: string) => Uint8Array.from(text, (char) => char.charCodeAt(0));

test.each([
  ["", "an empty file"],
  ["GGUF\x03\0\0\0", "a GGUF file"],
  ["PK\x03\x04\0\0", "a ZIP archive, such as PyTorch writes"],
  ["\x80\x02}q", "a Python pickle"],
  ["\x1f\x8b\x08", "a gzip archive; unpack it first"],
  ["tjgg\x03\0", "an old GGML file (ggjt); convert it to GGUF"],
  ["\x10\x02\0\0\0\0\0\0{", "a safetensors file"],
  ["<html><body>", 'a web page ("<html><body>"); the download probably needs another link or a login'],
  ["Not Found\nsorry", 'text ("Not Found")'],
  ["\0\x01\xff", "bytes 00 01 ff"],
])("%j is described", (start, description) => {
  expect(describeBytes(latin1(start))).toBe(description);
});
