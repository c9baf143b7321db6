//! The log: text or JSON on stderr, with a filter that can be changed while running.

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::Arc;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt as layer};

use crate::config::{Log, LogFormat};

/// Targets that say as an error what is a device's or a scanner's doing, and that we report ourselves.
const NOISY: [&str; 2] = ["haproxy_protocol=off", "librdkafka=off"];

/// A handle to the filter.
#[derive(Clone)]
pub(crate) struct LogFilter {
    handle: reload::Handle<EnvFilter, Registry>,
    now: Arc<parking_lot::Mutex<String>>,
}

impl fmt::Debug for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogFilter({})", self.now.lock())
    }
}

impl LogFilter {
    /// The filter in force.
    pub(crate) fn current(&self) -> String {
        self.now.lock().clone()
    }

    /// Put another in force.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn set(&self, filter: &str) -> Result<(), String> {
        let parsed = parse(filter)?;
        self.handle.reload(parsed).map_err(|e| e.to_string())?;
        filter.clone_into(&mut self.now.lock());
        Ok(())
    }
}

fn parse(filter: &str) -> Result<EnvFilter, String> {
    let mut parsed = EnvFilter::try_new(filter)
        .map_err(|e| format!("`{filter}` is no log filter ({e}); examples: info, debug, info,navgate::connection=debug"))?;
    for directive in NOISY {
        parsed = parsed.add_directive(directive.parse().map_err(|e| format!("{directive}: {e}"))?);
    }
    Ok(parsed)
}

/// Start logging.
///
/// # Errors
/// If logging runs already.
pub(crate) fn start(log: &Log) -> Result<LogFilter, String> {
    let level = log.level.word().to_owned();
    let (filter, handle) = reload::Layer::new(parse(&level)?);
    let registry = tracing_subscriber::registry().with(filter);
    let started = match log.format {
        LogFormat::Text => {
            let text = layer::layer().with_writer(io::stderr).with_target(false).with_ansi(io::stderr().is_terminal());
            registry.with(text).try_init()
        }
        LogFormat::Json => registry.with(layer::layer().json().with_writer(io::stderr).flatten_event(true)).try_init(),
    };
    started.map_err(|e| e.to_string())?;
    Ok(LogFilter { handle, now: Arc::new(parking_lot::Mutex::new(level)) })
}
