//! A minimal parser that finds the paths in Rust sources: it splits a source into words and symbols without comments and strings,
//! resolves `crate`, `self` and `super`, and expands `use` groups.

/// The kind of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An identifier, a keyword or a number.
    Word(String),
    /// A single character of punctuation.
    Symbol(char),
    /// `::`
    Separator,
}

/// A token and the line where it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) line: usize,
}

impl Token {
    pub(crate) fn is_word(&self, word: &str) -> bool {
        matches!(&self.kind, Kind::Word(own) if own == word)
    }

    pub(crate) fn is_symbol(&self, symbol: char) -> bool {
        self.kind == Kind::Symbol(symbol)
    }
}

/// A path in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    /// Whether the path is within this crate: then `segments` start below the crate root.
    pub(crate) inside: bool,
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

/// Splits a source into tokens. Comments, lifetimes, strings and character literals yield none.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    Reader { characters: source.chars().collect(), at: 0, line: 1 }.read()
}

struct Reader {
    characters: Vec<char>,
    at: usize,
    line: usize,
}

impl Reader {
    fn read(mut self) -> Vec<Token> {
        let mut tokens = Vec::new();
        while let Some(character) = self.peek(0) {
            let line = self.line;
            let kind = match character {
                '/' if self.peek(1) == Some('/') => {
                    self.skip_while(|character| character != '\n');
                    None
                }
                '/' if self.peek(1) == Some('*') => {
                    self.skip_block_comment();
                    None
                }
                '"' => {
                    self.skip_string();
                    None
                }
                '\'' => {
                    self.skip_character_or_lifetime();
                    None
                }
                ':' if self.peek(1) == Some(':') => {
                    self.advance(2);
                    Some(Kind::Separator)
                }
                _ if is_word(character) => self.read_word(),
                _ => {
                    self.advance(1);
                    (!character.is_whitespace()).then_some(Kind::Symbol(character))
                }
            };
            tokens.extend(kind.map(|kind| Token { kind, line }));
        }
        tokens
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.characters.get(self.at + ahead).copied()
    }

    fn advance(&mut self, by: usize) {
        for _ in 0..by {
            self.line += usize::from(self.peek(0) == Some('\n'));
            self.at += 1;
        }
    }

    fn skip_while(&mut self, keep: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&keep) {
            self.advance(1);
        }
    }

    fn skip_block_comment(&mut self) {
        let mut depth = 0_u32;
        while let Some(character) = self.peek(0) {
            match (character, self.peek(1)) {
                ('/', Some('*')) => (depth, ()) = (depth + 1, self.advance(2)),
                ('*', Some('/')) => (depth, ()) = (depth - 1, self.advance(2)),
                _ => self.advance(1),
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn skip_string(&mut self) {
        self.advance(1);
        while let Some(character) = self.peek(0) {
            self.advance(if character == '\\' { 2 } else { 1 });
            if character == '"' {
                return;
            }
        }
    }

    /// Skips a raw string that starts at its first `#` or its quote.
    fn skip_raw_string(&mut self, hashes: usize) {
        self.advance(hashes + 1);
        while let Some(character) = self.peek(0) {
            let ends = character == '"' && (1..=hashes).all(|ahead| self.peek(ahead) == Some('#'));
            self.advance(if ends { hashes + 1 } else { 1 });
            if ends {
                return;
            }
        }
    }

    fn skip_character_or_lifetime(&mut self) {
        match (self.peek(1), self.peek(2)) {
            (Some('\\'), _) => {
                self.advance(3);
                self.skip_while(|character| character != '\'');
                self.advance(1);
            }
            (Some(_), Some('\'')) => self.advance(3),
            _ => {
                self.advance(1);
                self.skip_while(is_word);
            }
        }
    }

    /// Reads a word without the prefix of a raw identifier (`r#type`). The prefix of a raw string (`r`, `br`) is
    /// skipped together with the string.
    fn read_word(&mut self) -> Option<Kind> {
        let start = self.at;
        self.skip_while(is_word);
        let word: String = self.characters[start..self.at].iter().collect();
        let hashes = self.characters[self.at..].iter().take_while(|character| **character == '#').count();
        let quoted = self.peek(hashes) == Some('"');
        match word.as_str() {
            "r" | "br" | "cr" if quoted => self.skip_raw_string(hashes),
            "r" if hashes == 1 => self.advance(1),
            _ => return Some(Kind::Word(word)),
        }
        None
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The module path of a file, from its path below `src/`: `heap/mod.rs` is `heap`, `heap/class.rs` is `heap::class`, and
/// `heap/class_tests.rs` is `heap::class::tests`, which is the convention for long test modules.
pub(crate) fn module_of(file: &str) -> Vec<String> {
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    let mut module: Vec<String> = stem.split('/').map(str::to_string).collect();
    let Some(last) = module.pop() else {
        return module;
    };
    match last.strip_suffix("_tests") {
        Some(tested) => module.extend([tested.to_string(), "tests".to_string()]),
        None if last == "mod" || last == "lib" => {}
        None => module.push(last),
    }
    module
}

/// Every path with more than one segment in the tokens of `module`, and every renaming of the crate root or of a parent module.
pub(crate) fn paths(tokens: &[Token], module: &[String]) -> Vec<Path> {
    let mut walker = Walker { tokens, at: 0, module: module.to_vec(), depth: 0, opened: Vec::new(), found: Vec::new() };
    walker.walk();
    walker.found
}

struct Walker<'a> {
    tokens: &'a [Token],
    at: usize,
    /// The current module, including inline modules.
    module: Vec<String>,
    depth: usize,
    /// The brace depth at which each inline module was opened.
    opened: Vec<usize>,
    found: Vec<Path>,
}

impl Walker<'_> {
    fn walk(&mut self) {
        while let Some(token) = self.tokens.get(self.at) {
            match &token.kind {
                Kind::Symbol('{') => {
                    self.depth += 1;
                    if let Some(name) = self.module_opened_here() {
                        self.module.push(name);
                        self.opened.push(self.depth);
                    }
                    self.at += 1;
                }
                Kind::Symbol('}') => {
                    if self.opened.last() == Some(&self.depth) {
                        self.opened.pop();
                        self.module.pop();
                    }
                    self.depth = self.depth.saturating_sub(1);
                    self.at += 1;
                }
                Kind::Word(word) if self.starts_path(word) => self.read_tree(Vec::new()),
                _ => self.at += 1,
            }
        }
    }

    fn module_opened_here(&self) -> Option<String> {
        let [keyword, name] = self.tokens.get(self.at.checked_sub(2)?..self.at)? else {
            return None;
        };
        match &name.kind {
            Kind::Word(name) if keyword.is_word("mod") => Some(name.clone()),
            _ => None,
        }
    }

    /// Whether the current word is the first of a path, or a module keyword that is renamed (`use super as up`).
    fn starts_path(&self, word: &str) -> bool {
        match self.tokens.get(self.at + 1) {
            Some(next) if next.kind == Kind::Separator => true,
            Some(next) => matches!(word, "crate" | "super" | "self") && next.is_word("as"),
            None => false,
        }
    }

    /// Reads the path or the group of paths after `prefix`, down to its leaves.
    fn read_tree(&mut self, mut prefix: Vec<String>) {
        while let Some(token) = self.tokens.get(self.at) {
            let line = token.line;
            match &token.kind {
                Kind::Word(word) => {
                    prefix.push(word.clone());
                    self.at += 1;
                    if self.tokens.get(self.at).is_none_or(|next| next.kind != Kind::Separator) {
                        return self.add(&prefix, line);
                    }
                    self.at += 1;
                }
                Kind::Symbol('*') => {
                    prefix.push("*".to_string());
                    self.at += 1;
                    return self.add(&prefix, line);
                }
                Kind::Symbol('{') => {
                    self.at += 1;
                    return self.read_group(&prefix);
                }
                // `Vec::<u8>::new`: the path ends before the generic arguments.
                _ => return self.add(&prefix, line),
            }
        }
    }

    fn read_group(&mut self, prefix: &[String]) {
        while let Some(token) = self.tokens.get(self.at) {
            if token.is_symbol('}') {
                self.at += 1;
                return;
            }
            if token.is_symbol(',') {
                self.at += 1;
            } else if token.is_word("as") {
                self.at += 2;
            } else {
                let before = self.at;
                self.read_tree(prefix.to_vec());
                // Skips a symbol that belongs to no group, so that the loop ends.
                self.at = self.at.max(before + 1);
            }
        }
    }

    fn add(&mut self, words: &[String], line: usize) {
        let mut inside = true;
        let mut segments = Vec::new();
        for (index, word) in words.iter().enumerate() {
            match (index, word.as_str()) {
                (0, "crate") => {}
                (0, "self") => segments.clone_from(&self.module),
                (0, "super") => {
                    segments.clone_from(&self.module);
                    segments.pop();
                }
                (0, other) => {
                    inside = false;
                    segments.push(other.to_string());
                }
                (_, "super") => drop(segments.pop()),
                // `self` in `heap::{self, Heap}` is the prefix itself.
                (_, "self") => {}
                (_, other) => segments.push(other.to_string()),
            }
        }
        self.found.push(Path { inside, segments, line });
    }
}
