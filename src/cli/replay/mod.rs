//! `navgate replay`: recorded conversations against a running gateway.
//!
//! ```text
//!   script ─▶ disguise ─▶ wire: bytes out, replies in ─▶ differences
//!                           store: events and rejects  ─┘
//! ```

mod show;
mod store;
mod wire;

use std::io::{self, IsTerminal, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use protocols::identity::DeviceId;
use protocols::profile::Auth;
use protocols::registry::{self, Protocol};
use protocols::script::{Action, Disguise, Disguised, Expect, Options, SECRET, Script, events_at, run as hear};

use super::{Exit, stop_on_signals};
use crate::clock;
use show::Finding;
use store::{Store, Whose};

/// Pauses of which nothing is expected are cut to this, unless a speed is asked for: nothing happens in them.
const IDLE_PAUSE: Duration = Duration::from_secs(1);
/// A conversation that waits longer than this has a progress bar.
const LONG: Duration = Duration::from_secs(3);
/// So does one with more items than this.
const MANY: usize = 500;

/// Plays each script over a connection of its own, as a device that nobody has: fresh invented identities, with checksums
/// made right again. Then says what came otherwise than the script expects.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Recorded conversations; `fixtures/README.md` describes them
    #[arg(required = true, value_name = "SCRIPT")]
    scripts: Vec<PathBuf>,
    /// Where the gateway, or the balancer before it, listens
    #[arg(long, value_name = "HOST:PORT")]
    to: String,
    /// Begin each connection as a balancer does
    #[arg(long, value_name = "VERSION")]
    proxy: Option<ProxyVersion>,
    /// So many times as fast as recorded; without it pauses are cut to 1 s where nothing is expected of them
    #[arg(long, value_name = "X", value_parser = speed)]
    speed: Option<f64>,
    /// Send the bytes as they are, with the recorded identities
    #[arg(long)]
    as_is: bool,
    /// Yes, --as-is to another machine: whatever has these identities there will seem to be this
    #[arg(long)]
    yes: bool,
    /// Check events and rejects too: the journal's directory, or Kafka brokers as host:port,host:port
    #[arg(long, value_name = "DIR|BROKERS")]
    events: Option<String>,
    /// First part of the names of Kafka's topics (kafka.prefix)
    #[arg(long, value_name = "PREFIX", default_value = "navgate")]
    prefix: String,
    /// For librdkafka, as in [kafka.properties]: TLS, SASL
    #[arg(long = "property", value_name = "NAME=VALUE")]
    properties: Vec<String>,
    /// What is spoken, where the script's folder is not named after it
    #[arg(long, value_name = "NAME")]
    protocol: Option<String>,
}

/// Which header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ProxyVersion {
    /// Text
    V1,
    /// Binary
    V2,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse::<f64>().map_err(|e| e.to_string())?;
    if speed.is_finite() && speed > 0.0 { Ok(speed) } else { Err("a speed is a number above 0".into()) }
}

/// A script, ready to be played.
struct Play {
    path: PathBuf,
    protocol: &'static Protocol,
    script: Script,
    /// Ids that its events may have.
    devices: Vec<String>,
    /// The codes that the device would send to a gateway with the fixtures' secret.
    codes: Vec<String>,
}

/// Play all scripts. Fails if something came otherwise than expected.
pub(crate) fn run(args: &ReplayArgs) -> Result<(), Exit> {
    let stop = stop_on_signals()?;
    let to = address(&args.to)?;
    if args.as_is && !args.yes && !to.ip().to_canonical().is_loopback() {
        return Err(Exit::usage(format!(
            "--as-is to {to}, which is not this machine: a device that has the recorded identity would be thrown out, and its records would get these among them. Leave --as-is out, or add --yes"
        )));
    }
    // everything is read before anything is sent
    let plays = args.scripts.iter().map(|path| Play::read(path, args)).collect::<Result<Vec<_>, _>>()?;
    let mut store = args.events.as_deref().map(|from| Store::open(from, &args.prefix, &args.properties)).transpose()?;
    let mut out = anstream::AutoStream::auto(io::stdout().lock());
    let mut failed = 0;
    for play in &plays {
        let findings = play.on(to, args, store.as_mut(), &stop);
        failed += usize::from(!findings.is_empty());
        show::write(&mut out, play, &findings, store.is_some())?;
        out.flush()?;
        if stop.load(Ordering::Relaxed) {
            return Err(Exit::failed("interrupted"));
        }
    }
    if plays.len() > 1 {
        writeln!(out, "{} as expected, {failed} not", plays.len() - failed)?;
    }
    if failed == 0 { Ok(()) } else { Err(Exit { status: 1, message: String::new() }) }
}

fn address(text: &str) -> Result<SocketAddr, Exit> {
    let found: Vec<_> = text.to_socket_addrs().map_err(|e| Exit::usage(format!("--to {text}: {e}; write host:port")))?.collect();
    // `localhost` is both; gateways listen on the first kind
    found
        .iter()
        .find(|address| address.is_ipv4())
        .or_else(|| found.first())
        .copied()
        .ok_or_else(|| Exit::usage(format!("--to {text}: there is no such host")))
}

impl Play {
    fn read(path: &Path, args: &ReplayArgs) -> Result<Self, Exit> {
        let told = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
        let text = std::fs::read_to_string(path).map_err(|e| Exit::usage(told(&e)))?;
        let script = Script::parse(&text).map_err(|e| Exit::usage(told(&e)))?;
        let folder = path.canonicalize().ok().and_then(|p| p.parent()?.file_name()?.to_str().map(str::to_owned));
        let name = args.protocol.clone().or(folder).unwrap_or_default();
        let protocol = registry::find(&name).ok_or_else(|| {
            Exit::usage(told(&format!("`{name}` is no protocol: say which with --protocol (`navgate protocols` lists them)")))
        })?;
        if let Some(device) = &script.device {
            return Err(Exit::usage(told(&format!(
                "its session knows beforehand that it is {device}, which a gateway learns only from a sign-on: put one before it"
            ))));
        }
        if let Some(item) = script.items.iter().find(|item| matches!(item.action, Action::Command(_))) {
            let line = item.line;
            return Err(Exit::usage(told(&format!(
                "line {line}: a command of the backend; only what the device begins is played"
            ))));
        }
        let Disguised { script, identities, codes, .. } = match args.as_is {
            true => Disguised { script, identities: Vec::new(), codes: Vec::new(), unmoved: 0 },
            false => {
                let seed = getrandom::u64().map_err(|e| Exit::failed(format!("the system gives no random numbers: {e}")))?;
                Disguise::identities(seed).script(protocol, &script).map_err(|e| Exit::failed(told(&e)))?
            }
        };
        let itself = hear(protocol, &script, &Options::default()).device;
        let code = |device: &DeviceId| Auth { required: false, secrets: vec![SECRET.to_vec()] }.code(device.as_str());
        let codes = if args.as_is { itself.iter().map(code).collect() } else { codes };
        let others = identities.into_iter().map(|(_, new)| new);
        let mut devices: Vec<_> = itself.iter().map(|device| device.as_str().to_owned()).chain(others).collect();
        devices.dedup();
        Ok(Self { path: path.to_owned(), protocol, script, devices, codes })
    }

    /// How long a pause lasts here.
    fn pause(&self, index: usize, pause: Duration, speed: Option<f64>) -> Duration {
        match speed {
            Some(speed) => Duration::try_from_secs_f64(pause.as_secs_f64() / speed).unwrap_or(pause),
            None if self.script.items.get(index).is_some_and(|item| item.expected.is_empty()) => pause.min(IDLE_PAUSE),
            None => pause,
        }
    }

    fn progress(&self, speed: Option<f64>) -> ProgressBar {
        let items = &self.script.items;
        let pauses = items.iter().enumerate().map(|(index, item)| match item.action {
            Action::Advance(pause) => self.pause(index, pause, speed),
            Action::Receive(_) | Action::Command(_) => Duration::ZERO,
        });
        let long = pauses.sum::<Duration>() > LONG || items.len() > MANY;
        if !long || !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(items.len() as u64);
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {elapsed}") {
            bar.set_style(style);
        }
        bar.with_message(self.path.file_name().unwrap_or_default().to_string_lossy().into_owned())
    }

    /// Play it, and compare.
    fn on(&self, to: SocketAddr, args: &ReplayArgs, store: Option<&mut Store>, stop: &AtomicBool) -> Vec<Finding> {
        let bar = self.progress(args.speed);
        let begun = clock::utc();
        let mut findings = Vec::new();
        let peer = match wire::play(self, to, args, stop, &bar, &mut findings) {
            Ok(peer) => Some(peer),
            Err(e) => {
                findings.push(Finding::Broken(format!("{to}: {e}")));
                None
            }
        };
        bar.finish_and_clear();
        if let (Some(store), Some(peer)) = (store, peer) {
            let whose = Whose { devices: &self.devices, peer };
            match store.compare(&self.script, &events_at(self.protocol, &self.script, begun), &whose, stop) {
                Ok(found) => findings.extend(found),
                Err(e) => findings.push(Finding::Broken(e)),
            }
        }
        findings
    }

    /// How many lines of a kind are expected.
    fn expected(&self, kind: impl Fn(&Expect) -> bool) -> usize {
        self.script.items.iter().flat_map(|item| &item.expected).filter(|e| kind(&e.what)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(words: &[&str]) -> ReplayArgs {
        use clap::Parser;
        #[derive(Debug, Parser)]
        struct Line {
            #[command(flatten)]
            args: ReplayArgs,
        }
        Line::try_parse_from([&["replay"], words].concat()).unwrap().args
    }

    fn script(text: &str) -> Result<Play, Exit> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one.script");
        std::fs::write(&path, text).unwrap();
        Play::read(&path, &args(&["one", "--to", "127.0.0.1:1", "--protocol", "gt06"]))
    }

    const LOGIN: &str = "> 78780d01086120000000001200011d5a0d0a\n";

    #[test]
    fn each_run_is_another_device() {
        let [first, second] = [(); 2].map(|()| script(LOGIN).unwrap().devices);
        assert!(first != second && !first.contains(&"861200000000012".to_owned()), "{first:?} {second:?}");
    }

    #[test]
    fn refuses_what_no_device_can_play() {
        for (text, says) in [("% device 1\n", "beforehand"), ("$ {\"locate\":{}}\n", "line 1"), ("x\n", "line 1")] {
            let refused = script(text).map(|play| play.devices).unwrap_err();
            assert!(refused.status == 2 && refused.message.contains(says), "{refused:?}");
        }
    }

    #[test]
    fn refuses_to_pretend_elsewhere_unless_told_twice() {
        let refused = run(&args(&["none", "--to", "192.0.2.1:5023", "--as-is"])).unwrap_err();
        assert!(refused.status == 2 && refused.message.contains("--yes"), "{refused:?}");
        assert_eq!(run(&args(&["none", "--to", "nowhere", "--as-is"])).unwrap_err().status, 2);
    }

    #[test]
    fn pauses_are_scaled_or_cut_where_nothing_is_expected() {
        let play = script(&format!("{LOGIN}@ +10s\n@ +10s\n< 00\n")).unwrap();
        let pause = |index, speed| play.pause(index, Duration::from_secs(10), speed).as_millis();
        assert_eq!((pause(1, None), pause(2, None)), (1000, 10_000));
        assert_eq!((pause(1, Some(100.0)), pause(1, Some(1.0))), (100, 10_000));
        for bad in ["0", "-1", "inf", "x"] {
            assert!(speed(bad).is_err(), "{bad}");
        }
    }
}
