//! End to end: devices on one side, a real Kafka or a journal on the other, `navgate serve` and sometimes HAProxy between.
//!
//! Kafka comes from `tests/kafka/broker`. `tests/run` starts one for all; alone, `cargo test --test e2e` starts its own.

mod auto;
mod balancer;
mod bursts;
mod capture;
mod conversations;
mod crashes;
mod deaths;
mod down;
mod drivers;
mod harness;
mod import;
mod journal;
mod life;
mod orders;
mod peers;
mod proxy;
mod replay;
mod spool;
mod tools;
