/** Copies a text, on pages without https as well, where browsers have no `navigator.clipboard`: a server in the own network mostly is such a page. */

/** @returns Whether the browser has taken it. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyFromField(text);
  }
}

function copyFromField(text: string): boolean {
  const before = document.activeElement;
  const field = document.createElement("textarea");
  field.value = text;
  field.readOnly = true;
  field.style.position = "fixed";
  field.style.opacity = "0";
  document.body.append(field);
  field.select();
  const isTaken = document.execCommand("copy");
  field.remove();
  if (before instanceof HTMLElement) before.focus();
  return isTaken;
}
