//! Reads keys one by one, so that every mistake in a file is told at once, each with its place.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::env;
use super::value::{Given, Properties, Setting};

/// Something wrong, or only doubtful, with a place and a way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// `file:line`, or the name of an environment variable.
    pub(crate) place: String,
    /// `section.key`; empty for the file as a whole.
    pub(crate) key: String,
    /// What is wrong.
    pub(crate) what: String,
    /// What to do.
    pub(crate) fix: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)?;
        if !self.fix.is_empty() {
            write!(f, "; {}", self.fix)?;
        }
        Ok(())
    }
}

/// A configuration that cannot be used; every reason that could be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigError {
    /// First those that cannot be read, then those that do not fit together.
    pub(crate) problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// A table of the file whose keys are known.
pub(super) trait Section: Default {
    /// Its keys, in the order of their declaration.
    const KEYS: &'static [&'static str];

    /// Take over what is said about each key.
    fn read(&mut self, keys: &mut Keys<'_, '_>);
}

/// Where a value was set.
#[derive(Debug, Clone)]
enum Place {
    Line(usize),
    Variable(String),
}

/// The file and the environment while they are read, and what was found wrong.
pub(super) struct Reader<'a> {
    file: String,
    text: &'a str,
    variables: BTreeMap<String, String>,
    known_variables: Vec<String>,
    places: BTreeMap<String, Place>,
    unreadable: BTreeSet<String>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// Begin with the text of a file, for a person named so, and our part of the environment.
    ///
    /// # Errors
    /// Those of its syntax: what could be read in spite of them would only lead to more that are none.
    pub(super) fn new(
        file: String,
        text: &'a str,
        variables: BTreeMap<String, String>,
    ) -> Result<(Self, DeTable<'a>), ConfigError> {
        let (table, errors) = DeTable::parse_recoverable(text);
        let problem = |error: toml::de::Error| {
            let place = format!("{file}:{}", line_number(text, error.span().map_or(0, |span| span.start)));
            // only the message: the parser's own text quotes the line, which may hold a secret
            let what = format!("this is not TOML: {}", error.message().replace('\n', ", "));
            Problem { place, key: String::new(), what, fix: String::new() }
        };
        let problems: Vec<_> = errors.into_iter().map(problem).collect();
        if !problems.is_empty() {
            return Err(ConfigError { problems });
        }
        let reader = Self {
            file,
            text,
            variables,
            known_variables: Vec::new(),
            places: BTreeMap::new(),
            unreadable: BTreeSet::new(),
            problems,
        };
        Ok((reader, table.into_inner()))
    }

    /// A section with what the file (and, unless it is one of several, the environment) says about it.
    pub(super) fn section<S: Section>(&mut self, path: &str, found: Option<Spanned<DeValue<'a>>>, single: bool) -> S {
        let mut section = S::default();
        let table = match found.map(|value| (value.span(), value.into_inner())) {
            None => DeTable::new(),
            Some((span, DeValue::Table(table))) => {
                self.set_line(path, span.start);
                table
            }
            Some((span, _)) => {
                self.set_line(path, span.start);
                self.wrong(path, "this is no table", &format!("write the keys of {path} under [{path}]"));
                self.unreadable.insert(path.to_owned());
                return section;
            }
        };
        let mut keys = Keys { reader: self, path, table, single };
        section.read(&mut keys);
        let left = keys.table;
        for (key, _) in left {
            let full = format!("{path}.{}", key.get_ref());
            self.set_line(&full, key.span().start);
            self.wrong(&full, "there is no such key", &suggest(key.get_ref(), S::KEYS.iter().copied()));
        }
        section
    }

    /// The tables of `[[name]]`, each with its path.
    pub(super) fn tables(&mut self, name: &str, found: Option<Spanned<DeValue<'a>>>) -> Vec<(String, Spanned<DeValue<'a>>)> {
        match found.map(|value| (value.span(), value.into_inner())) {
            None => Vec::new(),
            Some((_, DeValue::Array(items))) => {
                items.into_iter().enumerate().map(|(n, item)| (format!("{name}[{n}]"), item)).collect()
            }
            Some((span, _)) => {
                self.set_line(name, span.start);
                self.wrong(name, "there may be several of these", &format!("write [[{name}]]"));
                self.unreadable.insert(name.to_owned());
                Vec::new()
            }
        }
    }

    /// One of the `[[profile]]` tables, which belong to the protocols.
    pub(super) fn foreign<T: for<'de> Deserialize<'de>>(&mut self, path: &str, found: Spanned<DeValue<'a>>) -> Option<T> {
        let start = found.span().start;
        self.set_line(path, start);
        match T::deserialize(ValueDeserializer::from(found)) {
            Ok(value) => Some(value),
            Err(error) => {
                self.set_line(path, error.span().map_or(start, |span| span.start));
                self.wrong(path, &error.message().replace('\n', ", "), "");
                None
            }
        }
    }

    /// Add what the environment says for librdkafka.
    pub(super) fn properties(&mut self, properties: &mut Properties) {
        for (variable, value) in std::mem::take(&mut self.variables) {
            if let Some(name) = env::property(&variable) {
                self.places.insert(format!("kafka.properties.{name}"), Place::Variable(variable));
                properties.0.insert(name, value);
            } else {
                self.variables.insert(variable, value);
            }
        }
    }

    /// Tell of the sections and variables that nobody asked for.
    pub(super) fn finish(mut self, left: DeTable<'a>, sections: &[&str]) -> Findings {
        for (key, _) in left {
            let key = (key.get_ref().clone().into_owned(), key.span().start);
            self.set_line(&key.0, key.1);
            self.wrong(&key.0, "there is no such section", &suggest(&key.0, sections.iter().copied()));
        }
        for variable in std::mem::take(&mut self.variables).into_keys() {
            let fix = suggest(&variable, self.known_variables.iter().map(String::as_str));
            let what = "no key has this environment variable".to_owned();
            self.problems.push(Problem { place: variable, key: String::new(), what, fix });
        }
        let Self { file, places, unreadable, problems, .. } = self;
        Findings { file, places, unreadable, problems, warnings: Vec::new() }
    }

    fn set_line(&mut self, path: &str, at: usize) {
        self.places.insert(path.to_owned(), Place::Line(line_number(self.text, at)));
    }

    fn wrong(&mut self, key: &str, what: &str, fix: &str) {
        let place = place(&self.file, &self.places, key);
        self.problems.push(Problem { place, key: key.to_owned(), what: what.to_owned(), fix: fix.to_owned() });
    }
}

fn line_number(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|b| *b == b'\n').count()
}

/// Where a key was set; else where its section begins; else the file.
fn place(file: &str, places: &BTreeMap<String, Place>, key: &str) -> String {
    let mut path = key;
    loop {
        match places.get(path) {
            Some(Place::Line(n)) => return format!("{file}:{n}"),
            Some(Place::Variable(name)) => return name.clone(),
            None => {}
        }
        let Some((parent, _)) = path.rsplit_once('.') else { return file.to_owned() };
        path = parent;
    }
}

/// "Did you mean", or else all there is.
pub(super) fn suggest<'n>(wrong: &str, names: impl Iterator<Item = &'n str>) -> String {
    let mut near: Vec<_> = names.map(|name| (strsim::damerau_levenshtein(wrong, name), name)).collect();
    near.sort_unstable();
    match near.first() {
        None => String::new(),
        // a third of its letters wrong is another word
        Some((distance, name)) if *distance <= 1.max(wrong.len() / 3) => format!("did you mean `{name}`?"),
        Some(_) => {
            let mut names: Vec<_> = near.into_iter().map(|(_, name)| name).collect();
            names.sort_unstable();
            format!("there are {}", names.join(", "))
        }
    }
}

/// The keys of one section.
pub(super) struct Keys<'r, 'a> {
    reader: &'r mut Reader<'a>,
    path: &'r str,
    table: DeTable<'a>,
    single: bool,
}

impl Keys<'_, '_> {
    /// Take over what file and environment say about a key; the environment has the last word.
    pub(super) fn read<T: Setting>(&mut self, key: &str, value: &mut T, range: Option<RangeInclusive<u64>>) {
        let full = format!("{}.{key}", self.path);
        if let Some((name, found)) = self.table.remove_entry(key) {
            self.reader.set_line(&full, name.span().start);
            self.take(&full, Given::Toml(found.get_ref()), value, range.as_ref());
        }
        if !self.single {
            return;
        }
        let variable = env::name(self.path, key);
        if let Some(text) = self.reader.variables.remove(&variable) {
            self.reader.places.insert(full.clone(), Place::Variable(variable.clone()));
            self.take(&full, Given::Text(&text), value, range.as_ref());
        }
        self.reader.known_variables.push(variable);
    }

    fn take<T: Setting>(&mut self, full: &str, given: Given<'_>, value: &mut T, range: Option<&RangeInclusive<u64>>) {
        let bounds = || range.map_or_else(String::new, |r| format!(" from {} to {}", r.start(), r.end()));
        let what = match T::read(given) {
            Ok(read) => match (range, read.number()) {
                (Some(range), Some(n)) if !range.contains(&n) => format!("{n} is out of range"),
                _ => {
                    *value = read;
                    return;
                }
            },
            Err(what) => what,
        };
        self.reader.unreadable.insert(full.to_owned());
        self.reader.wrong(full, &what, &format!("write {}{}", T::EXPECTS, bounds()));
    }
}

/// What reading found, and what checking adds to it.
pub(super) struct Findings {
    file: String,
    places: BTreeMap<String, Place>,
    unreadable: BTreeSet<String>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Findings {
    /// A mistake. One about a key that could not even be read is a mere consequence, and not told.
    pub(super) fn wrong(&mut self, key: &str, what: impl Into<String>, fix: impl Into<String>) {
        if !self.is_unreadable(key) {
            let problem = self.problem(key, what.into(), fix.into());
            self.problems.push(problem);
        }
    }

    /// Something to think about.
    pub(super) fn doubtful(&mut self, key: &str, what: impl Into<String>, fix: impl Into<String>) {
        if !self.is_unreadable(key) {
            let problem = self.problem(key, what.into(), fix.into());
            self.warnings.push(problem);
        }
    }

    /// Whether file or environment set the key.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }

    /// All that was found, if it is too much to go on.
    pub(super) fn verdict(self) -> Result<Vec<Problem>, ConfigError> {
        if self.problems.is_empty() { Ok(self.warnings) } else { Err(ConfigError { problems: self.problems }) }
    }

    fn is_unreadable(&self, key: &str) -> bool {
        let mut path = Some(key);
        while let Some(at) = path {
            if self.unreadable.contains(at) {
                return true;
            }
            path = at.rsplit_once('.').map(|(parent, _)| parent);
        }
        false
    }

    fn problem(&self, key: &str, what: String, fix: String) -> Problem {
        Problem { place: place(&self.file, &self.places, key), key: key.to_owned(), what, fix }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions() {
        let names = ["gt06", "gps103", "jt808"];
        assert_eq!(suggest("gt60", names.into_iter()), "did you mean `gt06`?");
        assert_eq!(suggest("jt8O8", names.into_iter()), "did you mean `jt808`?");
        assert_eq!(suggest("meitrack", names.into_iter()), "there are gps103, gt06, jt808");
        assert_eq!(suggest("x", [].into_iter()), "");
    }

    #[test]
    fn places_fall_back_to_the_section_and_the_file() {
        let places =
            BTreeMap::from([("kafka".to_owned(), Place::Line(7)), ("kafka.prefix".to_owned(), Place::Variable("V".to_owned()))]);
        assert_eq!(place("f", &places, "kafka.brokers"), "f:7");
        assert_eq!(place("f", &places, "kafka.prefix"), "V");
        assert_eq!(place("f", &places, "sink.kind"), "f");
    }
}
