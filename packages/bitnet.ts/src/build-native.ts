/** `bitnet.ts/build-native`: compiles the native backend where it is installed. Node only. */
import { BitNetError } from "@bitnet.ts/core";

/**
 * Compiles the native backend with this machine's C++20 compiler into the installed package `@bitnet.ts/native`, in about a minute.
 * @param say Receives the progress and the compiler's words, in whole lines.
 * @returns Path of the binary.
 * @throws BitNetError BACKEND_UNAVAILABLE when there is no compiler, no build for this platform, or the compiler finds an error.
 */
export async function buildNative(say: (text: string) => void): Promise<string> {
  let native: typeof import("@bitnet.ts/native/build/package");
  try {
    native = await import("@bitnet.ts/native/build/package");
  } catch (cause) {
    throw new BitNetError(
      "BACKEND_UNAVAILABLE",
      'build-native: the package @bitnet.ts/native is not installed; run "npm install @bitnet.ts/native"',
      { cause },
    );
  }
  const outcome = await native.buildPackage(say);
  if (outcome === "built") return native.addonPath();
  const reasons = {
    unsupported: `there is no native backend for ${process.platform}-${process.arch}`,
    "no-compiler":
      "no C++20 compiler was found; install one (Debian, Ubuntu: g++; Fedora: gcc-c++; macOS: xcode-select --install), or let CXX name it",
    failed: "the compiler failed; GCC 12 is known to work",
  } as const;
  throw new BitNetError("BACKEND_UNAVAILABLE", `build-native: ${reasons[outcome]}`);
}
