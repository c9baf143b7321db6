//! `navgate serve`.

use std::path::Path;

use tracing::warn;

use super::Exit;
use crate::{config, logging, serve};

/// Serve until told to end.
pub(crate) fn run(file: &Path) -> Result<(), Exit> {
    let (mut config, warnings) = config::load(file, config::environment()).map_err(|e| Exit::config(e.to_string()))?;
    let log = logging::start(&config.log).map_err(Exit::failed)?;
    for warning in &warnings {
        warn!("{warning}");
    }
    config.generate_secret().map_err(Exit::failed)?;
    let runtime = serve::runtime();
    let runtime = runtime.map_err(|e| Exit::failed(format!("cannot start the runtime: {e}")))?;
    runtime.block_on(async {
        let running = serve::start(config, log).await.map_err(|e| Exit::failed(e.to_string()))?;
        running.until_told().await.map_err(|e| Exit::failed(e.to_string()))
    })
}
