/**
 * What a message says, as elements: text as it is, and what stands between fences (```) as code. Everything is set as text. Pieces that come are added
 * to what is shown, so that what somebody has selected stays selected.
 */

interface Part {
  isCode: boolean;
  text: string;
}

/** Fences stand at the beginning of a line; the last one may still be open. */
function partsOf(content: string): Part[] {
  const parts: Part[] = [];
  let lines: string[] = [];
  let fence: string | null = null;
  const end = (isCode: boolean) => {
    if (lines.length > 0) parts.push({ isCode, text: lines.join("\n") });
    lines = [];
  };
  for (const line of content.split("\n")) {
    const [, found = null] = /^ {0,3}(`{3,})[^`]*$/.exec(line) ?? [];
    const isEnd: boolean =
      fence !== null && found !== null && found.length >= fence.length && line.trim() === found;
    if (isEnd || (fence === null && found !== null)) {
      end(fence !== null);
      fence = isEnd ? null : found;
    } else lines.push(line);
  }
  end(fence !== null);
  return parts;
}

/** Makes `body` show the content. */
export function showText(body: HTMLElement, content: string): void {
  const parts = partsOf(content);
  for (const [i, { isCode, text }] of parts.entries()) {
    const tag = isCode ? "PRE" : "DIV";
    const shown = body.children[i];
    if (shown?.tagName === tag && shown.firstChild instanceof Text) addTo(shown.firstChild, text);
    else {
      const made = document.createElement(tag);
      made.dir = isCode ? "ltr" : "auto";
      made.textContent = text;
      if (isCode) made.tabIndex = 0; // scrolls by keys
      if (shown) shown.replaceWith(made);
      else body.append(made);
    }
  }
  while (body.children.length > parts.length) body.lastElementChild?.remove();
}

function addTo(shown: Text, text: string): void {
  if (text.startsWith(shown.data)) shown.appendData(text.slice(shown.data.length));
  else shown.data = text;
}
