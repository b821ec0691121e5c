//! The grammar. Every word is a common English one, whole in the vocabulary of uncased BERT.
//!
//! ```text
//! sentence  = subject modifier{0..n} predicate [adverb] "."
//! subject   = noun phrase of number x
//! modifier  = preposition, noun phrase of any number
//!           | "who", transitive verb of number x, noun phrase of any number
//!           | "that", noun phrase of any number y, transitive verb of number y
//! predicate = copula of number x, adjective | auxiliary of number x, "not", verb
//! ```
//!
//! The verb of a `who` clause agrees with the subject whatever stands between: all of a sentence's modifiers are the
//! subject's own. The twin changes the form of the predicate's verb and nothing else.

use rand::Rng;
use rand::seq::IndexedRandom;

const NOUNS: [&str; 44] = [
    "actor",
    "artist",
    "author",
    "banker",
    "boy",
    "brother",
    "captain",
    "chef",
    "cousin",
    "customer",
    "dancer",
    "doctor",
    "driver",
    "editor",
    "engineer",
    "farmer",
    "friend",
    "girl",
    "guard",
    "guest",
    "hunter",
    "judge",
    "king",
    "knight",
    "lawyer",
    "leader",
    "manager",
    "neighbor",
    "nurse",
    "officer",
    "painter",
    "pilot",
    "player",
    "poet",
    "priest",
    "prisoner",
    "queen",
    "sailor",
    "scientist",
    "singer",
    "sister",
    "soldier",
    "student",
    "teacher",
];
const DETERMINERS: [[&str; 4]; 2] = [["this", "one", "every", "each"], ["these", "two", "some", "many"]];
const PREPOSITIONS: [&str; 8] = ["near", "behind", "beside", "with", "from", "above", "under", "around"];
const ADJECTIVES: [&str; 18] = [
    "angry", "busy", "careful", "clever", "famous", "happy", "hungry", "old", "poor", "proud", "quiet", "ready",
    "rich", "sad", "strong", "tall", "tired", "young",
];
const VERBS: [&str; 14] = [
    "arrive", "cry", "dance", "laugh", "leave", "play", "run", "sing", "sleep", "smile", "talk", "travel", "wait",
    "work",
];
const TRANSITIVE: [[&str; 2]; 12] = [
    ["avoids", "avoid"],
    ["calls", "call"],
    ["follows", "follow"],
    ["hates", "hate"],
    ["helps", "help"],
    ["knows", "know"],
    ["likes", "like"],
    ["loves", "love"],
    ["meets", "meet"],
    ["sees", "see"],
    ["visits", "visit"],
    ["watches", "watch"],
];
const COPULAS: [[&str; 2]; 3] = [["is", "are"], ["was", "were"], ["has been", "have been"]];
const AUXILIARY: [&str; 2] = ["does not", "do not"];
const ADVERBS: [&str; 6] = ["again", "alone", "here", "often", "today", "together"];

/// Singular or plural, as an index into the pairs above.
type Number = usize;

/// A sentence and its twin, which differs in the number of the main verb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The verb agrees with its subject.
    pub acceptable: String,
    /// It does not.
    pub unacceptable: String,
}

/// Draws a sentence with at most `distractors` modifiers, and its twin. `singular` is the probability of a singular
/// subject; outside `[0, 1]` it counts as the nearer bound.
pub fn sentence_pair(rng: &mut impl Rng, distractors: usize, singular: f64) -> Pair {
    let number = Number::from(rng.random::<f64>() >= singular);
    let mut subject = noun_phrase(rng, number);
    for _ in 0..rng.random_range(0..=distractors) {
        subject.push(' ');
        subject.push_str(&modifier(rng, number));
    }
    subject[..1].make_ascii_uppercase();
    let (forms, rest) = if rng.random_ratio(7, 8) {
        (*pick(rng, &COPULAS), *pick(rng, &ADJECTIVES))
    } else {
        (AUXILIARY, *pick(rng, &VERBS))
    };
    let adverb = if rng.random_ratio(1, 8) { format!(" {}", pick(rng, &ADVERBS)) } else { String::new() };
    let sentence = |verb: &str| format!("{subject} {verb} {rest}{adverb}.");
    Pair { acceptable: sentence(forms[number]), unacceptable: sentence(forms[1 - number]) }
}

fn noun_phrase(rng: &mut impl Rng, number: Number) -> String {
    let determiner = if rng.random_ratio(1, 2) { "the" } else { pick(rng, &DETERMINERS[number]) };
    let ending = ["", "s"][number];
    format!("{determiner} {}{ending}", pick(rng, &NOUNS))
}

fn modifier(rng: &mut impl Rng, number: Number) -> String {
    let other = rng.random_range(0..2);
    let noun = noun_phrase(rng, other);
    match rng.random_range(0..6) {
        0 => format!("who {} {noun}", pick(rng, &TRANSITIVE)[number]),
        1 => format!("that {noun} {}", pick(rng, &TRANSITIVE)[other]),
        _ => format!("{} {noun}", pick(rng, &PREPOSITIONS)),
    }
}

fn pick<'a, T>(rng: &mut impl Rng, choices: &'a [T]) -> &'a T {
    choices.choose(rng).expect("every list of words has some")
}
