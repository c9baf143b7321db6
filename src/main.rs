//! navgate: a gateway between in-car navigators and a dispatch backend.

mod cli;
#[cfg_attr(not(test), expect(dead_code, reason = "until everything that is configured is there"))]
#[expect(unused_imports, reason = "the same")]
mod config;
#[cfg_attr(not(test), expect(dead_code, reason = "until the listener reads headers"))]
mod proxy;

use protocols::time::Timestamp;
use std::io;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["decode", "--jsonl"] => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            let now = Timestamp::from_millis(now.as_millis() as i64);
            if let Err(e) = cli::decode::jsonl(io::stdin().lock(), io::BufWriter::new(io::stdout().lock()), now) {
                eprintln!("navgate: {e}");
                std::process::exit(1);
            }
        }
        ["check-config", file] => {
            let status = cli::check::run(file.as_ref(), config::environment(), io::stdout().lock(), io::stderr().lock());
            std::process::exit(status.map_or(1, i32::from));
        }
        ["protocols", "--json"] => {
            let names: Vec<_> = protocols::PROTOCOLS.iter().map(|p| serde_json::json!({"name": p.name})).collect();
            println!("{}", serde_json::to_string(&names).unwrap());
        }
        _ => std::process::exit(2),
    }
}
