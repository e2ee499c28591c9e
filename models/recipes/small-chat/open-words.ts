/**
 * Words outside the closed world, for what can only be copied: first names and nouns of dariusk/corpora (CC0). Every sixth stays out of
 * training, so that copying unseen words can be measured.
 */

const list = (text: string) => text.split(" ");

export const openNames: readonly string[] = list(
  "Aaliyah Aaron Abby Abigail Abraham Adam Adriana Adrianna Aidan Aiden Alan Alana Alexa Alexander " +
    "Alexia Alexis Allison Alondra Alyssa Amanda Amber Amelia Amy Ana Andrea Andres Angela Angelica " +
    "Angelina Anna Anthony Antonio Ariana Arianna Ashley Ashlyn Ashton Aubrey Audrey Austin Autumn Avery " +
    "Ayden Bailey Benjamin Bianca Blake Braden Bradley Brady Brandon Brayden Breanna Brendan Brian Briana " +
    "Brianna Brody Bryan Bryce Bryson Caden Caitlin Caitlyn Caleb Camila Carlos Caroline Carter Cassidy " +
    "Catherine Cesar Charles Charlotte Chase Chelsea Cheyenne Chloe Christian Christina Claire Cody Colby " +
    "Colin Collin Colton Conner Connor Cooper Courtney Cristian Crystal Daisy Dakota Dalton Daniel Daniela " +
    "Danielle David Delaney Derek Devon Diego Dominic Donovan Dylan Edgar Eduardo Edward Edwin Eli Elias " +
    "Elizabeth Ella Ellie Emily Emmanuel Eric Erica Erick Erik Ethan Eva Evan Evelyn Faith Fernando " +
    "Francisco Gabriel Gabriela Gabriella Gage Garrett Gavin Genesis George Gianna Giovanni Giselle Grace " +
    "Gracie Grant Gregory Hailey Haley Hannah Hayden Hector Hope Hunter Ian Isaac Isabel Isabella Isaiah " +
    "Ivan Jack Jackson Jacob Jada Jade Jake James Jared Jasmin Jasmine Jason Javier Jayden Jenna Jennifer " +
    "Jesse Jessica Jesus Jillian Joel John Johnathan Jonah Jonathan Jordan Jorge Jose Joshua Josiah Juan " +
    "Julia Juliana Justin Kaden Kaleb Karen Karina Kate Katelyn Katherine Kathryn Katie Kayla Kaylee Kelly " +
    "Kelsey Kennedy Kiara Kimberly Kyle Kylee Kylie Landon Laura Lauren Layla Leonardo Leslie Levi Liam " +
    "Liliana Lilly Lily Lindsey Logan Lucas Lucy Luis Lydia Mackenzie Madeline Madelyn Madison Makenzie " +
    "Malachi Marco Margaret Maria Marissa Mark Martin Mary Mason Matthew Max Maxwell Maya Mckenzie Melanie " +
    "Mia Michael Miguel Mikayla Mya Naomi Natalia Natalie Nevaeh Nicholas Nicolas Nicole Noah Nolan Oliver " +
    "Olivia Omar Owen Paige Parker Patrick Payton Preston Rachel Raymond Reagan Rebecca Ricardo Richard " +
    "Riley Robert Ruby Ryan Rylee Sabrina Sadie Samuel Sara Sarah Savannah Sean Sebastian Serenity Sergio " +
    "Seth Shane Shawn Sierra Skylar Sofia Sophia Sophie Spencer Stephanie Stephen Steven Summer Taylor " +
    "Thomas Tiffany Timothy Travis Trenton Trinity Tristan Tyler Vanessa Victor Victoria William Wyatt " +
    "Xavier Zachary Zoe Zoey",
);

export const openNouns: readonly string[] = list(
  "aardvark abbey absurdity abundance accuracy acorn acreage actress actuality adherence adoption " +
    "advice affinity aircraft airtime allergy allies alpaca amaranth ankle annoyance " +
    "antelope anxiety apologise apparatus appendix apple appraisal apricot armadillo armour artichoke " +
    "artistry asparagus assembly attacker aubergine authority avarice aversion aviation baboon backlash " +
    "ballet balloon balls bananas baron barrier barrister barrymore baseball bases basil basis battling " +
    "bear bed bedtime beet beginner bell belt bending bicycle bilberry bison blouse blowdryer " +
    "blueberry boar boardroom boasting bodyguard boldness bonding bones bonesaw bonus bookmark boomer " +
    "boots booty bottle bowling bread breaker broccoli broth browsing brunt buffalo bullion " +
    "buyout cabbage calamity camel canary canvas captaincy capybara " +
    "carrot cartridge cat catfish celebrity cellphone certainty chamomile charade chard cheetah " +
    "cherry chickpea chili china chipmunk chives circus civility clerk climber clock closeness " +
    "clothing clutches coaster coconut colleague college colors comb commander commenter commune comrade " +
    "concur confidant consist constable consul cork corpus couch cougar counselor countdown " +
    "covering cow coyote cravat crocodile crossover crow crowbar cucumber cufflinks cumin cup " +
    "curfew currant cutter cyclist cyclone cylinder cynicism damson daybreak dealing deduction " +
    "deference delicacy demeanor dentist deodorant departure desk detention " +
    "developer digger dill dingo dioxide discord discovery diversity docking dog dollar dolphin " +
    "donkey door doorstep dove downside drafting drawer dress drilling duchess ducking dugout " +
    "eagerness earnings easter eater egg elk emperor endive environs envoy equator eraser error " +
    "ewe falls fastball feather feedback ferocity ferret fig firing fish fleece floor " +
    "flora folklore follower football foothold footing forefront formality formation formula foyer " +
    "freestyle frenchman frequency fridge fries frigate frisee frog function fusion futility gallery " +
    "genesis ginger giraffe glitter gloves gnu goat gopher gorilla grandeur greens grocer " +
    "gusto habanero hallway hamburger hammock hands happiness hardship harmonica heads headset hearts " +
    "height hello helper hoarding hog homeland homer horse horseman hurricane ibex ignition " +
    "iguana immunity inaction indicator influx iniquity innocence interact " +
    "jackal jacket jackfruit jambul jogging jones jujube juror kaftan kale kangaroo keyboard " +
    "keychain kilt knife knocking koala kohlrabi kurta laborer lace lamb laurels layout leasing legume " +
    "lemon lemur lentils lettuce licence lifeblood lifeline ligament light lighter lime lineage liner " +
    "lineup lizard llama loathing lodging longevity loquat lordship lotion lowry lustre lychee " +
    "magazine magnet mahogany mailing majority mamey mandarine manga mangetout mango manifesto map " +
    "marjoram marmoset martyrdom matrix mayhem meantime mechanics mediator medics melodrama memory milk " +
    "misery mishap molasses momentum money mongoose monitor moose mop morale mouse movie mule multitool " +
    "mushroom muskrat mustang mythology narration narrator necktie needle neighbour newt nightgown " +
    "noodle novel novella nucleus nuisance nutrition nylon obscurity observer offense " +
    "olive oracle orangutan orchestra oregano otter outage outcome outdoors outfield outlet outpost outset " +
    "oxygen pail panther pants papaya paper paprika parsley parson pasta pathos pea peach pear pen " +
    "pendulum penguin perfume perusal pharaoh phrasing physalis piles pillow pinecone plate plateau " +
    "platypus playing plethora plum plurality policeman polling pomelo poncho porpoise posterity " +
    "potato pottery pounding precinct privacy probation prophecy puberty publicist publicity " +
    "publisher pueblo pullman pundit purse putting quantity quart quilt quince rabbit raccoon radiance " +
    "radicchio radish raincoat ranger rapidity rapport raspberry reaction reader receptor recipe rector " +
    "refinery reformer regulator reins rendition repayment reptile republic residency rhubarb riches ring " +
    "roadblock robe rock rocks romper rubbing rug rutabaga saloon sandal sandals sandglass " +
    "sarong satsuma saucer scarf schism schooner scissors scooter scouring screw scrimmage scrum " +
    "seeder semicolon semifinal serenity servitude sesame sewing shallot sharpie sharpness shaving shawl " +
    "shirt siding sinking skirt skunk slipper slugger snead soap socks sofa solitude souvenir spaghetti " +
    "spatula speakers spectacle spectre spinach sponge squad squash squid staging stanza statuette " +
    "stimulus stocks storey stylus subsidy suburb suit swimmer swimwear sword syndrome synopsis table " +
    "tailcoat tapir tavern tempo tendency terry theater theology therapy thicket " +
    "thimble thong thread threshold thriller thyme ticker tie tiger toad toilet tomato top touchdown " +
    "tourney tracing tractor trousers trout tubers turnip turtle tweezers twenties " +
    "umbrella underdog uprising validity vase vest viability viewpoint vista " +
    "vocalist voltage wallet walrus warthog wasabi watchdog water weasel whale whip " +
    "whiteness widget wildcat windfall window wishbone wolf wolverine woodchuck woodward words workman " +
    "wrench youngster zip zipper zucchini",
);
