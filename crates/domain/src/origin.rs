//! How a job came about, beyond what its request says.

use serde::{Deserialize, Serialize};

use crate::ids::JobId;

/// What a client asked for in the words of another API, and which earlier job it started from. Nothing here changes the video;
/// the request alone decides that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The size as the client named it, for example `1280x720`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_size: Option<String>,
    /// The length as the client named it, whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_seconds: Option<u32>,
    /// The video whose request this one took over, with another prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remix_of: Option<JobId>,
}
