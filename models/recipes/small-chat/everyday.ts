/** What newcomers say that the other kinds leave out: phrases to repeat, things with a colour, yes or no, and sums that are too hard. */
import type { ChatMessage } from "@bitnet.ts/core";
import type { Draw } from "./draw.ts";
import { newNoun } from "./new-words.ts";
import {
  Conversation,
  contextExercise,
  copyExercise,
  type Exercise,
  plain,
  sumExercise,
  tellAndAsk,
  tellTale,
} from "./practice.ts";
import { admission, factQuestion, outsideQuestion, type Question } from "./questions.ts";
import { talkTurn } from "./talk.ts";
import { animals, article, capital, colourOf, colours, names, things } from "./world.ts";

const list = (text: string) => text.split(" ");

const phraseWords = list(
  "good morning everyone hello world the a my your happy birthday to you sun moon is shining we are friends I love cake thank very much " +
    "see tomorrow nice day night big little house tree and or not here there now today come go home with me some of all what who it " +
    "likes sings dances runs plays water bread music rain snow winter summer please wonderful great small fast slow new old time people",
);
const loved = list(
  "pizza chocolate football music swimming cake apples books dancing cheese soup tea coffee bananas pasta rice bread honey cats dogs " +
    "horses trains cars computers games films flowers singing reading painting cooking running summer winter",
);
const owned = list(
  "bicycle bike car house garden computer phone guitar piano boat tent train plane horse table chair window robot camera clock shirt dress jacket bird",
);
const sizes = ["big", "small", "new", "old", "little", "nice"];

function phrase(draw: Draw): Exercise {
  const words = Array.from({ length: draw.between(2, 5) }, () =>
    draw.weighted<() => string>([
      [7, () => draw.pick(phraseWords)],
      [1, () => draw.pick(names)],
      [1, () => draw.pick(things)],
      [1, () => draw.pick(animals).name],
      [1, () => newNoun(draw)],
    ])(),
  );
  if (draw.chance(0.6)) words[0] = capital(words[0] ?? "");
  const said = words.join(" ");
  return {
    ask: draw.say(
      `{Repeat after me: |Repeat after me: |Repeat: |Please repeat: |Say: |Say |Say |Please say |Can you say |Now say |Write }${said}{.|||}`,
    ),
    answer: `${said}.`,
    kept: words,
  };
}

/** Something of the user's, with its colour or size. */
function owning(draw: Draw, conversation: Conversation): void {
  const thing = draw.chance(0.5) ? draw.pick(owned) : draw.chance(0.5) ? draw.pick(things) : newNoun(draw);
  const isColour = draw.chance(0.7);
  const look = draw.pick(isColour ? colours : sizes);
  const what = article(`${look} ${thing}`);
  conversation.say({
    ask: draw.say(`{I have|I have got|I bought|I found|I have} ${what}.`),
    answer: draw.say("{That is nice.|How nice!|Good for you.}"),
    kept: [thing],
  });
  if (draw.chance(0.3)) conversation.say(plain(talkTurn(draw)));
  if (draw.chance(0.6))
    conversation.say({
      ask: draw.say("{What do I have|What do I have|Do you know what I have}?"),
      answer: `You have ${what}.`,
      kept: [],
    });
  if (isColour && draw.chance(0.5))
    conversation.say({
      ask: `What colour is my ${thing}?`,
      answer: `Your ${thing} is ${look}.`,
      kept: [thing],
    });
}

function loving(draw: Draw, conversation: Conversation): void {
  const what = draw.pick(loved);
  conversation.say({
    ask: draw.say(`{I like|I love|I like} ${what}.`),
    answer: draw.say("{That is nice.|I see.|Good to know.}"),
    kept: [what],
  });
  if (draw.chance(0.3)) conversation.say(plain(talkTurn(draw)));
  conversation.say({ ask: draw.say("What do I {like|love}?"), answer: `You like ${what}.`, kept: [] });
}

function isBigger(draw: Draw): Question {
  const a = draw.between(0, 100);
  const b = (a + draw.between(1, 100)) % 101;
  const wantsBig = draw.chance(0.6);
  const is = wantsBig ? a > b : a < b;
  const [asked, said] = wantsBig ? ["{bigger|larger|more}", "bigger"] : ["{smaller|less}", "smaller"];
  return {
    ask: draw.say(`Is ${a} ${asked} than ${b}?`),
    answer: `${is ? "Yes" : "No"}, ${is ? a : b} is ${said}.`,
  };
}

/** Beyond what the world holds. */
function hardSum(draw: Draw): Question {
  const [a, b] = [draw.between(21, 100), draw.between(2, 100)];
  const [low, high] = [draw.between(2, 12), draw.between(2, 20)];
  return {
    ask: draw.say(
      `{What is |What is |How much is |Calculate |}{${a} plus ${b}|${a} + ${b}|${a}+${b}|${b} + ${a}|${a} minus ${Math.min(a, b)}|${low} times ${high}|${low} * ${high}|${low}x${high}|${high * low} divided by ${low}}{?|?|}`,
    ),
    answer: admission(draw),
  };
}

function colourOfThing(draw: Draw): Question {
  const thing = draw.pick(Object.keys(colourOf));
  return {
    ask: draw.say(`{What is the colour of|Tell me the colour of|Which colour is} ${thing}?`),
    answer: `${capital(thing)} is ${colourOf[thing]}.`,
  };
}

function everydayPiece(draw: Draw, conversation: Conversation): void {
  const pieces: readonly (readonly [number, () => void])[] = [
    [5, () => conversation.say(phrase(draw))],
    [4, () => owning(draw, conversation)],
    [2, () => loving(draw, conversation)],
    [2, () => conversation.say(plain(isBigger(draw)))],
    [3, () => conversation.say(plain(hardSum(draw)))],
    [1, () => conversation.say(plain(colourOfThing(draw)))],
  ];
  draw.weighted(pieces)();
}

/** One to three of these. */
export function everyday(draw: Draw): ChatMessage[] {
  const conversation = new Conversation(draw);
  for (let left = draw.between(1, 3); left > 0; left--) everydayPiece(draw, conversation);
  return conversation.messages;
}

/** So long that a context is filled: what was learnt of short conversations does not hold in long ones by itself. */
export function longConversation(draw: Draw): ChatMessage[] {
  const conversation = new Conversation(draw);
  const small: readonly (readonly [number, () => void])[] = [
    [4, () => conversation.say(plain(talkTurn(draw)))],
    [3, () => conversation.say(plain(factQuestion(draw)))],
    [3, () => conversation.say(plain(sumExercise(draw)))],
    [2, () => conversation.say(plain(outsideQuestion(draw)))],
    [4, () => conversation.say(copyExercise(draw))],
    [1, () => conversation.say(contextExercise(draw))],
    [3, () => everydayPiece(draw, conversation)],
  ];
  const aside = () => draw.weighted(small)();
  const pieces: readonly (readonly [number, () => void])[] = [
    [8, aside],
    [3, () => tellAndAsk(draw, conversation, aside, 3)],
    [1, () => tellTale(draw, conversation, 1)],
  ];
  for (let left = draw.between(6, 14); left > 0; left--) draw.weighted(pieces)();
  return conversation.messages;
}
