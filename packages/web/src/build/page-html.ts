/**
 * The page's HTML, made of the server's: the chat is one and the same, what differs is where files lie, the panel of models, and what
 * only a server has. A change of the server's page that leaves a place unfound fails the build.
 */

export interface PageParts {
  /** Stands in for the server's title, styles and script. */
  head: string;
  /** The panel of models and the bar of their loading, below the header. */
  models: string;
}

/** @throws Error naming what is not in the server's page exactly once. */
export function pageHtml(serverHtml: string, { head, models }: PageParts): string {
  const changes: [found: RegExp, made: string][] = [
    [/ *<title>[\s\S]*?(?=\s*<\/head>)/, head.trimEnd()],
    [/ *<a href="\/monitor">.*\n/, ""],
    [
      /<h1 id="model">.*<\/h1>/,
      '<h1><button id="model" type="button" aria-expanded="false" aria-controls="models">Choose a model</button></h1>',
    ],
    [/(?<=<\/header>\n)/, models],
    [/ *<label>API key.*\n/, ""],
    [/ *<label class="check"><input id="json".*\n/, ""],
  ];
  return changes.reduce((html, [found, made]) => {
    const count = html.match(new RegExp(found, "g"))?.length ?? 0;
    if (count !== 1) throw new Error(`the server's page has ${count} of ${found}; expected one`);
    return html.replace(found, () => made);
  }, serverHtml);
}
