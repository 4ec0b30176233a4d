//! Writes small objects in one request, and files part by part so that a stop takes effect between two parts.

use std::path::Path as FilePath;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt};
use tokio::io::AsyncReadExt;
use tracing::warn;

use crate::{ArtifactError, Artifacts};

impl Artifacts {
    /// Writes an object from memory.
    ///
    /// # Errors
    /// The store's error.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<(), ArtifactError> {
        self.in_time(self.store.put(&Path::from(key), bytes.into())).await??;
        Ok(())
    }

    /// Uploads a file and returns its size, bytes. `go_on` is called before each part. The object appears whole or not at
    /// all.
    ///
    /// # Errors
    /// [`ArtifactError::Stopped`] when `go_on` returned `false`, [`ArtifactError::Local`] when the file cannot be read, or
    /// the store's error.
    pub async fn put_file(
        &self,
        key: &str,
        file: &FilePath,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<u64, ArtifactError> {
        let local = |source| ArtifactError::Local { path: file.display().to_string(), source };
        let mut reader = tokio::fs::File::open(file).await.map_err(local)?;
        let size = reader.metadata().await.map_err(local)?.len();
        if !go_on() {
            return Err(ArtifactError::Stopped);
        }
        if size <= self.part_bytes as u64 {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).await.map_err(local)?;
            self.put(key, bytes.into()).await?;
            return Ok(size);
        }
        let mut upload = self.in_time(self.store.put_multipart(&Path::from(key))).await??;
        match self.put_parts(&mut *upload, &mut reader, file, go_on).await {
            Ok(()) => Ok(size),
            Err(error) => {
                // S3 charges for the parts of an unfinished upload until it is aborted.
                if let Err(error) = self.in_time(upload.abort()).await.and_then(|aborted| Ok(aborted?)) {
                    warn!(key, %error, "an unfinished upload could not be aborted");
                }
                Err(error)
            }
        }
    }

    async fn put_parts(
        &self,
        upload: &mut dyn MultipartUpload,
        reader: &mut tokio::fs::File,
        file: &FilePath,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), ArtifactError> {
        loop {
            if !go_on() {
                return Err(ArtifactError::Stopped);
            }
            let mut part = Vec::with_capacity(self.part_bytes);
            let limit = self.part_bytes as u64;
            let read = (&mut *reader).take(limit).read_to_end(&mut part).await;
            let read = read.map_err(|source| ArtifactError::Local { path: file.display().to_string(), source })?;
            if read == 0 {
                break;
            }
            self.in_time(upload.put_part(part.into())).await??;
        }
        self.in_time(upload.complete()).await??;
        Ok(())
    }
}
