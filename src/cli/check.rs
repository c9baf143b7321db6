//! `navgate check-config`: what `serve` would make of a file, without serving.

use std::io::Write;
use std::path::Path;

use super::Exit;
use crate::config;

/// Check a file under an environment.
///
/// # Errors
/// A configuration that cannot be used, everything wrong with it told already; and those of the streams.
pub(crate) fn run(
    file: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
    mut results: impl Write,
    mut talk: impl Write,
) -> Result<(), Exit> {
    match config::load(file, environment) {
        Ok((config, warnings)) => {
            for warning in &warnings {
                writeln!(results, "warning: {warning}")?;
            }
            let listeners = config.listeners.len();
            writeln!(results, "OK: {} (listeners: {listeners}, warnings: {})", file.display(), warnings.len())?;
            Ok(())
        }
        Err(error) => {
            for problem in &error.problems {
                writeln!(talk, "error: {problem}")?;
            }
            Err(Exit::config(""))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> (u8, String, String) {
        let file = std::env::temp_dir().join(format!("navgate-check-{}-{}.toml", std::process::id(), text.len()));
        std::fs::write(&file, text).unwrap();
        let (mut results, mut talk) = (Vec::new(), Vec::new());
        let status = run(&file, [], &mut results, &mut talk).map_or_else(|exit| exit.status, |()| 0);
        std::fs::remove_file(&file).unwrap();
        (status, String::from_utf8(results).unwrap(), String::from_utf8(talk).unwrap())
    }

    #[test]
    fn a_good_file_is_ok_with_its_warnings() {
        let (status, results, talk) = told("[[listener]]\naddress = '127.0.0.1:0'\nprotocol = 'gt06'\n");
        assert_eq!((status, talk.as_str()), (0, ""));
        let lines: Vec<_> = results.lines().collect();
        assert!(lines.len() == 2 && lines[0].starts_with("warning: ") && lines[1].starts_with("OK: "), "{results}");
        assert!(lines[1].ends_with("(listeners: 1, warnings: 1)"), "{results}");
    }

    #[test]
    fn a_bad_file_ends_with_every_mistake() {
        let (status, results, talk) = told("[log]\nlevel = 3\nformat = 4\n");
        assert_eq!((status, results.as_str()), (64, ""));
        assert_eq!(talk.lines().filter(|line| line.starts_with("error: ")).count(), 3, "{talk}");
    }
}
