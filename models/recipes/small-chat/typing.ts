/** How people type: half of all messages carelessly, some fused with a greeting. */
import type { Draw } from "./draw.ts";

export function typed(draw: Draw, text: string, protect: readonly string[] = []): string {
  if (draw.chance(0.5)) return text;
  const short = draw.chance(0.3) ? text.replace(/^(What|Who|Where) is\b/, "$1's") : text;
  let careless = draw.chance(0.7) ? short.toLowerCase() : short;
  // Names and words that are to be copied keep their spelling, else the answer could not be known.
  for (const word of protect) careless = careless.replaceAll(word.toLowerCase(), word);
  if (draw.chance(0.6)) careless = careless.replace(/[.?!]+$/, "");
  if (draw.chance(0.1)) careless = `${careless} ${draw.pick(["pls", "please", "plz"])}`;
  if (draw.chance(0.12)) careless = `${draw.pick(["hi", "hey", "hello", "ok", "so"])} ${careless}`;
  if (draw.chance(0.15)) careless = mistyped(draw, careless, protect);
  return careless;
}

/** One letter of a longer word swapped, dropped or doubled. */
export function mistyped(draw: Draw, text: string, protect: readonly string[]): string {
  const words = text.split(" ");
  const places = words.flatMap((word, i) =>
    /^[a-z]{4,}$/.test(word) && !protect.some((each) => each.includes(word)) ? [i] : [],
  );
  if (places.length === 0) return text;
  const place = draw.pick(places);
  const word = words[place] ?? "";
  const at = draw.between(1, word.length - 2);
  const [a, b] = [word[at] ?? "", word[at + 1] ?? ""];
  const changed = draw.pick([b + a, b, a + a + b]);
  words[place] = word.slice(0, at) + changed + word.slice(at + 2);
  return words.join(" ");
}
