use std::path::PathBuf;

use super::check::Known;
use super::reader::Section;
use super::value::Compression;
use super::*;

/// Protocols that need not be registered for these tests to hold.
fn known() -> Known {
    Known { protocols: vec![("gps103", &[]), ("gt06", &["clone"]), ("jt808", &["taxi", "truck"])] }
}

const LISTENER: &str = "[[listener]]\naddress = '127.0.0.1:0'\nprotocol = 'gt06'\n";
const SECRETS: &str = "[security]\nsecrets = ['0123456789abcdef']\n";

fn vars(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load_text(text: &str, env: &[(&str, &str)]) -> Result<(Config, Vec<Warning>), ConfigError> {
    parse("f.toml".to_owned(), text, vars(env), &known())
}

fn accepts(text: &str, env: &[(&str, &str)]) -> (Config, Vec<String>) {
    let (config, warnings) = load_text(text, env).unwrap_or_else(|e| panic!("{e}"));
    (config, warnings.iter().map(ToString::to_string).collect())
}

fn refuses(text: &str, env: &[(&str, &str)]) -> Vec<String> {
    load_text(text, env).unwrap_err().problems.iter().map(ToString::to_string).collect()
}

/// Every section that is there once, with its keys. A section that is added has to be added here, or this does not compile.
fn sections() -> Vec<(&'static str, &'static [&'static str])> {
    fn keys<S: Section>(_: &S) -> &'static [&'static str] {
        S::KEYS
    }
    let Config {
        gateway,
        listeners: _,
        limits,
        sink,
        journal,
        kafka,
        security,
        admin,
        peer,
        commands,
        sessions,
        agent,
        capture,
        drain,
        log,
        profiles: _,
    } = Config::default();
    vec![
        ("gateway", keys(&gateway)),
        ("limits", keys(&limits)),
        ("sink", keys(&sink)),
        ("journal", keys(&journal)),
        ("kafka", keys(&kafka)),
        ("security", keys(&security)),
        ("admin", keys(&admin)),
        ("peer", keys(&peer)),
        ("commands", keys(&commands)),
        ("sessions", keys(&sessions)),
        ("agent", keys(&agent)),
        ("capture", keys(&capture)),
        ("drain", keys(&drain)),
        ("log", keys(&log)),
    ]
}

fn deployed(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The deployed file with its optional keys in force, and their names.
fn with_optional_keys(text: &str) -> (String, Vec<String>) {
    let mut optional = Vec::new();
    let mut profile = false;
    let mut whole = String::new();
    for line in text.lines() {
        let plain = line.strip_prefix("# ").unwrap_or_default();
        profile |= plain == "[[profile]]";
        let key = plain.split_once(" = ").map(|(key, _)| key);
        match key {
            Some(key) if key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') => {
                if !profile {
                    optional.push(key.to_owned());
                }
                whole += plain;
            }
            _ if plain == "[[profile]]" => whole += plain,
            _ => whole += line,
        }
        whole += "\n";
    }
    (whole, optional)
}

fn keys_of(text: &str, section: &str) -> Vec<String> {
    let table: toml::Table = text.parse().unwrap();
    let section = match &table[section] {
        toml::Value::Array(several) => several[0].as_table().unwrap(),
        one => one.as_table().unwrap(),
    };
    section.keys().cloned().collect()
}

fn sorted<S: AsRef<str>>(keys: &[S]) -> Vec<String> {
    let mut keys: Vec<_> = keys.iter().map(|key| key.as_ref().to_owned()).collect();
    keys.sort();
    keys
}

#[test]
fn the_deployed_file_holds_the_defaults() {
    let (mut config, findings) = read("config.toml".to_owned(), &deployed("config.toml"), []).unwrap();
    assert_eq!(findings.verdict(), Ok(Vec::new()));
    let listeners = std::mem::take(&mut config.listeners);
    assert_eq!(config, Config::default());
    // the keys that the first listener has for the sake of the list only
    let (first, default) = (&listeners[0], Listener::default());
    assert_eq!(first.device_prefix, default.device_prefix);
    assert_eq!((&first.protocols, &first.prefer, first.detect_s), (&default.protocols, &default.prefer, default.detect_s));
}

#[test]
fn the_deployed_file_has_every_key_and_no_other() {
    let (whole, optional) = with_optional_keys(&deployed("config.toml"));
    for (section, keys) in sections() {
        assert_eq!(sorted(&keys_of(&whole, section)), sorted(keys), "[{section}]");
    }
    assert_eq!(sorted(&keys_of(&whole, "listener")), sorted(Listener::KEYS), "[[listener]]");
    let profile = serde_json::to_value(Profile::default()).unwrap();
    let mut profile: Vec<_> = profile.as_object().unwrap().keys().cloned().collect();
    profile.push("time_zone".to_owned()); // not serialised where it is absent
    assert_eq!(sorted(&keys_of(&whole, "profile")), sorted(&profile), "[[profile]]");
    let known = ["id", "idle_s", "devices_file", "secrets_file", "token", "token_file", "advertise"];
    let known = [&known[..], &["certificate_file", "key_file", "ca_file", "path"]].concat();
    assert_eq!(optional, known, "only what has no default of its own may be commented out");
    // and each of them would be accepted as it is written there
    let (_, findings) = read("config.toml".to_owned(), &whole, []).unwrap();
    assert_eq!(findings.verdict(), Ok(Vec::new()));
}

#[test]
fn the_deployed_file_can_be_served() {
    let (config, warnings) = accepts(&deployed("config.toml"), &[]);
    assert_eq!(config.listeners.len(), 2);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("a random one will be made"));
}

#[test]
fn every_key_has_its_variable() {
    for (section, keys) in sections() {
        for key in keys.iter().filter(|key| **key != "properties") {
            let variable = env::name(section, key);
            let (_, findings) = read("f.toml".to_owned(), "", vars(&[(&variable, "")])).unwrap();
            let problems = findings.verdict().map_or_else(|e| e.to_string(), |_| String::new());
            assert!(!problems.contains("no key has this"), "{problems}");
        }
    }
}

#[test]
fn the_environment_has_the_last_word() {
    let text = format!("{LISTENER}{SECRETS}[kafka]\nlinger_ms = 7\nbrokers = ['a:1']\n[kafka.properties]\nssl.ca.location = 'a'\n");
    let (config, _) = accepts(
        &text,
        &[
            ("NAVGATE_KAFKA__BROKERS", "b:2, c:3"),
            ("NAVGATE_KAFKA__COMPRESSION", "zstd"),
            ("NAVGATE_KAFKA__CREATE_TOPICS", "false"),
            ("NAVGATE_KAFKA__PROPERTIES__SSL_CA_LOCATION", "b"),
            ("NAVGATE_SINK__KIND", "kafka"),
            ("NAVGATE_JOURNAL__PATH", "/var/lib/x"),
            ("NAVGATE_PEER__ADVERTISE", ""),
            ("HOME", "/root"),
        ],
    );
    assert_eq!(config.kafka.brokers, ["b:2", "c:3"]);
    assert_eq!(config.kafka.compression, Compression::Zstd);
    assert_eq!(config.kafka.linger_ms.get().as_millis(), 7);
    assert!(!config.kafka.create_topics);
    assert_eq!(config.kafka.properties.0["ssl.ca.location"], "b");
    assert_eq!(config.sink.kind, SinkKind::Kafka);
    assert_eq!(config.journal.path, PathBuf::from("/var/lib/x"));
    assert_eq!(config.peer.advertise, None);
}

#[test]
fn refuses_variables_that_are_no_key() {
    let text = format!("{LISTENER}{SECRETS}");
    let problems =
        refuses(&text, &[("NAVGATE_KAFKA_BROKERS", "a:1"), ("NAVGATE_LISTENER__ADDRESS", "x"), ("NAVGATE_DRAIN__LIMIT_S", "2m")]);
    assert_eq!(
        problems,
        [
            "NAVGATE_DRAIN__LIMIT_S: drain.limit_s: `2m` cannot be read; write a whole number of seconds from 0 to 3600",
            "NAVGATE_KAFKA_BROKERS: no key has this environment variable; did you mean `NAVGATE_KAFKA__BROKERS`?",
            "NAVGATE_LISTENER__ADDRESS: no key has this environment variable; did you mean `NAVGATE_PEER__ADDRESS`?",
        ]
    );
}

#[test]
fn tells_of_every_mistake_with_its_place() {
    let text = "[kafka]
linger_ms = 1001
lingr_ms = 3
[[listener]]
address = 'x'
protocol = 'gt60'
trusted = ['10.0.0.0/8']
[kafak]
[drain]
limit_s = '120'
[[profile]]
time_zone = '8'
[log]
level = 'loud'
";
    assert_eq!(
        refuses(text, &[]),
        [
            "f.toml:2: kafka.linger_ms: 1001 is out of range; write a whole number of milliseconds from 0 to 1000",
            "f.toml:3: kafka.lingr_ms: there is no such key; did you mean `linger_ms`?",
            "f.toml:10: drain.limit_s: this is of the type string; write a whole number of seconds from 0 to 3600",
            "f.toml:14: log.level: there is no choice `loud`; write \"error\", \"warn\", \"info\", \"debug\" or \"trace\"",
            "f.toml:5: listener[0].address: `x` cannot be read; write an IP address and a port, such as \"0.0.0.0:5023\" or \"[::]:5023\"",
            "f.toml:12: profile[0]: time zone `8` is not of the form +08:00",
            "f.toml:8: kafak: there is no such section; did you mean `kafka`?",
            "f.toml:6: listener[0].protocol: there is no protocol `gt60`; did you mean `gt06`?",
            "f.toml:7: listener[0].trusted: nobody sends a PROXY header here; set proxy = \"required\", or leave `trusted` out",
        ]
    );
    let broken = refuses("[kafka]\nlinger_ms = \n[drain\nlimit_s = 1\n", &[]);
    assert!(broken.len() >= 2 && broken.iter().all(|p| p.contains("this is not TOML")), "{broken:?}");
    assert_eq!(
        refuses("listener = 3\nkafka = 1\n", &[])[0],
        "f.toml:2: kafka: this is no table; write the keys of kafka under [kafka]"
    );
    assert_eq!(refuses("[listener]\n", &[]), ["f.toml:1: listener: there may be several of these; write [[listener]]"]);
}

/// What each of these, added to a good file, is refused for.
#[test]
fn refuses_what_does_not_fit_together() {
    let second = |rest: &str| format!("[[listener]]\naddress = '127.0.0.1:7000'\nprotocol = 'gt06'\n{rest}\n");
    let auto = |rest: &str| format!("[[listener]]\naddress = '127.0.0.1:7000'\nprotocol = 'auto'\n{rest}\n");
    for (more, what) in [
        ("[[listener]]\n".to_owned(), "listener[1].address: it is missing"),
        ("[[listener]]\n".to_owned(), "listener[1].protocol: it is missing; there are auto, gps103, gt06, jt808"),
        (second("") + &second(""), "listener[2].address: `127.0.0.1:7000` is taken by listener[1].address"),
        (second("") + "[agent]\naddress = '0.0.0.0:7000'", "agent.address: `0.0.0.0:7000` is taken by listener[1].address"),
        (second("proxy = 'required'"), "listener[1].trusted: nobody may send a PROXY header"),
        (second("proxy = 'optional'"), "listener[1].trusted: nobody may send a PROXY header"),
        (second("proxy = 'required'\ntrusted = ['10.0.0.1/33']"), "`10.0.0.1/33` is no network"),
        (
            second("prefer = ['gt06']"),
            "listener[1].prefer: nothing is recognised here: the protocol is given; set protocol = \"auto\"",
        ),
        (second("detect_s = 6"), "listener[1].detect_s: nothing is recognised here"),
        (auto("protocols = ['gt60']"), "listener[1].protocols: there is no protocol `gt60`; did you mean `gt06`?"),
        (auto("prefer = ['gt06', 'gt06']"), "listener[1].prefer: `gt06` stands there twice"),
        (auto("protocols = ['gt06']\nprefer = ['jt808']"), "listener[1].prefer: `jt808` is not among `protocols`"),
        (auto("detect_s = 61"), "listener[1].detect_s: 61 is out of range"),
        (second("device_prefix = 'a b'"), "listener[1].device_prefix: `a b` cannot stand in a device id"),
        (second("idle_s = 5"), "listener[1].idle_s: 5 is out of range"),
        ("[gateway]\nid = ''".to_owned(), "gateway.id: `` cannot name an instance"),
        ("[journal]\nmax_bytes = 67108864".to_owned(), "journal.max_bytes: only whole segments"),
        ("[journal]\non_full = 'delete_oldest'\n[sink]\nkind = 'kafka'".to_owned(), "journal.on_full: a spool that deletes"),
        ("[sink]\nkind = 'kafka'\n[kafka]\nbrokers = []".to_owned(), "kafka.brokers: there is none"),
        ("[sink]\nkind = 'kafka'\n[kafka]\nbrokers = ['a:1', 'b']".to_owned(), "kafka.brokers: `b` is no broker"),
        ("[sink]\nkind = 'kafka'\n[kafka]\nprefix = 'a/b'".to_owned(), "kafka.prefix: `a/b` cannot begin"),
        ("[sink]\nkind = 'kafka'\n[peer]\naddress = '0.0.0.0:1'".to_owned(), "peer.address: other instances cannot connect"),
        ("[kafka.properties]\nacks = 1".to_owned(), "kafka.properties.acks: the gateway sets this itself; leave it out"),
        ("[kafka.properties]\nbootstrap.servers = 'a:1'".to_owned(), "set kafka.brokers instead"),
        ("[peer]\nadvertise = 'somewhere'".to_owned(), "peer.advertise: `somewhere` is no place"),
        ("[admin]\naddress = '0.0.0.0:9900'".to_owned(), "admin.address: anybody who reaches it"),
        ("[admin]\ntoken = 'short'".to_owned(), "admin.token: a secret is so short"),
        ("[[profile]]\nprotocol = 'gt6'".to_owned(), "profile[0]: there is no protocol `gt6`; did you mean `gt06`?"),
        ("[[profile]]\nprotocol = 'gt06'\ndialect = 'taxi'".to_owned(), "there is no dialect `taxi` of gt06"),
        ("[[profile]]\ndialect = 'taxy'".to_owned(), "profile[0]: there is no dialect `taxy`; did you mean `taxi`?"),
        ("[[profile]]\ncurrency = 'rmb'".to_owned(), "profile[0]: `rmb` is no currency"),
        ("[[profile]]\nprice = 1".to_owned(), "profile[0]: unknown field `price`"),
    ] {
        let problems = refuses(&format!("{LISTENER}{SECRETS}{more}"), &[]);
        assert!(problems.iter().any(|p| p.contains(what)), "{more}\n{problems:#?}\nwithout: {what}");
    }
    for (text, what) in [
        ("[log]", "listener: no device could connect"),
        ("[security]\nunknown_devices = 'allowlist'", "security.unknown_devices: no device is listed"),
        ("[security]\nunknown_devices = 'reject'", "security.unknown_devices: no device is listed"),
        ("[security]\nsecrets = ['short']", "security.secrets: a secret is so short"),
    ] {
        let problems = refuses(text, &[]);
        assert!(problems.iter().any(|p| p.contains(what)), "{text}\n{problems:#?}\nwithout: {what}");
    }
}

#[test]
fn accepts_what_fits() {
    let text = format!(
        "{LISTENER}proxy = 'required'\ntrusted = ['10.0.1.5', '10.0.2.0/24']\ndevice_prefix = 'n1-'\n\
         [[listener]]\naddress = '[::1]:7000'\nprotocol = 'gt06'\n[[listener]]\naddress = '127.0.0.1:0'\nprotocol = 'jt808'\n\
         [security]\nunknown_devices = 'allowlist'\ndevices = ['013800000001']\njt808_auth = 'required'\n\
         secrets = ['new secret of 16', 'old secret of 16']\n\
         [admin]\naddress = '0.0.0.0:9900'\ntoken = 'sixteen letters.'\n[sink]\nkind = 'kafka'\n\
         [peer]\naddress = '0.0.0.0:9901'\nadvertise = 'gw-1.internal:9901'\n\
         [[profile]]\nprotocol = 'jt808'\ndialect = 'taxi'\ntime_zone = '+08:00'\n"
    );
    let (config, warnings) = accepts(&text, &[]);
    assert_eq!(warnings, Vec::<String>::new());
    let listener = &config.listeners[0];
    assert_eq!(listener.proxy, ProxyMode::Required);
    assert!(listener.trusted.iter().any(|net| net.contains("10.0.1.5".parse().unwrap())));
    let settings = config.settings(listener);
    assert_eq!((settings.device_prefix.as_str(), settings.auth.required, settings.profiles.len()), ("n1-", true, 1));
    assert_eq!(settings.auth.secrets, [b"new secret of 16".to_vec(), b"old secret of 16".to_vec()]);
    let device = protocols::identity::DeviceId::normalise("13800000001").unwrap();
    assert!(config.security.devices.contains(&device));
    assert_eq!(config.drain.limit_s.get().as_secs(), 120);
}

#[test]
fn a_secret_is_made_only_where_there_is_none() {
    let mut config = Config::default();
    config.generate_secret().unwrap();
    let made: Vec<Secret> = config.security.secrets.clone();
    assert_eq!((made.len(), made[0].reveal().len()), (1, 64));
    config.generate_secret().unwrap();
    assert_eq!(config.security.secrets, made);
}

#[test]
fn warns_of_what_may_be_meant_differently() {
    for (more, what) in [
        ("", "security.secrets: a random one will be made at each start"),
        ("[[listener]]\naddress='127.0.0.1:1'\nprotocol='gt06'\nproxy='optional'\ntrusted=['0.0.0.0/0']", "any client can forge"),
        ("[security]\ndevices = ['1']", "security.devices: all other devices are served too"),
        ("[security]\nsecrets = ['0123456789abcdef', '0123456789abcdef']", "the same secret stands there twice"),
        ("[sink]\nkind = 'kafka'", "peer.address: only instances on this machine"),
    ] {
        let (_, warnings) = accepts(&format!("{LISTENER}{more}"), &[]);
        assert!(warnings.iter().any(|w| w.contains(what)), "{more}\n{warnings:#?}\nwithout: {what}");
    }
}

#[test]
fn nothing_secret_is_told() {
    let good = format!(
        "{LISTENER}[security]\nsecrets = ['a-hidden-thing-1']\n[admin]\ntoken = 'a-hidden-thing-2'\n[kafka.properties]\n\"sasl.password\" = 'a-hidden-thing-3'\n"
    );
    let (config, warnings) = accepts(&good, &[]);
    assert!(!format!("{config:?}{warnings:?}").contains("hidden"));
    let bad = "[security]\nsecrets = 'a-hidden-thing'\n[admin]\ntoken = ['a-hidden-thing']\n[kafka.properties]\n\"sasl.password\" = ['a-hidden-thing']\n";
    let problems = refuses(bad, &[("NAVGATE_SECURITY__SECRETS", "hidden,hidden")]);
    assert!(problems.len() >= 4 && !problems.iter().any(|p| p.contains("hidden")), "{problems:#?}");
    let broken = refuses("[security]\nsecrets = ['a-hidden-thing\n", &[]);
    assert!(!broken.iter().any(|p| p.contains("hidden")), "{broken:#?}");
}

/// A folder that is gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("navgate-config-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str, mode: u32) -> String {
        use std::os::unix::fs::PermissionsExt;
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn files_for_tls_are_read_and_looked_at() {
    let folder = Folder::new("tls");
    let ca = folder.file("ca.pem", "no certificate", 0o644);
    let key = folder.file("peer.key", "no key", 0o644);
    let one = refuses(&format!("{LISTENER}{SECRETS}[peer]\nca_file = '{ca}'\n"), &[]);
    assert!(one[0].contains("peer.certificate_file: it is missing"), "{one:?}");
    let keys = format!("certificate_file = '{ca}'\nkey_file = '{key}'\nca_file = '{ca}'\n");
    let all = refuses(&format!("{LISTENER}{SECRETS}[peer]\n{keys}"), &[]);
    assert!(all[0].contains("peer.certificate_file: `") && all[0].contains("holds no certificate"), "{all:?}");
}

#[test]
fn a_device_is_remembered_for_longer_than_its_commands_are_open() {
    let text = format!("{LISTENER}{SECRETS}[commands]\nmax_deadline_s = 7200\n[sessions]\nforget_after_s = 7200\n");
    assert!(refuses(&text, &[])[0].contains("sessions.forget_after_s: where a device was would be forgotten"));
}

#[test]
fn lists_and_secrets_may_stand_in_files() {
    let folder = Folder::new("files");
    let devices = folder.file("devices", "# the old fleet\n0042\n\nTAXI-7\n", 0o644);
    let secrets = folder.file("secrets", "new secret of 16\nold secret of 16\n", 0o600);
    let token = folder.file("token", "sixteen letters.\n", 0o604);
    let text = format!(
        "{LISTENER}[security]\ndevices = ['7']\ndevices_file = '{devices}'\nsecrets_file = '{secrets}'\nunknown_devices = 'allowlist'\n\
         [admin]\ntoken_file = '{token}'\n"
    );
    let (config, warnings) = accepts(&text, &[]);
    assert_eq!(config.security.devices.0.iter().map(|d| d.as_str()).collect::<Vec<_>>(), ["42", "7", "TAXI-7"]);
    assert_eq!(config.security.secrets.iter().map(|s| s.reveal()).collect::<Vec<_>>(), ["new secret of 16", "old secret of 16"]);
    assert_eq!(config.admin.token.as_ref().map(|t| t.reveal()), Some("sixteen letters."));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("admin.token_file: every user of this machine can read this file"));
    // the same through a file and the process's environment
    let whole = folder.file("navgate.toml", &text, 0o644);
    assert!(load(whole.as_ref(), []).is_ok());
}

#[test]
fn refuses_files_that_do_not_help() {
    let folder = Folder::new("bad-files");
    let empty = folder.file("empty", "# nothing yet\n", 0o600);
    let two = folder.file("two", "sixteen letters.\nsixteen more ....\n", 0o600);
    let devices = folder.file("devices", "42\n000\n", 0o600);
    let text = format!(
        "{LISTENER}[security]\ndevices_file = '{devices}'\nsecrets = ['0123456789abcdef']\nsecrets_file = '{empty}'\n\
         [admin]\ntoken = 'sixteen letters.'\ntoken_file = '{two}'\n"
    );
    let problems = refuses(&text, &[]);
    for what in [
        "security.devices_file: line 2: `000` is no device id",
        "security.secrets_file: there are `secrets` as well",
        "security.secrets_file: there is no secret in it",
        "admin.token_file: there is a `token` as well",
        "admin.token_file: there are several lines",
    ] {
        assert!(problems.iter().any(|p| p.contains(what)), "{problems:#?}\nwithout: {what}");
    }
    let missing = folder.0.join("missing").display().to_string();
    for key in ["security.devices_file", "security.secrets_file", "admin.token_file"] {
        let (section, name) = key.split_once('.').unwrap();
        let problems = refuses(&format!("{LISTENER}[{section}]\n{name} = '{missing}'\n"), &[]);
        assert!(problems[0].contains(key) && problems[0].contains("cannot be read"), "{problems:?}");
    }
    let none = load(missing.as_ref(), []).unwrap_err().to_string();
    assert!(none.starts_with(&missing) && none.contains("this file cannot be read"), "{none}");
}
