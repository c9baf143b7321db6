//! Names of environment variables.
//!
//! `NAVGATE_` + section + `__` + key, in upper case: `NAVGATE_KAFKA__BROKERS`. Lists are comma-separated. What goes to
//! librdkafka has underscores for its dots: `NAVGATE_KAFKA__PROPERTIES__SSL_CA_LOCATION` is `ssl.ca.location` (none of its
//! own names has an underscore). `[[listener]]` and `[[profile]]` are lists of tables and stand in the file only.

use std::collections::BTreeMap;

/// How all of them begin.
const PREFIX: &str = "NAVGATE_";

/// How those begin that are passed to librdkafka.
pub(super) const PROPERTIES: &str = "NAVGATE_KAFKA__PROPERTIES__";

/// The variable that overrides a key of a section.
pub(super) fn name(section: &str, key: &str) -> String {
    format!("{PREFIX}{}__{}", section.to_ascii_uppercase(), key.to_ascii_uppercase())
}

/// librdkafka's name in one of its variables.
pub(super) fn property(name: &str) -> Option<String> {
    let rest = name.strip_prefix(PROPERTIES).filter(|rest| !rest.is_empty())?;
    Some(rest.to_ascii_lowercase().replace('_', "."))
}

/// What of this process's environment is meant for us. Bytes that are no UTF-8 are replaced, so that the value is refused.
pub(crate) fn environment() -> Vec<(String, String)> {
    std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())).collect()
}

/// Keep ours.
pub(super) fn ours(all: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, String> {
    all.into_iter().filter(|(name, value)| name.starts_with(PREFIX) && !of_kubernetes(name, value)).collect()
}

/// Kubernetes tells every container about each Service of its namespace. For Services whose names begin with `navgate`
/// these variables look like ours, and nobody put them there who could take them away.
fn of_kubernetes(name: &str, value: &str) -> bool {
    if name.contains("__") {
        return false;
    }
    let url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let port = name.rsplit_once("_PORT_").is_some_and(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()));
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && url)
        || port
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(name("kafka", "linger_ms"), "NAVGATE_KAFKA__LINGER_MS");
        assert_eq!(property("NAVGATE_KAFKA__PROPERTIES__SSL_CA_LOCATION").as_deref(), Some("ssl.ca.location"));
        assert_eq!(property("NAVGATE_KAFKA__PROPERTIES__"), None);
        assert_eq!(property("NAVGATE_KAFKA__BROKERS"), None);
    }

    #[test]
    fn what_kubernetes_adds_for_a_service_of_our_name_is_not_ours() {
        for (name, value) in [
            ("NAVGATE_SERVICE_HOST", "10.96.0.7"),
            ("NAVGATE_SERVICE_PORT", "5023"),
            ("NAVGATE_SERVICE_PORT_GT06", "5023"),
            ("NAVGATE_PORT", "tcp://10.96.0.7:5023"),
            ("NAVGATE_PORT_5023_TCP", "tcp://10.96.0.7:5023"),
            ("NAVGATE_PORT_5023_TCP_ADDR", "10.96.0.7"),
            ("NAVGATE_ADMIN_PORT_9900_TCP_PROTO", "tcp"),
        ] {
            assert!(of_kubernetes(name, value), "{name}");
        }
        for (name, value) in
            [("NAVGATE_ADMIN_PORT", "9900"), ("NAVGATE_ADMIN__ADDRESS", "127.0.0.1:9900"), ("NAVGATE_KAFKA__SERVICE_HOST", "x")]
        {
            assert!(!of_kubernetes(name, value), "{name}");
        }
        let all = [("PATH", "/bin"), ("NAVGATE_PORT", "tcp://10.96.0.7:1"), ("NAVGATE_LOG__LEVEL", "debug")];
        let ours = ours(all.map(|(n, v)| (n.to_owned(), v.to_owned())));
        assert_eq!(ours.into_keys().collect::<Vec<_>>(), ["NAVGATE_LOG__LEVEL"]);
    }
}
