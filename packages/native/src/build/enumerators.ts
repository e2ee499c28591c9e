/** Names of enumerations' members in C++. */

/** Types of numbers, like q6_k, in capitals; all others with a capital first. */
export function enumerator(name: string): string {
  return /^(bf|f|q)\d/.test(name) ? name.toUpperCase() : pascal(name);
}

export function pascal(name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1);
}
