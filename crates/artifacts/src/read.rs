//! Reads, lists and deletes objects.

use std::ops::Range;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};

use crate::{ArtifactError, Artifacts, ObjectInfo, unfinished};

/// The parts of an object, in the order in which they arrive.
pub type ByteStream = BoxStream<'static, Result<Bytes, ArtifactError>>;

impl Artifacts {
    /// Size of an object, bytes.
    ///
    /// # Errors
    /// [`ArtifactError::Missing`], or the store's error.
    pub async fn size(&self, key: &str) -> Result<u64, ArtifactError> {
        let head = self.in_time(self.store.head(&Path::from(key))).await??;
        Ok(head.size)
    }

    /// Reads a whole object into memory; meant for checkpoints.
    ///
    /// # Errors
    /// [`ArtifactError::Missing`], or the store's error.
    pub async fn get(&self, key: &str) -> Result<Bytes, ArtifactError> {
        let found = self.in_time(self.store.get(&Path::from(key))).await??;
        Ok(self.in_time(found.bytes()).await??)
    }

    /// Reads a part of an object as a stream, so that a long video is never in memory as a whole.
    ///
    /// # Errors
    /// [`ArtifactError::Missing`], or the store's error.
    pub async fn get_range(&self, key: &str, range: Range<u64>) -> Result<ByteStream, ArtifactError> {
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let found = self.in_time(self.store.get_opts(&Path::from(key), options)).await??;
        Ok(found.into_stream().map_err(ArtifactError::from).boxed())
    }

    /// Deletes an object. Deleting an object that does not exist succeeds.
    ///
    /// # Errors
    /// The store's error.
    pub async fn delete(&self, key: &str) -> Result<(), ArtifactError> {
        if let Some(folder) = self.folder()
            && unfinished::is_one(key)
        {
            return unfinished::remove(folder, key).await;
        }
        match self.in_time(self.store.delete(&Path::from(key))).await? {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Everything in the store, as a stream, because the orphan sweep must not hold a million keys in memory. In a folder
    /// this includes the remains of interrupted writes; [`Artifacts::delete`] accepts those keys too.
    pub fn list(&self) -> BoxStream<'static, Result<ObjectInfo, ArtifactError>> {
        let listed = self.store.list(None).map(|meta| {
            let meta = meta?;
            Ok(ObjectInfo { key: meta.location.to_string(), size: meta.size, written_at: meta.last_modified })
        });
        let Some(folder) = self.folder().map(ToOwned::to_owned) else { return listed.boxed() };
        let unfinished = async { Ok::<_, ArtifactError>(stream::iter(unfinished::list(folder).await?).map(Ok)) };
        listed.chain(stream::once(unfinished).try_flatten()).boxed()
    }

    /// Writes, reads and deletes a small object, to find out whether the store can be used at all.
    ///
    /// # Errors
    /// The store's error.
    pub async fn probe(&self) -> Result<(), ArtifactError> {
        let key = format!("probe/{}", domain::LeaseToken::fresh());
        self.put(&key, Bytes::from_static(b"probe")).await?;
        self.get(&key).await?;
        self.delete(&key).await
    }

    pub(crate) async fn in_time<F: Future>(&self, call: F) -> Result<F::Output, ArtifactError> {
        let late = |_| ArtifactError::Timeout { seconds: self.timeout.as_secs() };
        tokio::time::timeout(self.timeout, call).await.map_err(late)
    }
}
