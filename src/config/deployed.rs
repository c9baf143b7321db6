//! Tests: what stands beside `deploy/config.toml` fits it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Config, read};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn config() -> Config {
    read("config.toml".to_owned(), &text("config.toml"), []).unwrap().0
}

/// The lines of a configuration of HAProxy as words, without remarks.
fn words(text: &str) -> Vec<Vec<&str>> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>()).filter(|words| !words.is_empty()).collect()
}

/// What follows a word, wherever it stands.
fn after<'t>(lines: &[Vec<&'t str>], word: &str) -> Vec<&'t str> {
    lines.iter().flat_map(|line| line.windows(2).filter(|pair| pair[0] == word).map(|pair| pair[1])).collect()
}

/// Seconds of HAProxy's and systemd's spelling that these files use.
fn seconds(text: &str) -> u64 {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        other => panic!("unit {other}"),
    };
    digits.parse::<u64>().unwrap() * unit
}

#[test]
fn haproxy_accepts_its_configuration() {
    match Command::new("haproxy").arg("-c").arg("-f").arg(path("haproxy.cfg")).output() {
        Ok(out) => {
            let told = String::from_utf8_lossy(&out.stderr);
            assert!(out.status.success() && !told.contains("WARNING"), "{told}");
        }
        Err(e) => println!("skipped: haproxy cannot be started here: {e}"),
    }
}

#[test]
fn haproxy_reaches_what_the_gateway_serves() {
    let (text, config) = (text("haproxy.cfg"), config());
    let lines = words(&text);
    let servers: Vec<_> = lines.iter().filter(|line| line[0] == "server").map(|line| line[2]).collect();
    for listener in &config.listeners {
        let port = format!(":{}", listener.address.port());
        assert!(servers.iter().any(|server| server.ends_with(&port)), "no server has {port}: {servers:?}");
    }
    let ports: Vec<_> = config.listeners.iter().map(|l| format!(":{}", l.address.port())).collect();
    for server in servers {
        assert!(ports.iter().any(|port| server.ends_with(port)), "no listener for {server}");
    }
    assert_eq!(after(&lines, "port"), [config.admin.address.port().to_string()]);
    assert_eq!(after(&lines, "agent-port"), [config.agent.address.port().to_string()]);
    assert_eq!(after(&lines, "uri")[0], "/ready");
    assert_eq!(after(&lines, "proxy-v2-options"), ["crc32c,unique-id"]);
    assert!(config.listeners.iter().all(|l| !l.trusted.is_empty()));
    // the agent has to be asked at least twice while the draining gateway still accepts
    assert!(2 * seconds(after(&lines, "agent-inter")[0]) < config.drain.notice_s.0);
    // no address is ever limited by itself
    assert!(!["stick-table", "track-sc0", "sc_conn_cur"].iter().any(|word| text.contains(word)));
}

#[test]
fn haproxy_is_more_patient_than_the_gateway() {
    let text = text("haproxy.cfg");
    let lines = words(&text);
    let idle = protocols::PROTOCOLS.iter().map(|p| p.limits.idle.as_secs()).max().unwrap_or_default();
    for side in ["client", "server", "tunnel"] {
        let timeouts = lines.iter().filter(|line| line[0] == "timeout" && line[1] == side).map(|line| seconds(line[2]));
        assert!(timeouts.max().unwrap() > idle, "timeout {side}");
    }
}

#[test]
fn systemd_waits_for_the_drain_and_gives_what_the_limits_need() {
    let (text, config) = (text("navgate.service"), config());
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut unit: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in lines.filter(|line| !line.starts_with('[')) {
        let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("{line}"));
        unit.entry(key).or_default().push(value);
    }
    let drain = &config.drain;
    let stop = drain.notice_s.get() + drain.limit_s.get() + drain.close_s.get() + config.gateway.shutdown_limit_s.get();
    assert!(seconds(unit["TimeoutStopSec"][0]) > stop.as_secs());
    assert!(unit["LimitNOFILE"][0].parse::<u64>().unwrap() > u64::from(config.limits.max_connections));
    assert_eq!(unit["RestartPreventExitStatus"], ["64"]);
    // the journal's relative path leads into what the unit keeps
    assert!(config.journal.path.is_relative());
    assert_eq!((unit["StateDirectory"][0], unit["WorkingDirectory"][0]), ("navgate", "%S/navgate"));
    for key in ["DynamicUser", "NoNewPrivileges", "MemoryDenyWriteExecute", "PrivateDevices", "RestrictNamespaces"] {
        assert_eq!(unit[key], ["yes"], "{key}");
    }
    assert_eq!(unit["ProtectSystem"], ["strict"]);
}

#[test]
fn systemd_accepts_its_unit() {
    let folder = std::env::temp_dir().join(format!("navgate-unit-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let unit = folder.join("navgate.service");
    // it looks for the program, which is not installed where tests run
    std::fs::write(&unit, text("navgate.service").replace("/usr/local/bin/navgate", "/bin/sh")).unwrap();
    match Command::new("systemd-analyze").arg("verify").arg(&unit).output() {
        Ok(out) => {
            let told = String::from_utf8_lossy(&out.stderr);
            assert!(out.status.success() && !told.contains("navgate.service"), "{told}");
        }
        Err(e) => println!("skipped: systemd-analyze cannot be started here: {e}"),
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
