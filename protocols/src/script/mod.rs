//! Recorded conversations: what a device sent, what must go back, and which events come of it.
//!
//! ```text
//!   fixtures/<protocol>/<what-happens>.script
//!        │ Script::parse
//!        ▼
//!     Script ──── run ────▶ Transcript ──── check ────▶ differences, for a person
//!        ▲                      │
//!        └────────── update ◀───┘   the expected lines written anew, comments kept
//! ```
//!
//! Tests, `navgate replay`, benches and fuzz seeds read the same files; `fixtures/README.md` describes the grammar. Like
//! the rest of the crate nothing here touches a file or a clock: text comes in, text goes out.

mod disguise;
mod fit;
mod fuzz;
pub mod laws;
mod parse;
mod present;
mod record;
mod run;
#[cfg(test)]
pub(crate) mod toy;
mod write;

pub use disguise::{Disguise, Disguised, Undisguised, substitute};
pub use fit::Fit;
pub use fuzz::{fuzz_script, fuzz_session};
pub use parse::{
    Action, DEFAULT_START_MS, DEFAULT_WITHIN, Expect, Expected, Item, MAX_ADVANCE, Order, Pattern, Script, ScriptError, unescape,
};
pub use present::events_at;
pub use record::{Heard, Moment, Recording};
pub use run::{Feed, Framed, Options, SECRET, Said, Storage, Tally, Transcript, World, run};
pub use write::{Difference, check, text_of, update};
