//! Every key, with its type, its default and its range. Why a default is what it is stands in `deploy/config.toml`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::reader::{Keys, Section};
use super::value::{
    AuthMode, Compression, Devices, LogFormat, LogLevel, Millis, Network, OnFull, Properties, ProxyMode, Seconds, Secret, SinkKind,
    UnknownDevices,
};

/// One table of keys: the struct, its defaults, and how it is read.
macro_rules! section {
    ($($(#[$doc:meta])* struct $name:ident {
        $($(#[$what:meta])* $key:ident: $type:ty = $default:expr $(, in $range:expr)?;)*
    })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub(crate) struct $name { $($(#[$what])* pub(crate) $key: $type,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }

        impl Section for $name {
            const KEYS: &'static [&'static str] = &[$(stringify!($key)),*];

            fn read(&mut self, keys: &mut Keys<'_, '_>) {
                $(keys.read(stringify!($key), &mut self.$key, section!(range $($range)?));)*
            }
        }
    )*};
    (range) => { None };
    (range $range:expr) => { Some($range) };
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

fn host_name() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}

/// Instead of a protocol's name: the first bytes of each connection show which it is.
pub(super) const AUTO: &str = "auto";

const MIB: u64 = 1024 * 1024;

/// Longest time that a person may mean: a day, in seconds.
const DAY_S: u64 = 24 * 3600;

section! {
    /// `[gateway]`: this instance.
    struct Gateway {
        /// Its name, unique in the cluster.
        id: String = host_name();
        /// After the last connection is closed: for what is queued to become durable.
        shutdown_limit_s: Seconds = Seconds(30), in 1..=600;
    }

    /// `[[listener]]`: an address that devices connect to.
    struct Listener {
        /// Where to listen; it has to be given.
        address: SocketAddr = loopback(0);
        /// Registry name of the protocol, or [`AUTO`]; it has to be given.
        protocol: String = String::new();
        /// Those that [`AUTO`] may recognise; none: all.
        protocols: Vec<String> = Vec::new();
        /// Which of them is taken where bytes alone do not decide, the first that is possible.
        prefer: Vec<String> = Vec::new();
        /// From a connection's first byte until it must be recognised.
        detect_s: Seconds = Seconds(5), in 1..=60;
        /// Whether connections begin with a PROXY header.
        proxy: ProxyMode = ProxyMode::Off;
        /// Who may send such a header.
        trusted: Vec<Network> = Vec::new();
        /// Prepended to the id of every device that comes in here.
        device_prefix: String = String::new();
        /// Silence after which a device is disconnected; absent: the protocol's own.
        idle_s: Option<Seconds> = None, in 10..=DAY_S;
    }

    /// `[limits]`: what one connection, and all of them, may cost.
    struct Limits {
        /// Connections of this process.
        max_connections: u32 = 100_000, in 1..=10_000_000;
        /// From accept to a complete PROXY header.
        proxy_header_s: Seconds = Seconds(5), in 3..=60;
        /// From there to a device that is identified.
        identify_s: Seconds = Seconds(30), in 5..=600;
        /// How long a device may accept no byte of what is to be written.
        write_s: Seconds = Seconds(30), in 1..=600;
        /// Bytes that wait to be written to one device.
        outbox_bytes: u32 = 64 * 1024, in 4096..=16 * MIB;
    }

    /// `[sink]`: where events go.
    struct Sink {
        /// The kind.
        kind: SinkKind = SinkKind::Journal;
        /// With Kafka: how long a record may wait for it before everything goes to the journal.
        spool_after_ms: Millis = Millis(2000), in 200..=600_000;
    }

    /// `[journal]`: the local log, as sink or as spool.
    struct Journal {
        /// Its directory.
        path: PathBuf = PathBuf::from("navgate-data");
        /// Size at which a new file is begun.
        segment_bytes: u64 = 64 * MIB, in MIB..=4096 * MIB;
        /// Size of all files together.
        max_bytes: u64 = 4096 * MIB, in 2 * MIB..=1 << 50;
        /// What happens then.
        on_full: OnFull = OnFull::Stop;
        /// Longest wait of an event for others to share its fsync.
        commit_interval_ms: Millis = Millis(5), in 0..=1000;
    }

    /// `[kafka]`: the cluster.
    struct Kafka {
        /// Some brokers, `host:port`; the rest are learnt from them.
        brokers: Vec<String> = vec!["127.0.0.1:9092".to_owned()];
        /// First part of the topics' names, and the consumer group.
        prefix: String = "navgate".to_owned();
        /// Whether missing topics are created.
        create_topics: bool = true;
        /// Their partitions.
        partitions: u32 = 12, in 1..=10_000;
        /// Their replicas, if there are so many brokers.
        replication: u32 = 3, in 1..=9;
        /// Of batches.
        compression: Compression = Compression::Lz4;
        /// Longest wait of a record for others to share its batch.
        linger_ms: Millis = Millis(5), in 0..=1000;
        /// Records in the producer's queue.
        queue_messages: u32 = 200_000, in 1000..=10_000_000;
        /// Size of that queue, in KiB.
        queue_kbytes: u32 = 262_144, in 1024..=2_097_151;
        /// Passed to librdkafka.
        properties: Properties = Properties::default();
    }

    /// `[security]`: who is served.
    struct Security {
        /// Which devices.
        unknown_devices: UnknownDevices = UnknownDevices::Accept;
        /// Those that are listed; after loading with those of the file.
        devices: Devices = Devices::default();
        /// More of them, one a line.
        devices_file: Option<PathBuf> = None;
        /// Whether a JT/T 808 terminal has to authenticate.
        jt808_auth: AuthMode = AuthMode::Optional;
        /// Secrets of the cluster: the first signs, all verify; after loading those of the file, if it is given.
        secrets: Vec<Secret> = Vec::new();
        /// The same, one a line.
        secrets_file: Option<PathBuf> = None;
    }

    /// `[admin]`: metrics, health, drain.
    struct Admin {
        /// Where it listens.
        address: SocketAddr = loopback(9900);
        /// What a client has to show; after loading that of the file, if it is given.
        token: Option<Secret> = None;
        /// The same, alone in a file.
        token_file: Option<PathBuf> = None;
    }

    /// `[peer]`: for the other instances.
    struct Peer {
        /// Where it listens.
        address: SocketAddr = loopback(9901);
        /// `host:port` at which they reach it; absent: the address.
        advertise: Option<String> = None;
        /// For TLS: what this instance shows to others.
        certificate_file: Option<PathBuf> = None;
        /// The key of that.
        key_file: Option<PathBuf> = None;
        /// Whose certificates it believes.
        ca_file: Option<PathBuf> = None;
    }

    /// `[commands]`: from the backend to devices.
    struct Commands {
        /// Latest deadline that is accepted, from now.
        max_deadline_s: Seconds = Seconds(3600), in 1..=DAY_S;
    }

    /// `[sessions]`: where each device is.
    struct Sessions {
        /// How long a device that is away is remembered.
        forget_after_s: Seconds = Seconds(30 * DAY_S), in 3600..=3650 * DAY_S;
    }

    /// `[agent]`: for HAProxy's agent check.
    struct Agent {
        /// Where it listens.
        address: SocketAddr = loopback(9902);
    }

    /// `[capture]`: raw bytes of chosen devices, for technicians.
    struct Capture {
        /// The directory for their files; absent: none are written.
        path: Option<PathBuf> = None;
        /// Whether they may go to the topic `frames`.
        topic: bool = false;
        /// The longest capture.
        max_seconds: Seconds = Seconds(3600), in 1..=DAY_S;
        /// The largest, in memory until it ends.
        max_bytes: u64 = 16 * MIB, in 4096..=1024 * MIB;
    }

    /// `[drain]`: how an instance empties itself.
    struct Drain {
        /// How long it goes on accepting after it told the balancer.
        notice_s: Seconds = Seconds(5), in 0..=300;
        /// Over which time connections are then closed.
        limit_s: Seconds = Seconds(120), in 0..=3600;
        /// How long one that was told to end may go on sending.
        close_s: Seconds = Seconds(5), in 1..=60;
    }

    /// `[log]`: to stderr.
    struct Log {
        /// How much.
        level: LogLevel = LogLevel::Info;
        /// How it looks.
        format: LogFormat = LogFormat::Text;
    }
}

impl Listener {
    /// Whether the first bytes of a connection show which protocol it speaks.
    pub(crate) fn detects(&self) -> bool {
        self.protocol == AUTO
    }
}
