/**
 * Registers the service worker, which keeps the page for offline use and adds the headers of isolation where the host sends none: then
 * the page loads once more under it, since a document gets its isolation with its headers.
 */
const triedKey = "bitnet.isolated";

export async function startServiceWorker(): Promise<void> {
  if (!("serviceWorker" in navigator)) return;
  try {
    await navigator.serviceWorker.register("./sw.js", { scope: "./" });
    await navigator.serviceWorker.ready;
  } catch {
    return; // forbidden, or no secure context: the page works without
  }
  if (crossOriginIsolated || sessionStorage.getItem(triedKey) !== null) return;
  sessionStorage.setItem(triedKey, "1");
  location.reload();
}
