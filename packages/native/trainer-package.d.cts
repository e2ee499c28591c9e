/** `<platform>-<arch>[-libc]` of every package that exists. */
export const targets: readonly string[];
export function openTrainerPackage(target: string): { addon: unknown } | { error: unknown };
