/** The closed world: everything that the model may know. Facts are triples that questions and the checker share. */
import type { Draw } from "./draw.ts";
import { openNames, openNouns } from "./open-words.ts";

interface Animal {
  name: string;
  eats: string;
  sound: string;
  home: string;
  legs: number;
}

const animal = (name: string, eats: string, sound: string, home: string, legs: number): Animal => ({
  name,
  eats,
  sound,
  home,
  legs,
});

export const animals: readonly Animal[] = [
  animal("cat", "fish", "meow", "a house", 4),
  animal("dog", "meat", "woof", "a kennel", 4),
  animal("cow", "grass", "moo", "a barn", 4),
  animal("horse", "hay", "neigh", "a stable", 4),
  animal("sheep", "grass", "baa", "a field", 4),
  animal("pig", "corn", "oink", "a pen", 4),
  animal("duck", "bread", "quack", "a pond", 2),
  animal("hen", "seeds", "cluck", "a coop", 2),
  animal("frog", "flies", "croak", "a pond", 4),
  animal("mouse", "cheese", "squeak", "a hole", 4),
  animal("rabbit", "carrots", "thump", "a burrow", 4),
  animal("bear", "honey", "growl", "a cave", 4),
  animal("lion", "meat", "roar", "the grassland", 4),
  animal("owl", "mice", "hoot", "a tree", 2),
  animal("bee", "nectar", "buzz", "a hive", 6),
  animal("wolf", "meat", "howl", "the forest", 4),
  animal("monkey", "bananas", "chatter", "the jungle", 4),
  animal("goat", "leaves", "bleat", "a hill", 4),
];

export const colourOf: Readonly<Record<string, string>> = {
  "the sky": "blue",
  grass: "green",
  snow: "white",
  "a banana": "yellow",
  "a strawberry": "red",
  coal: "black",
  "an orange": "orange",
  milk: "white",
  "a lemon": "yellow",
  "a tomato": "red",
  "a frog": "green",
  "the sun": "yellow",
  chocolate: "brown",
  "a carrot": "orange",
  "a plum": "purple",
  "a pig": "pink",
  blood: "red",
  "a leaf": "green",
};

export const opposites: readonly (readonly [string, string])[] = [
  ["big", "small"],
  ["hot", "cold"],
  ["day", "night"],
  ["up", "down"],
  ["happy", "sad"],
  ["fast", "slow"],
  ["old", "young"],
  ["open", "closed"],
  ["wet", "dry"],
  ["hard", "soft"],
  ["full", "empty"],
  ["light", "dark"],
  ["loud", "quiet"],
  ["tall", "short"],
  ["early", "late"],
  ["left", "right"],
  ["rich", "poor"],
  ["clean", "dirty"],
];

export const days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"] as const;
export const months = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
] as const;

export const uses: readonly (readonly [string, string])[] = [
  ["a spoon", "eat soup"],
  ["a knife", "cut bread"],
  ["a pen", "write"],
  ["a broom", "sweep the floor"],
  ["an umbrella", "stay dry"],
  ["a bed", "sleep"],
  ["a cup", "drink tea"],
  ["a key", "open a door"],
  ["a book", "read"],
  ["a ball", "play"],
  ["soap", "wash hands"],
  ["a lamp", "see at night"],
  ["a coat", "stay warm"],
  ["a map", "find the way"],
  ["a clock", "tell the time"],
  ["scissors", "cut paper"],
];

export const jobs: readonly (readonly [string, string])[] = [
  ["baker", "bakes bread"],
  ["farmer", "grows food"],
  ["teacher", "teaches children"],
  ["doctor", "helps sick people"],
  ["pilot", "flies planes"],
  ["sailor", "sails ships"],
  ["singer", "sings songs"],
  ["painter", "paints pictures"],
  ["cook", "cooks meals"],
  ["gardener", "grows flowers"],
  ["tailor", "makes clothes"],
  ["writer", "writes books"],
];

export const names = [
  "Tom",
  "Anna",
  "Ben",
  "Mia",
  "Sam",
  "Lily",
  "Max",
  "Emma",
  "Leo",
  "Zoe",
  "Jack",
  "Ella",
  "Noah",
  "Ruby",
  "Finn",
  "Rosa",
  "Hugo",
  "Nina",
] as const;
export const colours = [
  "red",
  "blue",
  "green",
  "yellow",
  "white",
  "black",
  "brown",
  "pink",
  "purple",
  "orange",
] as const;
export const things = [
  "ball",
  "kite",
  "hat",
  "book",
  "cup",
  "boat",
  "doll",
  "drum",
  "bag",
  "box",
  "lamp",
  "bell",
  "coat",
  "key",
  "map",
  "puzzle",
  "ring",
  "shoe",
] as const;
export const places = [
  "the garden",
  "the kitchen",
  "the park",
  "the forest",
  "the school",
  "the market",
  "the beach",
  "the barn",
  "the river",
  "the library",
] as const;
export const hidingPlaces = [
  "under the bed",
  "behind the door",
  "in the box",
  "on the shelf",
  "under a tree",
  "behind a bush",
  "in the basket",
  "under the table",
] as const;

const syllables = [
  "ba",
  "do",
  "ki",
  "lu",
  "mo",
  "ne",
  "pa",
  "ri",
  "sa",
  "to",
  "vu",
  "we",
  "zi",
  "fa",
  "gu",
  "ho",
  "je",
  "plim",
  "tak",
  "nor",
];

/** Every sixth word is kept for held-out documents. */
function open(words: readonly string[], draw: Draw): string {
  const isKept = (_: string, i: number) => (i % 6 === 5) === draw.isHeldOut;
  return draw.pick(words.filter(isKept));
}

export function openName(draw: Draw): string {
  if (draw.chance(0.25)) return capital(pseudoWord(draw));
  return open(openNames, draw);
}

export function openNoun(draw: Draw): string {
  return draw.chance(0.25) ? pseudoWord(draw) : open(openNouns, draw);
}

export function pseudoWord(draw: Draw): string {
  return Array.from({ length: draw.between(2, 3) }, () => draw.pick(syllables)).join("");
}

/** A name of the world, now and then one from outside. */
export function anyName(draw: Draw): string {
  return draw.chance(0.18) ? openName(draw) : draw.pick(names);
}

export function anyThing(draw: Draw): string {
  return draw.chance(0.18) ? openNoun(draw) : draw.pick(things);
}

export function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

export function article(noun: string): string {
  return /^[aeiou]/i.test(noun) ? `an ${noun}` : `a ${noun}`;
}
