//! A real nginx in front of an address.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::process::{Process, free_port, repository, runs_as_root};

/// A running nginx; stopped when dropped.
pub struct Nginx {
    process: Process,
    port: u16,
    _folder: TempDir,
}

impl Nginx {
    /// Starts it as a proxy of `address` (`http://host:port`). `directives` are those of its one location, beside `proxy_pass`.
    ///
    /// # Panics
    /// When nginx is not installed (`scripts/fleet setup --tests`).
    #[must_use]
    pub fn start(address: &str, directives: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("nginx-").tempdir().expect("a folder");
        let port = free_port();
        let place = folder.path().display();
        let settings = format!(
            "daemon off;\npid {place}/pid;\nerror_log stderr;\nworker_processes 1;\n{}events {{ worker_connections 64; }}\n\
             http {{\naccess_log off;\nclient_body_temp_path {place}/body;\nproxy_temp_path {place}/proxy;\n\
             fastcgi_temp_path {place}/fastcgi;\nuwsgi_temp_path {place}/uwsgi;\nscgi_temp_path {place}/scgi;\n\
             server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {address};\n{directives}\n}} }}\n}}\n",
            // Its workers would otherwise be of a user that may not write here.
            if runs_as_root() { "user root;\n" } else { "" }
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, settings).expect("the settings");
        let mut command = Command::new("nginx");
        command.arg("-e").arg("stderr").arg("-p").arg(folder.path()).arg("-c").arg(&file).env("PATH", search_path());
        let process = Process::start("nginx", &mut command, &folder.path().join("log"));
        Self { process, port, _folder: folder }
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Resolves when it accepts connections.
    pub async fn until_ready(&self) {
        crate::eventually_seen("nginx accepts connections", || async {
            let connected = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await;
            connected.map(drop).map_err(|error| format!("{error}: {}", self.process.log()))
        })
        .await;
    }
}

/// Where packages put it: some leave it off the PATH of ordinary users.
fn search_path() -> String {
    let own: &Path = &repository().join(".tools/bin");
    format!("{}:{}:/usr/sbin", own.display(), std::env::var("PATH").unwrap_or_default())
}
