//! Tests of the object store: a folder, and S3 credentials.

mod credentials;
mod folder;
