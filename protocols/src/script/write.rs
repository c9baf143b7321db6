//! Comparing a conversation with what is expected, for a person to read, and writing the expected lines anew.

use std::fmt;

use super::parse::{Expect, Expected, Item, Pattern, Script};
use super::run::{Options, Said, Transcript, World, run};
use crate::cursor::{hex, push_hex};
use crate::registry::Protocol;

/// One item after which something else was said than expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Line number of the item in the script, from 1.
    pub line: usize,
    /// The item itself.
    pub item: String,
    /// Lines in order: ` ` as expected, `-` expected and not said, `+` said and not expected.
    pub lines: Vec<(char, String)>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "line {}: {}", self.line, self.item)?;
        for (sign, line) in &self.lines {
            writeln!(f, "  {sign} {line}")?;
        }
        Ok(())
    }
}

/// Run a script and compare what was said with what is expected. Empty if they agree.
///
/// # Errors
/// The promises that the session broke, in words.
pub fn check(protocol: &Protocol, script: &Script) -> Result<Vec<Difference>, Vec<String>> {
    let said = marked(protocol, script)?;
    let compare = |(item, said): (&Item, &Vec<Line>)| {
        let steps = align(&item.expected, said);
        if steps.iter().all(|step| matches!(step, Step::Both(..))) {
            return None;
        }
        let source = |line: usize| script.source.get(line.wrapping_sub(1)).cloned().unwrap_or_default();
        let lines = steps.into_iter().map(|step| match step {
            Step::Both(expected, _) => (' ', source(expected.line)),
            Step::Missing(expected) => ('-', source(expected.line)),
            Step::Extra(said) => ('+', said.text()),
        });
        Some(Difference { line: item.line, item: source(item.line), lines: lines.collect() })
    };
    Ok(script.items.iter().zip(&said).filter_map(compare).collect())
}

/// The script with its expected lines written anew. Comments, blank lines and lines that are right stay as they are; bytes
/// of replies that depend on the server's clock, session or secret are written `..`.
///
/// # Errors
/// The promises that the session broke, in words.
pub fn update(protocol: &Protocol, script: &Script) -> Result<String, Vec<String>> {
    let said = marked(protocol, script)?;
    let mut out = String::new();
    let mut next_source = 0;
    // everything above the first item is no concern of ours
    let first = script.items.first().map_or(script.source.len(), |item| item.line.saturating_sub(1));
    push_lines(&mut out, script.source.get(..first).unwrap_or_default());
    for (index, (item, said)) in script.items.iter().zip(&said).enumerate() {
        next_source = next_source.max(item.line.saturating_sub(1));
        let end = script.items.get(index + 1).map_or(script.source.len(), |next| next.line.saturating_sub(1));
        push_lines(&mut out, script.source.get(next_source..=next_source).unwrap_or_default());
        next_source += 1;
        for step in align(&item.expected, said) {
            // comments before a line that stays keep their place
            if let Step::Both(expected, _) | Step::Missing(expected) = step {
                push_lines(&mut out, script.source.get(next_source..expected.line.saturating_sub(1)).unwrap_or_default());
                next_source = expected.line;
            }
            match step {
                Step::Both(expected, said) => match said.remarked(expected) {
                    Some(line) => push_lines(&mut out, &[line]),
                    None => {
                        push_lines(&mut out, script.source.get(expected.line.saturating_sub(1)..expected.line).unwrap_or_default())
                    }
                },
                Step::Extra(said) => push_lines(&mut out, &[said.text()]),
                Step::Missing(_) => {}
            }
        }
        push_lines(&mut out, script.source.get(next_source..end).unwrap_or_default());
        next_source = end;
    }
    Ok(out)
}

fn push_lines(out: &mut String, lines: &[String]) {
    for line in lines {
        out.push_str(line);
        out.push('\n');
    }
}

/// Bytes as a `>` or `<` line has them: text in quotes where all of it can be read, else hex.
pub fn text_of(bytes: &[u8]) -> String {
    let readable = |b: &u8| matches!(b, b' '..=b'~' | b'\r' | b'\n');
    if bytes.is_empty() || !bytes.iter().all(readable) {
        return hex(bytes);
    }
    let mut text = String::from('"');
    for byte in bytes {
        match byte {
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b'\\' | b'"' => {
                text.push('\\');
                text.push(char::from(*byte));
            }
            _ => text.push(char::from(*byte)),
        }
    }
    text.push('"');
    text
}

/// One line that was said, with the bytes that depend on the world.
#[derive(Debug)]
struct Line {
    said: Said,
    /// For a frame to the device.
    pattern: Option<Pattern>,
}

impl Line {
    fn text(&self) -> String {
        match &self.said {
            Said::Sent(bytes) | Said::Acknowledged(bytes) => {
                let pattern = self.pattern.clone().unwrap_or_else(|| Pattern::exact(bytes));
                format!("< {}", pattern_text(&pattern))
            }
            Said::Event(json) => format!("= {json}"),
            Said::Told(text) => format!("^ {text}"),
            Said::Rejected(kind) => format!("! {}", kind.label()),
            Said::Tolerated(kind) => format!("~ {}", kind.label()),
            Said::Notice(kind) => format!("? {}", kind.label()),
            Said::Closes(close) => format!(". {}", close.label()),
        }
    }

    fn fits(&self, expected: &Expect) -> bool {
        match (expected, &self.said) {
            (Expect::Sent(pattern), Said::Sent(bytes) | Said::Acknowledged(bytes)) => pattern.fits(bytes),
            (Expect::Event(want), Said::Event(json)) => {
                serde_json::from_str(json).is_ok_and(|have: serde_json::Value| have == *want)
            }
            (Expect::Rejected(want), Said::Rejected(kind))
            | (Expect::Tolerated(want), Said::Tolerated(kind))
            | (Expect::Notice(want), Said::Notice(kind)) => want == kind,
            (Expect::Closes(want), Said::Closes(close)) => want == close,
            (Expect::Told(want), Said::Told(text)) => want == text,
            _ => false,
        }
    }

    /// A right line whose bytes depend on the world in more places than it says, written anew.
    fn remarked(&self, expected: &Expected) -> Option<String> {
        let (Expect::Sent(Pattern(old)), Some(Pattern(new))) = (&expected.what, &self.pattern) else { return None };
        let both: Vec<_> = old.iter().zip(new).map(|(old, new)| old.and(*new)).collect();
        (both != *old).then(|| format!("< {}", pattern_text(&Pattern(both))))
    }
}

pub(super) fn pattern_text(pattern: &Pattern) -> String {
    match pattern.0.iter().copied().collect::<Option<Vec<u8>>>() {
        Some(bytes) => text_of(&bytes),
        None => pattern.0.iter().fold(String::new(), |mut text, byte| {
            match byte {
                Some(byte) => push_hex(&mut text, &[*byte]),
                None => text.push_str(".."),
            }
            text
        }),
    }
}

/// What was said after each item, with the bytes marked that differ in other worlds.
fn marked(protocol: &Protocol, script: &Script) -> Result<Vec<Vec<Line>>, Vec<String>> {
    let transcript = run(protocol, script, &Options::default());
    if !transcript.broken.is_empty() {
        return Err(transcript.broken);
    }
    let mut patterns: Vec<_> = sent(&transcript).map(|(_, bytes)| Pattern::exact(bytes)).collect();
    for n in 0..World::OTHERS {
        let other = run(protocol, script, &Options { world: World::other(n), ..Options::default() });
        // a conversation that goes another way in another world has no frames to compare
        if sent(&other).map(|(item, _)| item).ne(sent(&transcript).map(|(item, _)| item)) {
            continue;
        }
        for (Pattern(pattern), (_, bytes)) in patterns.iter_mut().zip(sent(&other)) {
            // another length is an escape more or less: its bytes do not stand opposite each other
            if pattern.len() == bytes.len() {
                pattern.iter_mut().zip(bytes).filter(|(p, b)| p.is_some_and(|p| p != **b)).for_each(|(p, _)| *p = None);
            }
        }
    }
    let mut items: Vec<_> = script.items.iter().map(|_| Vec::new()).collect();
    let mut patterns = patterns.into_iter();
    for (item, said) in transcript.said {
        let pattern = matches!(said, Said::Sent(_) | Said::Acknowledged(_)).then(|| patterns.next()).flatten();
        if let Some(lines) = items.get_mut(item) {
            lines.push(Line { said, pattern });
        }
    }
    Ok(items)
}

fn sent(transcript: &Transcript) -> impl Iterator<Item = (usize, &[u8])> {
    transcript.said.iter().filter_map(|(item, said)| match said {
        Said::Sent(bytes) | Said::Acknowledged(bytes) => Some((*item, bytes.as_slice())),
        _ => None,
    })
}

#[derive(Debug)]
enum Step<'a> {
    /// Expected and said.
    Both(&'a Expected, &'a Line),
    /// Expected, not said.
    Missing(&'a Expected),
    /// Said, not expected.
    Extra(&'a Line),
}

/// The shortest way from what is expected to what was said: a longest common subsequence, by table. An item has a few
/// lines, so the square of them is small.
fn align<'a>(expected: &'a [Expected], said: &'a [Line]) -> Vec<Step<'a>> {
    let fits: Vec<Vec<bool>> = expected.iter().map(|e| said.iter().map(|s| s.fits(&e.what)).collect()).collect();
    let fit = |i: usize, j: usize| fits.get(i).and_then(|row| row.get(j)).copied().unwrap_or(false);
    let mut common = vec![vec![0_usize; said.len() + 1]; expected.len() + 1];
    let read = |common: &[Vec<usize>], i: usize, j: usize| common.get(i).and_then(|row| row.get(j)).copied().unwrap_or(0);
    for i in (0..expected.len()).rev() {
        for j in (0..said.len()).rev() {
            let best =
                if fit(i, j) { read(&common, i + 1, j + 1) + 1 } else { read(&common, i + 1, j).max(read(&common, i, j + 1)) };
            if let Some(cell) = common.get_mut(i).and_then(|row| row.get_mut(j)) {
                *cell = best;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut steps = Vec::with_capacity(expected.len().max(said.len()));
    loop {
        match (expected.get(i), said.get(j)) {
            (Some(e), Some(s)) if fit(i, j) => {
                steps.push(Step::Both(e, s));
                (i, j) = (i + 1, j + 1);
            }
            (Some(e), s) if s.is_none() || read(&common, i + 1, j) >= read(&common, i, j + 1) => {
                steps.push(Step::Missing(e));
                i += 1;
            }
            (_, Some(s)) => {
                steps.push(Step::Extra(s));
                j += 1;
            }
            _ => return steps,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::toy::{self, TOY};
    use super::*;

    fn conversation() -> String {
        let line = |bytes: &[u8]| format!("> {}\n", text_of(bytes));
        let mut text = String::from("# an invented device\n@ 2026-03-01T10:00:00Z\n");
        text += &line(&toy::frame(toy::LOGIN, b"13800000001"));
        text += "\n# its place\n";
        text += &line(&toy::position(3_990_000, 11_640_000));
        text += "# the clock\n";
        text += &line(&toy::frame(toy::HEARTBEAT, b""));
        text += &line(&toy::frame(toy::PART, b"x"));
        text += "@ +10s\n\n";
        text += &line(&toy::frame(toy::BYE, b""));
        text + "# that was it\n"
    }

    fn updated(text: &str) -> String {
        update(&TOY, &Script::parse(text).unwrap()).unwrap()
    }

    #[test]
    fn expected_lines_are_written_where_they_belong() {
        let text = updated(&conversation());
        let ours: Vec<_> = text.lines().map(|line| line.split_once("> ").map_or(line, |_| ">")).collect();
        let sign_on = format!("< 0601{}03", "..".repeat(2 + 16));
        assert_eq!(
            ours,
            [
                "# an invented device",
                "@ 2026-03-01T10:00:00Z",
                ">",
                &sign_on, // serial from the session, code from the secret
                "",
                "# its place",
                ">",
                "= {\"position\":{\"latitude\":39.9,\"longitude\":116.4}}",
                "< 0602....03",
                "# the clock",
                ">",
                "< 0603................03",
                ">",
                "@ +10s",
                "? reassembly",
                "< \"again\\r\\n\"",
                "",
                ">",
                "< 0605....03",
                ". goodbye",
                "# that was it",
            ]
        );
    }

    #[test]
    fn what_was_written_agrees_and_is_not_written_again() {
        let once = updated(&conversation());
        assert_eq!(check(&TOY, &Script::parse(&once).unwrap()), Ok(Vec::new()));
        assert_eq!(updated(&once), once);
    }

    #[test]
    fn lines_that_are_right_stay_as_a_person_wrote_them() {
        let text = updated(&conversation())
            .replace("{\"latitude\":39.9,", "{ \"latitude\": 39.9, ")
            .replace("< 0605....03", "< 06 .. .. .. 03");
        assert_eq!(updated(&text), text);
    }

    #[test]
    fn differences_are_told_line_by_line() {
        let text = updated(&conversation())
            .replace("39.9", "38.9")
            .replace(". goodbye\n", "")
            .replace("< 0602....03\n", "< 0602....03\n! value\n");
        let differences = check(&TOY, &Script::parse(&text).unwrap()).unwrap();
        let told: Vec<_> = differences.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        let signs = |d: &Difference| d.lines.iter().map(|(sign, _)| *sign).collect::<String>();
        assert_eq!(signs(&differences[0]), "-+ -");
        assert!(told[0].contains("- = {\"position\":{\"latitude\":38.9"), "{}", told[0]);
        assert!(told[0].contains("+ = {\"position\":{\"latitude\":39.9"), "{}", told[0]);
        assert!(told[0].starts_with("line 7: > 02"), "{}", told[0]);
        assert_eq!(signs(&differences[1]), " +");
        assert_eq!(updated(&text), updated(&conversation()));
    }

    #[test]
    fn a_broken_promise_is_an_error_not_a_difference() {
        let script = Script::parse(&conversation()).unwrap();
        assert!(check(&toy::LYING, &script).unwrap_err()[0].contains("no such place"));
        assert!(update(&toy::STALLING, &script).unwrap_err()[0].contains("stalled"));
    }

    #[test]
    fn bytes_are_text_where_all_of_them_can_be_read() {
        assert_eq!(text_of(b"a\r\n\"\\"), r#""a\r\n\"\\""#);
        assert_eq!(text_of(b"a\0"), "6100");
        assert_eq!(text_of(b""), "");
        let script = Script::parse(&format!("> {}", text_of(b"a\r\n\"\\"))).unwrap();
        assert_eq!(script.bytes(), b"a\r\n\"\\");
    }
}
