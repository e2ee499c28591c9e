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
  animal("tiger", "meat", "roar", "the jungle", 4),
  animal("elephant", "leaves", "trumpet", "the grassland", 4),
  animal("snake", "mice", "hiss", "a hole", 0),
  animal("crow", "seeds", "caw", "a tree", 2),
  animal("donkey", "hay", "hee-haw", "a stable", 4),
  animal("squirrel", "nuts", "chatter", "a tree", 4),
  animal("fox", "mice", "yelp", "a den", 4),
  animal("turkey", "seeds", "gobble", "a farm", 2),
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
  "the sea": "blue",
  "a cherry": "red",
  "a cucumber": "green",
  "the night": "black",
  cheese: "yellow",
  "a cloud": "white",
  "a rose": "red",
  "a bear": "brown",
  "a swan": "white",
  "a fire engine": "red",
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
  ["good", "bad"],
  ["thick", "thin"],
  ["strong", "weak"],
  ["sweet", "sour"],
  ["first", "last"],
  ["deep", "shallow"],
  ["in", "out"],
  ["yes", "no"],
  ["near", "far"],
  ["begin", "end"],
  ["love", "hate"],
  ["black", "white"],
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
  ["a chair", "sit"],
  ["a fork", "eat noodles"],
  ["a needle", "sew"],
  ["a bridge", "cross a river"],
  ["a boat", "cross the water"],
  ["a ladder", "climb up"],
  ["a towel", "dry your hands"],
  ["a bag", "carry things"],
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
  ["nurse", "cares for sick people"],
  ["builder", "builds houses"],
  ["driver", "drives a bus"],
  ["fisher", "catches fish"],
  ["dancer", "dances"],
  ["vet", "helps sick animals"],
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
  "the meadow",
  "the barn",
  "the village",
  "the library",
  "the yard",
  "the old house",
] as const;
export const hidingPlaces = [
  "under a bench",
  "behind the door",
  "in a box",
  "behind a wall",
  "under a tree",
  "behind a bush",
  "in a basket",
  "under the table",
  "under the stairs",
  "beside a big stone",
] as const;

/** Who a story can be about, besides children. */
export const beings = [
  "cat",
  "dog",
  "mouse",
  "rabbit",
  "bear",
  "fox",
  "bird",
  "frog",
  "duck",
  "horse",
  "owl",
  "lion",
  "dragon",
  "robot",
  "boy",
  "girl",
  "princess",
  "king",
  "fairy",
  "giant",
] as const;

/** Single facts: what people ask, and the one answer. */
export const singleFacts: readonly (readonly [ask: string, answer: string])[] = [
  ["How many days {are in a week|does a week have}?", "A week has 7 days."],
  ["How many months {are in a year|does a year have}?", "A year has 12 months."],
  ["How many hours {are in a day|does a day have}?", "A day has 24 hours."],
  ["How many minutes {are in an hour|does an hour have}?", "An hour has 60 minutes."],
  ["How many {fingers|fingers do people} {do you have|are on a hand}?", "A hand has 5 fingers."],
  ["How many legs does a {table|chair} have?", "It has 4 legs."],
  ["How many legs does a spider have?", "A spider has 8 legs."],
  ["How many wheels does a {car|truck} have?", "It has 4 wheels."],
  ["How many wheels does a bicycle have?", "A bicycle has 2 wheels."],
  ["What do we see with?", "We see with our eyes."],
  ["What do we hear with?", "We hear with our ears."],
  ["What do we smell with?", "We smell with the nose."],
  ["What do bees make?", "Bees make honey."],
  ["What do hens lay?", "Hens lay eggs."],
  ["What do cows give{ us|}?", "Cows give milk."],
  ["What do sheep give{ us|}?", "Sheep give wool."],
  ["What {is ice made of|is ice}?", "Ice is frozen water."],
  ["What falls from {the sky|clouds|the clouds}?", "Rain and snow fall from the sky."],
  ["When does the sun {rise|come up}?", "The sun comes up in the morning."],
  ["When does the sun {set|go down}?", "The sun goes down in the evening."],
  ["When do we sleep?", "We sleep at night."],
  ["What is the {first|1st} month{ of the year|}?", "The first month is January."],
  ["What is the last month{ of the year|}?", "The last month is December."],
  ["What is the {first|1st} day of the week?", "The first day of the week is Monday."],
  ["What season {is cold|is the coldest|has snow}?", "Winter is the cold season."],
  ["What season {is hot|is the hottest|is warm}?", "Summer is the hot season."],
  ["What comes after {summer|the summer}?", "Autumn comes after summer."],
  ["What comes after winter?", "Spring comes after winter."],
  ["What {do plants need|do flowers need} to grow?", "Plants need water and light to grow."],
  ["Where do fish live?", "Fish live in water."],
  ["Where do birds live?", "Birds live in nests."],
  ["Can {fish|a fish} swim?", "Yes, fish can swim."],
  ["Can {birds|a bird} fly?", "Yes, birds can fly."],
  ["Can {pigs|a pig} fly?", "No, pigs cannot fly."],
  ["Can {cats|a cat} {talk|speak}?", "No, cats cannot talk."],
  ["Can {dogs|a dog} {bark|run}?", "Yes, dogs can do that."],
  ["Can {stones|a stone} swim?", "No, stones sink."],
  ["Is {fire|the fire} hot{ or cold|}?", "Fire is hot."],
  ["Is {ice|snow} {cold|hot or cold}?", "It is cold."],
  ["Is sugar sweet{ or sour|}?", "Sugar is sweet."],
  ["Is a lemon {sour|sweet or sour}?", "A lemon is sour."],
  ["Is an elephant {big|big or small}?", "An elephant is big."],
  ["Is a mouse {small|big or small}?", "A mouse is small."],
  ["Is {an apple|a pear|a banana} a fruit?", "Yes, it is a fruit."],
  ["Is {a carrot|a potato|an onion} a fruit?", "No, it is a vegetable."],
  ["Is {a dog|a cat|a horse|a cow|a fox} an animal?", "Yes, it is an animal."],
  ["Is {a spoon|a table|a lamp|a stone} an animal?", "No, it is a thing."],
  ["Is {red|blue|green|pink} a colour?", "Yes, it is a colour."],
  ["What is {an apple|a pear|a banana|a plum}?", "It is a fruit."],
  ["What is {a cat|a dog|a cow|a lion|a fox}?", "It is an animal."],
  ["What is a {baby dog|young dog} called?", "A young dog is called a puppy."],
  ["What is a {baby cat|young cat} called?", "A young cat is called a kitten."],
  ["What is a {baby cow|young cow} called?", "A young cow is called a calf."],
  ["What is a {baby sheep|young sheep} called?", "A young sheep is called a lamb."],
  ["What is a {baby hen|young hen} called?", "A young hen is called a chick."],
];

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
