//! The shared cache of text embeddings in Redis.
//!
//! Rule: the cache saves time and, unless similar prompts are allowed, changes nothing. A value that is missing, truncated,
//! damaged or of another version is a miss. When Redis is slow or unavailable, a look-up costs a short wait and then
//! nothing, since a breaker stops calling it. A fresh embedding goes through the same 16-bit form as a stored one, so a hit
//! and a miss give the same video. Only this crate uses Redis.
//!
//! # Reading order
//! [`StoredEmbeddings`]: the value; [`embedding_key`]: its key; [`EmbeddingCache`]: finds it or has it encoded once;
//! `similar`: finds the embeddings of a similar prompt.

mod breaker;
mod cache;
mod key;
mod redis;
mod similar;
mod value;

pub use cache::{CacheStats, EmbeddingCache, Found, Source};
pub use key::embedding_key;
pub use redis::CacheError;
pub use similar::Similar;
pub use value::{Element, StoredEmbeddings, StoredTensor, ValueError};
