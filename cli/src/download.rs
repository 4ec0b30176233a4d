//! Fetches videos. A download that breaks off continues where it stopped, and a file appears under its name only when it is
//! complete.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use futures::StreamExt as _;
use reqwest::StatusCode;
use reqwest::header::{ETAG, HeaderMap, HeaderValue, IF_RANGE, RANGE};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

use crate::api::{Api, Tries, reason};
use crate::failure::Failure;

/// Tries without a single new byte before a download is given up.
const FRUITLESS_MAX: u32 = 5;

/// Path of a job's video in the API.
pub(crate) fn video_path(id: &str) -> String {
    format!("/api/videos/{id}")
}

/// Saves what the path holds; returns the number of bytes.
pub(crate) async fn save(api: &Api, path: &str, to: &Path) -> Result<u64, Failure> {
    let partial = partial_name(to);
    let mut file = File::create(&partial).await.map_err(|error| Failure::file("create", &partial, &error))?;
    let outcome = fetch(api, path, &mut file, &partial).await;
    drop(file);
    let bytes = match outcome {
        Ok(bytes) => bytes,
        Err(failure) => {
            // What is there may be incomplete, and the next try begins at the start.
            drop(tokio::fs::remove_file(&partial).await);
            return Err(failure);
        }
    };
    tokio::fs::rename(&partial, to).await.map_err(|error| Failure::file("write", to, &error))?;
    Ok(bytes)
}

/// Writes what the path holds to standard output. A part that was already written cannot be taken back, so it continues, too.
pub(crate) async fn print(api: &Api, path: &str) -> Result<u64, Failure> {
    let name = Path::new("standard output");
    let handle =
        std::io::stdout().as_fd().try_clone_to_owned().map_err(|error| Failure::file("write", name, &error))?;
    fetch(api, path, &mut File::from_std(handle.into()), name).await
}

async fn fetch(
    api: &Api,
    path: &str,
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
    name: &Path,
) -> Result<u64, Failure> {
    let (mut done, mut fruitless, mut version) = (0_u64, 0, None::<HeaderValue>);
    loop {
        let mut headers = HeaderMap::new();
        if let (true, Some(version)) = (done > 0, &version) {
            let from =
                HeaderValue::try_from(format!("bytes={done}-")).expect("digits are a header value; this is a bug");
            headers.insert(RANGE, from);
            headers.insert(IF_RANGE, version.clone());
        }
        let response = api.open(Tries::Patient, path, &headers).await?;
        if done > 0 && response.status() != StatusCode::PARTIAL_CONTENT {
            return Err(Failure::Busy("the video changed during the download; run the command again".to_owned()));
        }
        version = response.headers().get(ETAG).cloned().or(version);
        let expected = response.content_length().map(|rest| done + rest);
        let before = done;
        let mut body = response.bytes_stream();
        let broken = loop {
            match body.next().await {
                Some(Ok(chunk)) => {
                    to.write_all(&chunk).await.map_err(|error| Failure::file("write", name, &error))?;
                    done += chunk.len() as u64;
                }
                Some(Err(error)) => break reason(&error),
                None => break "the connection ended early".to_owned(),
            }
        };
        if expected.is_none_or(|expected| expected == done) {
            to.flush().await.map_err(|error| Failure::file("write", name, &error))?;
            return Ok(done);
        }
        fruitless = if done > before { 0 } else { fruitless + 1 };
        if fruitless >= FRUITLESS_MAX || version.is_none() {
            return Err(Failure::Unreachable { server: api.server().to_owned(), reason: broken });
        }
    }
}

/// The file's name while it is incomplete, in the same folder so that it can be renamed.
fn partial_name(to: &Path) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    to.with_file_name(name)
}
