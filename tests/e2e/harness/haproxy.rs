//! A real HAProxy in front of gateways, in the shape of `deploy/haproxy.cfg`.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::gateway::Gateway;
use super::{free_port, until};

/// How often other ports are tried, if somebody was faster.
const TRIES: usize = 5;

/// A balancer that runs; ended when dropped.
pub(crate) struct Balancer {
    child: Child,
    home: TempDir,
    ports: Vec<(String, SocketAddr)>,
}

impl Balancer {
    /// Spread devices of these protocols over these gateways.
    pub(crate) fn start(protocols: &[&str], gateways: &[&Gateway]) -> Self {
        Self::for_devices(1000, protocols, gateways)
    }

    /// The same with room for so many.
    pub(crate) fn for_devices(most: u32, protocols: &[&str], gateways: &[&Gateway]) -> Self {
        for _ in 0..TRIES {
            let ports: Vec<_> =
                protocols.iter().map(|p| ((*p).to_owned(), SocketAddr::from(([127, 0, 0, 1], free_port())))).collect();
            let home = tempfile::tempdir().unwrap();
            let file = home.path().join("haproxy.cfg");
            std::fs::write(&file, configuration(most, &ports, gateways)).unwrap();
            let log = std::fs::File::create(home.path().join("log")).unwrap();
            let child = Command::new(program()).arg("-db").arg("-f").arg(&file).stdin(Stdio::null()).stderr(log).spawn();
            let mut balancer = Self { child: child.expect("HAProxy is needed; tests/run installs it"), home, ports };
            let up = until("HAProxy", || {
                if balancer.child.try_wait().unwrap().is_some() {
                    return Some(false);
                }
                let reachable = |(_, address): &(String, SocketAddr)| TcpStream::connect(address).is_ok();
                balancer.ports.iter().all(reachable).then_some(true)
            });
            if up {
                return balancer;
            }
            let log = balancer.log();
            assert!(log.contains("cannot bind socket"), "HAProxy does not start:\n{log}");
        }
        panic!("no free ports for HAProxy in {TRIES} tries");
    }

    /// Where devices of this protocol connect.
    pub(crate) fn address(&self, protocol: &str) -> SocketAddr {
        self.ports.iter().find(|(p, _)| p == protocol).unwrap().1
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- what HAProxy said:\n{}---", self.log());
        }
    }
}

/// Debian puts it where users without privileges do not look.
fn program() -> &'static str {
    if Path::new("/usr/sbin/haproxy").exists() { "/usr/sbin/haproxy" } else { "haproxy" }
}

/// `noreuseport`: two balancers that chose the same port would share it unseen, and each get connections of the other.
fn configuration(most: u32, ports: &[(String, SocketAddr)], gateways: &[&Gateway]) -> String {
    let mut text = format!(
        "global\n  noreuseport\n  maxconn {most}\n  hard-stop-after 5s\n\
         defaults\n  mode tcp\n  timeout connect 3s\n  timeout client 5m\n  timeout server 5m\n  timeout tunnel 5m\n  \
         timeout client-fin 20s\n  timeout check 2s\n  retries 3\n  option redispatch 1\n",
    );
    for (protocol, address) in ports {
        text += &format!(
            "frontend {protocol}\n  bind {address}\n  tcp-request inspect-delay 10s\n  \
             tcp-request content accept if {{ req.len gt 0 }}\n  tcp-request content reject\n  default_backend to_{protocol}\n\
             backend to_{protocol}\n  balance leastconn\n  option httpchk\n  \
             http-check send meth GET uri /ready ver HTTP/1.1 hdr Host gateway\n  http-check expect status 200\n  \
             unique-id-format %{{+X}}o%ci%cp%Ts%rt\n  \
             default-server send-proxy-v2 proxy-v2-options crc32c,unique-id inter 300ms rise 1 fall 3 on-marked-down shutdown-sessions\n",
        );
        for gateway in gateways {
            let (id, to, admin, agent) = (gateway.id(), gateway.address(protocol), gateway.admin(), gateway.agent());
            text += &format!(
                "  server {id} {to} check addr {} port {} agent-check agent-addr {} agent-port {} agent-inter 300ms\n",
                admin.ip(),
                admin.port(),
                agent.ip(),
                agent.port()
            );
        }
    }
    text
}
