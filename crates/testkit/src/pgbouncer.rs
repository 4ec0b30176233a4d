//! A real pgbouncer in transaction mode in front of a Postgres, with its default settings.

use std::process::Command;

use tempfile::TempDir;

use crate::process::{Process, free_port, repository, runs_as_root};

/// A running pgbouncer; stopped when dropped.
pub struct Pgbouncer {
    process: Process,
    port: u16,
    _folder: TempDir,
}

impl Pgbouncer {
    /// Starts it in front of the server that `url` names. All its clients share `server_connections` connections.
    ///
    /// # Panics
    /// When pgbouncer is not installed (`scripts/fleet setup --tests`) or the URL has no user, host and port.
    #[must_use]
    pub fn start(url: &str, server_connections: u32) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::Builder::new().prefix("pgbouncer-").tempdir().expect("a folder");
        // It refuses to run as root, and reads its files as another user.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("the folder is ours");
        let (user, password, host, server_port) = parts(url);
        let port = free_port();
        let users = folder.path().join("users.txt");
        std::fs::write(&users, format!("\"{user}\" \"{password}\"\n")).expect("the list of users");
        let settings = format!(
            "[databases]\n* = host={host} port={server_port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\npool_mode = transaction\ndefault_pool_size = {server_connections}\nauth_type = trust\n\
             auth_file = {}\n",
            users.display()
        );
        let ini = folder.path().join("pgbouncer.ini");
        std::fs::write(&ini, settings).expect("the settings");
        let mut command = Command::new("pgbouncer");
        if runs_as_root() {
            command.args(["-u", "nobody"]);
        }
        command.arg(&ini).env("PATH", search_path());
        let process = Process::start("pgbouncer", &mut command, &folder.path().join("log"));
        Self { process, port, _folder: folder }
    }

    /// The same database through pgbouncer.
    ///
    /// # Panics
    /// When the URL has no user, host and port.
    #[must_use]
    pub fn through(&self, url: &str) -> String {
        let (_, _, host, port) = parts(url);
        url.replacen(&format!("{host}:{port}"), &format!("127.0.0.1:{}", self.port), 1)
    }

    /// Resolves when it accepts connections.
    pub async fn until_ready(&self) {
        crate::eventually_seen("pgbouncer accepts connections", || async {
            let connected = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await;
            connected.map(drop).map_err(|error| format!("{error}: {}", self.process.log()))
        })
        .await;
    }
}

/// User, password, host and port of a URL.
fn parts(url: &str) -> (String, String, String, String) {
    let (_, rest) = url.split_once("://").expect("a URL");
    let (login, place) = rest.split_once('@').expect("a URL with a user");
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let (address, _) = place.split_once('/').expect("a URL with a database");
    let (host, port) = address.rsplit_once(':').expect("a URL with a port");
    [user, password, host, port].map(str::to_owned).into()
}

/// Where packages put it: some leave it off the PATH of ordinary users.
fn search_path() -> String {
    let own = repository().join(".tools/bin");
    format!("{}:{}:/usr/sbin", own.display(), std::env::var("PATH").unwrap_or_default())
}
