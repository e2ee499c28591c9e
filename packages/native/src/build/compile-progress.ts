/** `compiling 12/37 …`: one line that is rewritten on a terminal, every tenth unit a line elsewhere. */

const everyNth = 10;

export function compileProgress(
  write: (text: string) => void,
  isTerminal: boolean,
): (done: number, total: number) => void {
  return (done, total) => {
    const text = `native: compiling ${done}/${total} …`;
    if (isTerminal) write(done === total ? "\r\u001b[2K" : `\r${text}`);
    else if (done % everyNth === 0 && done < total) write(`${text}\n`);
  };
}
