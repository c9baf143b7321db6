//! The configuration: a TOML file, overridden by the environment.
//!
//! `sections` lists every key; `value` what a key may hold; `reader` reads them one by one and remembers where each was
//! set; `files` takes in lists and secrets that stand in files of their own; `check` finds what does not fit together.
//! All of it goes on after a mistake, so that one run tells of every mistake.

mod check;
mod env;
mod files;
mod reader;
mod sections;
mod value;

use std::path::Path;
use std::sync::Arc;

use protocols::profile::{Auth, Profile, Settings};
use protocols::session::Recall;

pub(crate) use env::environment;
pub(crate) use reader::{ConfigError, Problem};
pub(crate) use sections::{
    Admin, Agent, Capture, Commands, Drain, Gateway, Journal, Kafka, Limits, Listener, Log, Peer, Security, Sessions, Sink,
};
pub(crate) use value::{
    AuthMode, Devices, LogFormat, LogLevel, Network, OnFull, Properties, ProxyMode, Secret, SinkKind, UnknownDevices,
};

use check::Known;
use reader::{Findings, Reader};

/// Something that works, but perhaps not as it is meant.
pub(crate) type Warning = Problem;

/// Everything that can be configured.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Config {
    /// This instance.
    pub(crate) gateway: Gateway,
    /// Addresses for devices.
    pub(crate) listeners: Vec<Listener>,
    /// What connections may cost.
    pub(crate) limits: Limits,
    /// Where events go.
    pub(crate) sink: Sink,
    /// The local log.
    pub(crate) journal: Journal,
    /// The cluster.
    pub(crate) kafka: Kafka,
    /// Who is served.
    pub(crate) security: Security,
    /// Metrics, health, drain.
    pub(crate) admin: Admin,
    /// For the other instances.
    pub(crate) peer: Peer,
    /// To devices.
    pub(crate) commands: Commands,
    /// Where each device is.
    pub(crate) sessions: Sessions,
    /// For HAProxy.
    pub(crate) agent: Agent,
    /// Raw bytes for technicians.
    pub(crate) capture: Capture,
    /// How it ends.
    pub(crate) drain: Drain,
    /// What it tells.
    pub(crate) log: Log,
    /// What is different about some devices.
    pub(crate) profiles: Vec<Arc<Profile>>,
}

impl Config {
    /// Without a secret of the cluster's, codes of this process are signed with one of its own; they die with it.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub(crate) fn generate_secret(&mut self) -> Result<(), String> {
        if self.security.secrets.is_empty() {
            let mut bytes = [0; 32];
            getrandom::fill(&mut bytes).map_err(|e| format!("the system gives no random bytes: {e}"))?;
            self.security.secrets.push(Secret::new(protocols::cursor::hex(&bytes)));
        }
        Ok(())
    }

    /// What the sessions of a listener need to know, besides what earlier ones left.
    pub(crate) fn settings(&self, listener: &Listener) -> Settings {
        Settings {
            profiles: self.profiles.clone(),
            auth: Auth {
                required: self.security.jt808_auth == AuthMode::Required,
                secrets: self.security.secrets.iter().map(|secret| secret.reveal().as_bytes().to_vec()).collect(),
            },
            device_prefix: listener.device_prefix.clone(),
            recall: Recall::default(),
        }
    }
}

/// Load a file under an environment (see [`environment`]).
///
/// # Errors
/// Every mistake that was found.
pub(crate) fn load(
    path: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<(Config, Vec<Warning>), ConfigError> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|e| {
        let what = format!("this file cannot be read: {e}");
        let fix = "give the path of a TOML file; deploy/config.toml shows every key".to_owned();
        ConfigError { problems: vec![Problem { place: file.clone(), key: String::new(), what, fix }] }
    })?;
    parse(file, &text, environment, &Known::registered())
}

fn parse(
    file: String,
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
    known: &Known,
) -> Result<(Config, Vec<Warning>), ConfigError> {
    let (mut config, mut findings) = read(file, text, environment)?;
    files::take_in(&mut config, &mut findings);
    check::check(&config, known, &mut findings);
    findings.verdict().map(|warnings| (config, warnings))
}

/// Read every key, without asking whether they fit together.
fn read(
    file: String,
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<(Config, Findings), ConfigError> {
    let (mut reader, mut table) = Reader::new(file, text, env::ours(environment))?;
    let mut config = Config::default();
    let mut names = vec!["listener", "profile"];
    macro_rules! sections {
        ($($name:ident)*) => {$(
            names.push(stringify!($name));
            config.$name = reader.section(stringify!($name), table.remove(stringify!($name)), true);
        )*};
    }
    sections!(gateway limits sink journal kafka security admin peer commands sessions agent capture drain log);
    reader.properties(&mut config.kafka.properties);
    for (path, found) in reader.tables("listener", table.remove("listener")) {
        config.listeners.push(reader.section(&path, Some(found), false));
    }
    for (path, found) in reader.tables("profile", table.remove("profile")) {
        config.profiles.extend(reader.foreign(&path, found).map(Arc::new));
    }
    Ok((config, reader.finish(table, &names)))
}

#[cfg(test)]
mod deployed;
#[cfg(test)]
mod tests;
