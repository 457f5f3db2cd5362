//! Every public method of a pool says what it does in a dry run: it asks for the dry run of the thread, or is listed here.

/// Methods that do not ask for the dry run, and why.
const DECIDED: [(&str, &str); 19] = [
    ("new", "creates a pool"),
    ("memory", "the device is the same"),
    ("repeat", "creates a loop, whose runs ask for the dry run"),
    ("is_same", "the pool is the same"),
    ("downgrade", "the pool is the same"),
    ("dry_run", "refuses to start twice"),
    ("max_batch", "by dry_run"),
    ("allocate", "by the ladder"),
    ("allocate_accepted", "by the ladder"),
    ("reserve", "by the ladder"),
    ("reserve_blocking", "by reserve"),
    ("compact", "by compact_up_to"),
    ("set_limit_fraction", "by set_limit"),
    ("growth_since", "by mark"),
    ("growth_check", "by mark and stats"),
    ("report", "by snapshot"),
    ("caches", "a dry run compiles kernels as the program does"),
    ("set_pressure_callback", "a dry run calls no callback"),
    ("clear_pressure_callback", "a dry run calls no callback"),
];

/// Returns the public methods of pools over every memory in a formatted source, and whether each asks for the dry run.
pub(crate) fn methods(source: &str) -> Vec<(String, bool)> {
    let mut methods = Vec::new();
    for block in source.split("\nimpl<M: Memory> Pool<M> {").skip(1) {
        let block = block.split("\n}\n").next().unwrap_or_default();
        for method in block.split("\n    pub ").skip(1) {
            let body = method.split("\n    }\n").next().unwrap_or_default();
            let Some((_, rest)) = body.split_once("fn ") else { continue };
            let name = rest.chars().take_while(|&letter| letter == '_' || letter.is_ascii_alphanumeric()).collect();
            methods.push((name, body.contains(".dry()") || body.contains(".shadow()")));
        }
    }
    methods
}

/// Returns a complaint for each method that neither asks nor is listed, and for each entry of the list without such a method.
pub(crate) fn complaints(methods: &[(String, bool)]) -> Vec<String> {
    let is_decided = |name: &str| DECIDED.iter().any(|&(decided, _)| decided == name);
    let undecided = methods.iter().filter(|(name, asks)| !asks && !is_decided(name));
    let undecided = undecided.map(|(name, _)| format!("Pool::{name} does not ask for the dry run, and is not listed"));
    let stale = DECIDED.iter().filter(|(name, _)| !methods.iter().any(|(found, asks)| found == name && !asks));
    undecided
        .chain(stale.map(|(name, _)| format!("Pool::{name} is listed, and is no method that does not ask")))
        .collect()
}
