/** What can be loaded, as the page remembers it. Knows no DOM. */

export type Source =
  | { kind: "tiny" }
  | { kind: "file"; file: File }
  /** As the library takes it: `hf:…` or an address. */
  | { kind: "place"; place: string; name: string };

const storageKey = "bitnet.model";

/** A file cannot be remembered: the next visit has no right to it. */
export function remember(source: Source): void {
  try {
    if (source.kind !== "file") localStorage.setItem(storageKey, JSON.stringify(source));
  } catch {
    // Full or forbidden: the next visit asks again.
  }
}

export function remembered(): Source | null {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(storageKey) ?? "null");
    const { kind, place, name } = (value ?? {}) as Record<string, unknown>;
    if (kind === "tiny") return { kind };
    if (kind === "place" && typeof place === "string" && typeof name === "string")
      return { kind, place, name };
  } catch {
    // Not ours.
  }
  return null;
}

export function nameOf(source: Source): string {
  if (source.kind === "tiny") return "tiny";
  return source.kind === "file" ? source.file.name : source.name;
}
