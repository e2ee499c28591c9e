/**
 * Waits for the device. Firefox looks for finished work only at a timer of 100 ms (bug 1870699) unless something is submitted meanwhile, so there an
 * empty submission is made at every turn of the event loop.
 */
export async function waitFor<T>(gpu: GPUDevice, work: Promise<T>): Promise<T> {
  if (!/\bFirefox\//.test(globalThis.navigator?.userAgent ?? "")) return work;
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    gpu.queue.submit([]);
    port2.postMessage(null);
  };
  port2.postMessage(null);
  try {
    return await work;
  } finally {
    port1.close();
  }
}
