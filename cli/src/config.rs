//! Where the server's address and the key come from: flags, then environment variables, then the configuration file.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::args::Common;
use crate::failure::Failure;
use crate::out::complain;

/// The server if nothing names one: where `make up` and Docker Compose listen.
pub(crate) const DEFAULT_SERVER: &str = "http://localhost:8000";

/// `config.toml` of the client.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Address of the API.
    server: Option<String>,
    /// API key for that server.
    key: Option<String>,
}

/// What is used.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    /// Address of the API, without a slash at the end.
    pub(crate) server: String,
    /// The key to send, if any.
    pub(crate) key: Option<String>,
    /// Where the key was found, for `fleet keys`.
    pub(crate) key_source: &'static str,
}

impl Target {
    /// Reads the configuration file, if there is one, and applies flags and variables.
    pub(crate) fn load(common: &Common) -> Result<Self, Failure> {
        let file = match &common.config {
            Some(path) => read(path)?,
            None => match default_path() {
                Some(path) if path.exists() => read(&path)?,
                _ => File::default(),
            },
        };
        Self::choose(common.server.as_deref(), common.key.as_deref(), file)
    }

    fn choose(server: Option<&str>, key: Option<&str>, file: File) -> Result<Self, Failure> {
        let normal = |address: &str| address.trim().trim_end_matches('/').to_owned();
        let of_file = file.server.as_deref().map_or_else(|| DEFAULT_SERVER.to_owned(), normal);
        let server = server.map_or_else(|| of_file.clone(), normal);
        let url = reqwest::Url::parse(&server);
        if !url.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            return Err(Failure::Usage(format!(
                "'{server}' is not the address of a server; use a URL such as {DEFAULT_SERVER}"
            )));
        }
        let given = key.map(str::trim).filter(|key| !key.is_empty());
        // The file's key belongs to the file's server; sending it elsewhere would give it away.
        let stored = file.key.filter(|_| server == of_file);
        let (key, key_source) = match (given, stored) {
            (Some(key), _) => (Some(key.to_owned()), "flag or environment"),
            (None, Some(key)) => (Some(key.trim().to_owned()), "configuration file"),
            (None, None) => (None, "none"),
        };
        Ok(Self { server, key, key_source })
    }
}

fn read(path: &Path) -> Result<File, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
    let file: File =
        toml::from_str(&text).map_err(|error| Failure::Usage(format!("{}: {}", path.display(), error.message())))?;
    if file.key.is_some() && others_can_read(path) {
        complain(&format!("other users of this machine can read the key in {0}; run `chmod 600 {0}`", path.display()));
    }
    Ok(file)
}

#[cfg(unix)]
fn others_can_read(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|facts| facts.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn others_can_read(_: &Path) -> bool {
    false
}

/// `fleet/config.toml` in the user's configuration folder.
fn default_path() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")))?;
    Some(folder.join("fleet/config.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> File {
        File { server: Some("https://gpu.example/".to_owned()), key: Some("secret\n".to_owned()) }
    }

    #[test]
    fn flags_come_before_the_file_and_the_file_before_the_default() {
        let chosen = Target::choose(None, None, file()).unwrap();
        assert_eq!((chosen.server.as_str(), chosen.key.as_deref()), ("https://gpu.example", Some("secret")));
        let chosen = Target::choose(None, Some("other"), file()).unwrap();
        assert_eq!(chosen.key.as_deref(), Some("other"));
        assert_eq!(Target::choose(None, None, File::default()).unwrap().server, DEFAULT_SERVER);
    }

    #[test]
    fn the_files_key_is_not_sent_to_another_server() {
        let chosen = Target::choose(Some("http://elsewhere:8000"), None, file()).unwrap();
        assert_eq!((chosen.key, chosen.key_source), (None, "none"));
    }

    #[test]
    fn an_address_is_a_url() {
        for wrong in ["localhost:8000", "ftp://x", "", "http://"] {
            assert!(matches!(Target::choose(Some(wrong), None, File::default()), Err(Failure::Usage(_))), "{wrong}");
        }
    }
}
