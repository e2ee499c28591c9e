/** `<platform>-<arch>[-libc]` of every package that exists. */
export const targets: readonly string[];
export function openPlatformPackage(target: string): { addon: unknown } | { error: unknown };
