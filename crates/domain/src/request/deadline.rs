//! What a request wants to happen if its deadline cannot be met.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::tier::{UnknownWord, words};

words!(
    /// What happens to a request whose deadline probably cannot be met.
    DeadlinePolicy {
        /// It is queued nevertheless.
        Accept = "accept",
        /// It is rejected, with the shortest deadline that looks feasible.
        Reject = "reject",
    }
);
