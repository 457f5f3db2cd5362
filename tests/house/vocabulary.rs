//! The vocabulary of the project: words and phrases that docs, comments, messages, identifiers, shaders and test names
//! do not use, each with its replacement. `words` splits identifiers, so that `isLent`, `is_lent` and `is lent` are the
//! same.

/// A word or a phrase, in lower case, and what to write instead.
const REPLACED: [(&str, &str); 68] = [
    ("anew", "again"),
    ("anybody", "the thread, the caller"),
    ("anyhow", "with any layout"),
    ("beside", "next to, in addition to, apart from"),
    ("brought back", "returned, restored"),
    ("by way of", "through"),
    ("carves", "allocates, takes"),
    ("condemned", "destroyed"),
    ("courier", "submission thread"),
    ("dear", "expensive"),
    ("detour", "bounce buffer"),
    ("doomed", "destroyed, to be destroyed"),
    ("elsewhere", "name the place"),
    ("endless", "infinite"),
    ("foretells", "predicts"),
    ("fours", "vec4, groups of four"),
    ("goes back", "is freed, returns"),
    ("hand out", "allocate"),
    ("handed out", "allocated"),
    ("hands out", "allocates, returns"),
    ("has back", "has freed"),
    ("haven't got", "do not have"),
    ("held back", "throttled, delayed"),
    ("holds back", "throttles, delays"),
    ("in the making", "being recorded"),
    ("in vain", "without effect, failed"),
    ("is news", "is for reports"),
    ("kept back", "reserved, held out"),
    ("knows", "has, stores, is independent of"),
    ("law", "invariant, rule"),
    ("laws", "invariants, rules"),
    ("lend", "share, pass"),
    ("lends", "shares, passes"),
    ("length of a step", "learning rate"),
    ("lent", "shared, taken"),
    ("looked at", "queried, checked, read"),
    ("lying", "layout, located"),
    ("nearly nothing", "near zero"),
    ("next to nothing", "negligible"),
    ("no telling", "unknown"),
    ("nobody", "no thread, no caller"),
    ("not a number", "NaN"),
    ("not any more", "no longer"),
    ("of nothing", "identity element, empty"),
    ("offender", "violation"),
    ("on their way", "being read, being written"),
    ("outbox", "submission queue"),
    ("owes", "has yet to"),
    ("penalty on large numbers", "weight decay"),
    ("reckoned", "computed"),
    ("so long ago", "name the age"),
    ("somebody", "a thread, a caller"),
    ("stray", "sparse segment, unreachable record"),
    ("strays", "sparse segments"),
    ("take note", "record"),
    ("takes note", "records"),
    ("truths", "comparison results"),
    ("turned", "transposed; switched"),
    ("wants", "expects, requests"),
    ("what goes on", "the next steps"),
    ("what is lacking", "the missing bytes"),
    ("what is learned", "parameter"),
    ("what is left", "the rest"),
    ("what it holds", "its contents, its bytes"),
    ("what it may", "its limit"),
    ("what lives", "live blocks"),
    ("what went wrong", "the reason, the error"),
    ("whoever", "the thread that, the caller that"),
];

/// Files, and folders that end in `/`, that still use such words, each with the largest permitted number of uses.
/// Rewriting a part lowers its number; an entry with no use left has to be removed.
pub(crate) const EXCEPTIONS: [(&str, usize); 0] = [];

/// The file with the list itself.
const THIS_FILE: &str = "tests/house/vocabulary.rs";

/// The words of a text in lower case, each with its line. `camelCase` and `snake_case` identifiers are several words.
fn words(text: &str) -> Vec<(usize, String)> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut line = 1;
    let mut previous = ' ';
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let joins =
            character == '\'' && previous.is_alphabetic() && characters.peek().is_some_and(|c| c.is_alphabetic());
        let begins = character.is_uppercase() && previous.is_lowercase();
        if (begins || !(character.is_alphabetic() || joins)) && !word.is_empty() {
            words.push((line, std::mem::take(&mut word)));
        }
        if character.is_alphabetic() || joins {
            word.extend(character.to_lowercase());
        }
        line += usize::from(character == '\n');
        previous = character;
    }
    if !word.is_empty() {
        words.push((line, word));
    }
    words
}

/// Every use of a replaced word in a text: the line, the word, and what to write instead.
fn uses(text: &str) -> Vec<(usize, &'static str, &'static str)> {
    let words = words(text);
    let starts_with = |at: usize, phrase: &str| {
        phrase.as_bytes().first() == words[at].1.as_bytes().first()
            && phrase
                .split(' ')
                .enumerate()
                .all(|(ahead, part)| words.get(at + ahead).is_some_and(|(_, word)| word == part))
    };
    let found = (0..words.len()).flat_map(|at| {
        let phrases = REPLACED.iter().filter(move |(phrase, _)| starts_with(at, phrase));
        phrases.map(move |&(phrase, instead)| (at, phrase, instead))
    });
    found.map(|(at, phrase, instead)| (words[at].0, phrase, instead)).collect()
}

/// Complaints about replaced words in texts, which are given by path. `exceptions` are as [`EXCEPTIONS`].
pub(crate) fn complaints(texts: &[(String, String)], exceptions: &[(&str, usize)]) -> Vec<String> {
    let mut counts = vec![0; exceptions.len()];
    let mut found = Vec::new();
    for (path, text) in texts.iter().filter(|(path, _)| path != THIS_FILE) {
        let covers = |exception: &str| path == exception || (exception.ends_with('/') && path.starts_with(exception));
        let exception = exceptions.iter().position(|(exception, _)| covers(exception));
        for (line, phrase, instead) in uses(text) {
            match exception {
                Some(exception) => counts[exception] += 1,
                None => found.push(format!("{path}:{line}: \"{phrase}\"; write: {instead}")),
            }
        }
    }
    for ((path, most), count) in exceptions.iter().zip(counts) {
        if count == 0 {
            found.push(format!("{path}: no replaced word is left; remove the exception"));
        } else if count > *most {
            found.push(format!("{path}: {count} uses of replaced words, and at most {most} are permitted"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(text: &str) -> Vec<String> {
        complaints(&[("src/a.rs".to_string(), text.to_string())], &[])
    }

    #[test]
    fn a_replaced_word_is_found_in_prose_identifiers_and_across_lines() {
        let expected = |line| vec![format!("src/a.rs:{line}: \"lent\"; write: shared, taken")];
        for text in ["// It is lent.", "let is_lent = 1;", "struct IsLent;", "fn lent() {}", "\"lent\"", "LENT_BYTES"] {
            assert_eq!(about(text), expected(1), "{text}");
        }
        assert_eq!(about("\n// a\nlent"), expected(3));
        assert_eq!(about("/// Not a\n/// number."), ["src/a.rs:1: \"not a number\"; write: NaN"]);
    }

    #[test]
    fn a_word_that_contains_a_replaced_word_is_accepted() {
        assert_eq!(about("talent besides lawful; returned; isLentil // doesn't, number"), Vec::<String>::new());
    }

    #[test]
    fn an_exception_covers_its_path_up_to_its_number_and_has_to_be_needed() {
        let text = |path: &str, text: &str| (path.to_string(), text.to_string());
        let texts = [text("src/a/b.rs", "lent lent"), text("src/a.rs", "lent"), text(THIS_FILE, "lent")];
        assert_eq!(complaints(&texts, &[("src/a/", 2), ("src/a.rs", 1)]), Vec::<String>::new());
        let complaint = "src/a/: 2 uses of replaced words, and at most 1 are permitted";
        assert_eq!(complaints(&texts, &[("src/a/", 1), ("src/a.rs", 1)]), [complaint]);
        let complaint = "src/: no replaced word is left; remove the exception";
        assert_eq!(complaints(&texts, &[("src/a/", 2), ("src/a.rs", 1), ("src/", 9)]), [complaint]);
    }
}
