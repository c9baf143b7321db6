//! navgate: a gateway between in-car navigators and a dispatch backend.

mod cli;
#[allow(dead_code, unused_imports, reason = "its callers, the sink and `navgate events`, come with the gateway")]
mod journal;

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
        ["protocols", "--json"] => {
            let names: Vec<_> = protocols::PROTOCOLS.iter().map(|p| serde_json::json!({"name": p.name})).collect();
            println!("{}", serde_json::to_string(&names).unwrap());
        }
        _ => std::process::exit(2),
    }
}
