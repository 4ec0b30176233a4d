//! The shared cache of text embeddings in Redis.
//!
//! Rule: the cache saves time and, unless similar prompts are asked for, changes nothing. A value that is missing, cut short, foreign or damaged is a miss; Redis
//! that is slow or gone costs a short wait, then nothing (a breaker leaves it alone); a fresh embedding goes through the
//! same 16-bit form as a stored one, so hit and miss give the same video. Only this crate knows Redis.
//!
//! # Reading order
//! [`StoredEmbeddings`] what is kept; [`key`] under which name; [`EmbeddingCache`] finding it, or encoding it once;
//! [`similar`] finding that of another prompt.

mod breaker;
mod cache;
mod key;
mod redis;
mod similar;
mod value;

pub use cache::{CacheStats, EmbeddingCache, Found, Similar, Source};
pub use key::embedding_key;
pub use redis::CacheError;
pub use value::{StoredEmbeddings, ValueError};
