//! The limit of open files: raised as far as allowed, and then respected.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use settings::Settings;

/// Files beside connections of clients and of Postgres: logs, RabbitMQ, Redis, videos that are being read.
const RESERVE: u64 = 128;
/// Fewest connections with which serving makes sense.
const CONNECTIONS_MIN: usize = 16;

/// Raises this process's limit of open files and lowers `connections_max` and `sse_streams_max` to what it allows: a process
/// without free files accepts nobody. Event streams take at most three quarters of all connections.
pub(crate) fn fit(settings: &mut Settings) {
    match raised() {
        Ok(files) => fit_to(settings, files),
        Err(error) => tracing::warn!(%error, "the limit of open files (ulimit -n) is unknown"),
    }
}

/// The limit after it was raised.
fn raised() -> nix::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() {
        return Ok(hard);
    }
    Ok(soft)
}

fn fit_to(settings: &mut Settings, files: u64) {
    // A connection to which a video is sent needs a second file or connection while it lasts.
    let free = files.saturating_sub(RESERVE + u64::from(settings.database.pool_max));
    let allowed = usize::try_from(free / 2).unwrap_or(usize::MAX).max(CONNECTIONS_MIN);
    let server = &mut settings.server;
    if server.connections_max > allowed {
        tracing::warn!(
            files,
            connections_max = allowed,
            "server.connections_max is lowered to what the limit of open files allows; raise it with ulimit -n"
        );
        server.connections_max = allowed;
    }
    server.sse_streams_max = server.sse_streams_max.min(server.connections_max * 3 / 4);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_and_streams_leave_files_for_the_rest() {
        let mut settings = Settings::defaults();
        let wanted = settings.server.clone();
        fit_to(&mut settings, 1 << 20);
        assert_eq!(settings.server, wanted, "enough files change nothing");
        fit_to(&mut settings, 1024);
        let server = &settings.server;
        assert!(server.connections_max < 512 && server.connections_max > 400, "{}", server.connections_max);
        assert!(server.sse_streams_max < server.connections_max, "{}", server.sse_streams_max);
        fit_to(&mut settings, 0);
        assert_eq!(settings.server.connections_max, CONNECTIONS_MIN);
    }
}
