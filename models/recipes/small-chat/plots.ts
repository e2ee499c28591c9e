/**
 * What happens in a story. HERO, FRIEND, THING, COLOUR, PLACE, HIDDEN are filled in; one alternative of each {…} is taken.
 */
export interface Plot {
  name: string;
  /** The answer to "what went wrong?", without a capital and a full stop. */
  trouble: string;
  beats: readonly string[];
  ending: string;
  /** Who finds the thing, and that it was hidden, where the plot says so. */
  finder?: "HERO" | "FRIEND";
  /** Whether the hero goes to the place. */
  goes?: true;
}

export const plots: readonly Plot[] = [
  {
    name: "lost",
    trouble: "the COLOUR THING was lost",
    beats: [
      "{One day|One morning|One sunny day}, HERO went to PLACE with {the COLOUR THING|a COLOUR THING}.",
      "{But then|Suddenly|Soon}, the THING was {gone|lost}. {HERO looked and looked.|HERO could not find it.|HERO began to cry.}",
      'FRIEND {came to help|saw it and came|wanted to help}. "{Do not cry|Do not worry|I will help you}," said FRIEND.',
      "FRIEND {looked HIDDEN|searched HIDDEN}. {There was the THING!|The THING was there!|And there it was!}",
      "HERO {was so happy|was happy again|smiled} and {hugged FRIEND|thanked FRIEND|said thank you}.",
    ],
    ending: "They {played|walked home|laughed} together. The end.",
    finder: "FRIEND",
    goes: true,
  },
  {
    name: "shared",
    trouble: "FRIEND had no THING",
    beats: [
      "HERO had a COLOUR THING and {loved it very much|took it everywhere|was proud of it}.",
      "One day in PLACE, HERO met FRIEND. FRIEND {had no THING|was sad and had nothing to play with|looked at the THING}.",
      'HERO {thought for a while|wanted to be kind|had an idea}. "{We can share it|You can play too|Let us share}," said HERO.',
      "FRIEND {smiled|was very happy|jumped with joy}. {They took turns|They played all day|They had so much fun}.",
    ],
    ending: "{From that day on|After that}, HERO and FRIEND were {good friends|best friends}. The end.",
  },
  {
    name: "broken",
    trouble: "the COLOUR THING broke",
    beats: [
      "HERO made a COLOUR THING {for FRIEND|as a present for FRIEND}.",
      "{On the way to PLACE|In PLACE}, HERO fell and the THING broke. HERO was {sad|very sad}.",
      'FRIEND said, "{I am not angry|It is all right|We can mend it}." {They found some glue.|They took some string.|They sat down together.}',
      "{Soon|After a while|Before long}, the THING was {as good as new|whole again|even better than before}.",
    ],
    ending: "HERO {learned that friends help|was glad to have a friend}. The end.",
  },
  {
    name: "found",
    trouble: "somebody had lost a COLOUR THING",
    beats: [
      "HERO was walking {in PLACE|through PLACE} {one day|one morning|when the sun was low}.",
      'HERO found a COLOUR THING HIDDEN. "{Whose is this|Who lost this}?" HERO asked.',
      "{FRIEND was looking for it|It belonged to FRIEND}. FRIEND had looked {everywhere|all day long}.",
      'HERO gave the THING to FRIEND. "{Thank you|You are so kind}," said FRIEND.',
    ],
    ending: "HERO {felt warm inside|was happy all day|went home with a smile}. The end.",
    finder: "HERO",
    goes: true,
  },
  {
    name: "storm",
    trouble: "a storm came",
    beats: [
      "HERO and FRIEND went to PLACE with a COLOUR THING.",
      "{Dark clouds came.|The wind began to blow.|It began to rain.} {They were afraid.|FRIEND was afraid.}",
      'HERO said, "{Hold my hand|Stay close to me|Let us run}." They hid HIDDEN until {the sun came back|the storm was over}.',
      'FRIEND said, "{You are brave|Now I am not afraid}," and {HERO smiled|they laughed}.',
    ],
    ending: "{They went home with the THING.|They were safe and dry at last.} The end.",
    goes: true,
  },
  {
    name: "wish",
    trouble: "HERO had no money for the THING",
    beats: [
      "HERO {wished for|dreamed of|wanted} a COLOUR THING, but {it cost too much|there was no money for it}.",
      'So HERO went to PLACE to work. "{Can I help you|Is there something to do}?" HERO asked FRIEND.',
      "HERO {carried water|picked apples|swept the floor} {all day|until the evening|for three days}. FRIEND {saw it|was surprised}.",
      'FRIEND gave HERO a COLOUR THING. "{You have worked hard|This is for you}," said FRIEND.',
    ],
    ending: "HERO {was proud|danced with joy|had never been so happy}. The end.",
    goes: true,
  },
  {
    name: "birthday",
    trouble: "HERO thought that nobody knew of the birthday",
    beats: [
      "It was HERO's birthday, but {nobody said a word|nobody seemed to know}. HERO was {sad|a little sad}.",
      'Then FRIEND came and said, "{Come with me|Come and see}." They went to PLACE.',
      '{All the friends were there.|There was a cake with candles.} "{Surprise!|Happy birthday!}" they called.',
      "FRIEND gave HERO a COLOUR THING. HERO {laughed|could not believe it|was so happy}.",
    ],
    ending: "It was {the best day of all|a wonderful birthday}. The end.",
    goes: true,
  },
  {
    name: "night",
    trouble: "there was a strange noise in the night",
    beats: [
      "One night, HERO {woke up|could not sleep}. There was a strange noise {in PLACE|from PLACE}.",
      'HERO called FRIEND. "{Do you hear it|What is that}?" HERO {whispered|asked}.',
      "They went to look, {step by step|very quietly}. FRIEND held a lamp. {The noise came again.|Their hearts beat fast.}",
      "It was only a COLOUR THING that had fallen down HIDDEN. {They looked at each other and laughed.|They both had to laugh.}",
    ],
    ending: "Then HERO {slept well|slept until morning}. The end.",
  },
  {
    name: "race",
    trouble: "FRIEND fell in the race",
    beats: [
      "There was a race in PLACE. The {prize|best prize} was a COLOUR THING.",
      "HERO and FRIEND ran {as fast as the wind|very fast}. {HERO was first.|HERO was in front.}",
      "{Then|Suddenly}, FRIEND fell {over a stone|down}. HERO {stopped|turned around} and {helped FRIEND up|went back}.",
      'They came in {last|together}, but FRIEND said, "{You are a true friend|That was kind of you}."',
    ],
    ending: "{They got the THING together.|Everybody clapped, and both got the THING.} The end.",
  },
  {
    name: "secret",
    trouble: "HERO told a lie about the THING",
    beats: [
      "HERO {took|borrowed} the COLOUR THING of FRIEND {without asking|in secret} and hid it HIDDEN.",
      'FRIEND {looked for it|asked everybody}. "I do not know where it is," said HERO. But HERO felt {bad|very bad}.',
      'In the evening HERO went to FRIEND and said, "{I am sorry|It was me}." HERO gave the THING back.',
      'FRIEND {was quiet for a while|thought about it} and said, "{Thank you for telling me|It is good that you told me}."',
    ],
    ending: "HERO never {lied|told a lie} again. The end.",
  },
  {
    name: "new",
    trouble: "HERO knew nobody",
    beats: [
      "HERO was new in PLACE and {knew nobody|had no friends there}. HERO sat alone with a COLOUR THING.",
      'FRIEND {came closer|sat down too}. "{What is that|That is a nice THING}," said FRIEND.',
      "HERO showed FRIEND {how it works|the THING}. {They talked and talked.|They forgot the time.}",
      '"{Come again tomorrow|Will you come tomorrow}," said FRIEND. HERO {nodded|smiled}.',
    ],
    ending: "{Now HERO had a friend.|And HERO was not alone any more.} The end.",
  },
  {
    name: "tree",
    trouble: "the COLOUR THING was stuck in a tree",
    beats: [
      "HERO {threw|lost} a COLOUR THING and it {flew up into a tree|got stuck in a tree} in PLACE.",
      "HERO {jumped|jumped and jumped}, but the tree was {too high|very tall}.",
      'FRIEND came by. "{Climb on my back|I have a ladder|Let me try}," said FRIEND.',
      "{Together they got it down.|In a moment the THING was down again.} HERO {cheered|clapped}.",
    ],
    ending: "{After that they stayed away from the tree.|They shared an apple under the tree.} The end.",
  },
  {
    name: "sick",
    trouble: "FRIEND was sick",
    beats: [
      "FRIEND was sick and {had to stay in bed|could not come out}. HERO was {worried|sad about it}.",
      "HERO {cooked a soup|picked some flowers} and {found|brought} a COLOUR THING {in PLACE|from PLACE}.",
      'HERO knocked at the door. "{This is for you|Get well soon}," said HERO.',
      "FRIEND {held the THING|looked at the THING} and {smiled|felt better at once}.",
    ],
    ending: "{The next day|Soon}, FRIEND was well again. The end.",
  },
  {
    name: "seed",
    trouble: "the seed did not grow",
    beats: [
      "HERO {found a seed|put a little seed into the earth} in PLACE. {Every day HERO looked.|But nothing grew.}",
      'FRIEND said, "{It needs water|You must wait}." HERO took a COLOUR THING and {carried water|brought water} every day.',
      "{After many days|One spring morning}, a {green leaf|little flower} came out. HERO {called FRIEND|ran to FRIEND}.",
      "They {sat beside it|looked at it} for a long time. {It was beautiful.|It smelled sweet.}",
    ],
    ending: "{Good things take time.|HERO had learned to wait.} The end.",
  },
  {
    name: "thief",
    trouble: "a bird took the COLOUR THING",
    beats: [
      "HERO put a COLOUR THING {on the window|on the grass} in PLACE.",
      "A {black bird|big bird} came, took the THING and {flew away|was gone}. HERO {shouted|ran after it}.",
      'FRIEND knew the bird. "{It likes bread|Give it some bread}," said FRIEND. They {waited|waited quietly} with some bread.',
      "The bird came, dropped the THING HIDDEN and {ate|took the bread}. FRIEND found it {at once|there}.",
    ],
    ending: "{The bird became their friend.|HERO gave the bird bread every day.} The end.",
    finder: "FRIEND",
  },
  {
    name: "letter",
    trouble: "HERO could not read the letter",
    beats: [
      "A letter lay HIDDEN in PLACE. HERO {found it|picked it up}, but {could not read it|the letters were too small}.",
      'HERO asked FRIEND. FRIEND read, "{Go|Look} under the old tree."',
      "They {took a lamp and went there|ran there}. {They dug and dug.|They looked around.}",
      "There they found a COLOUR THING in {a wooden box|an old bag}. {What a find!|HERO held it up.}",
    ],
    ending: "They {kept it together|never told anybody}. The end.",
  },
];
