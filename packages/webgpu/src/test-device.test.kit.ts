/**
 * The backend that tests run on: whatever adapter there is, else SwiftShader, the software adapter that comes with Debian's chromium (and wants
 * libvulkan1). Without either, tests are skipped with the reason, or fail where BITNET_REQUIRE_ALL is set.
 */
import { existsSync } from "node:fs";
import { createWebGpuBackend } from "./index.ts";

const swiftShader = "/usr/lib/chromium/vk_swiftshader_icd.json";
if (existsSync(swiftShader)) process.env.VK_DRIVER_FILES ??= swiftShader;

/** One device for all tests of a file: kernels are compiled once. */
export const backend = await createWebGpuBackend().catch((error: Error) => {
  if (process.env.BITNET_REQUIRE_ALL === "1" || !isAbsence(error)) throw error;
  console.warn(`skipped: ${error.message}`);
  return null;
});

/** A device that is there and computes wrongly is no reason to skip. */
function isAbsence({ message }: Error): boolean {
  return /no adapter|not installed|does not load/.test(message);
}

/** For tests that are skipped without a device. */
export function device() {
  if (backend === null) throw new Error("there is no device; the test should have been skipped");
  return backend;
}
