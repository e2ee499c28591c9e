/** Dark or light: as the system has it, or as was chosen here and is kept in the browser. */

const key = "bitnet.theme";

export function startTheme(toggle: HTMLElement): void {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  root.dataset.theme = stored() ?? system;
  toggle.onclick = () => {
    const next = root.dataset.theme === "dark" ? "light" : "dark";
    root.dataset.theme = next;
    try {
      localStorage.setItem(key, next);
    } catch {
      // Full or forbidden: the next visit has what the system has.
    }
  };
}

function stored(): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}
