/** What can be loaded, as the page remembers it. Knows no DOM. */
import { type ChosenFile, keepHandle, keptHandle } from "./file-handles.ts";

export type Source =
  | { kind: "tiny" }
  | ({ kind: "file" } & ChosenFile)
  /** A copy of a file of this device, as the list of what is kept names it. */
  | { kind: "copy"; model: string }
  /** As the library takes it: `hf:…` or an address. */
  | { kind: "place"; place: string; name: string };

/** What the last visit had: a handle may want the person's consent before there is a file. */
export type Remembered = Exclude<Source, { kind: "file" }> | { kind: "handle"; handle: FileSystemFileHandle };

const storageKey = "bitnet.model";

/** A file without a handle cannot be remembered: the next visit has no right to it. */
export async function remember(source: Source): Promise<void> {
  const handle = source.kind === "file" ? source.handle : null;
  try {
    if (source.kind !== "file") localStorage.setItem(storageKey, JSON.stringify(source));
    else if (handle !== null) localStorage.setItem(storageKey, JSON.stringify({ kind: "handle" }));
  } catch {
    // Full or forbidden: the next visit asks again.
  }
  if (source.kind !== "file" || handle !== null) await keepHandle(handle);
}

export async function remembered(): Promise<Remembered | null> {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(storageKey) ?? "null");
    const { kind, place, name, model } = (value ?? {}) as Record<string, unknown>;
    if (kind === "tiny") return { kind };
    if (kind === "copy" && typeof model === "string") return { kind, model };
    if (kind === "place" && typeof place === "string" && typeof name === "string")
      return { kind, place, name };
    const handle = kind === "handle" ? await keptHandle() : null;
    if (handle !== null) return { kind: "handle", handle };
  } catch {
    // Not ours.
  }
  return null;
}

export function nameOf(source: Source): string {
  if (source.kind === "tiny") return "tiny";
  if (source.kind === "copy") return source.model.replace(/^file:/, "");
  return source.kind === "file" ? source.file.name : source.name;
}
