//! Several candidates of one request as JSON.

use domain::{GroupId, Job};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::job::JobView;

/// The candidates of one request.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct GroupView {
    /// Its id.
    pub group_id: Uuid,
    /// The chosen candidate; null before the choice.
    pub chosen: Option<Uuid>,
    /// GPU seconds of all candidates so far, those that ended included.
    pub gpu_seconds: f64,
    /// The candidates, in the order of their submission.
    pub jobs: Vec<JobView>,
}

impl GroupView {
    /// Creates the view; `show` turns a job into its view.
    pub(crate) fn new(group_id: GroupId, jobs: Vec<Job>, show: impl Fn(Job) -> JobView) -> Self {
        let chosen = jobs.iter().find(|job| job.choice.is_some()).map(|job| job.id.0);
        let gpu_seconds = jobs.iter().map(|job| job.gpu_seconds).sum();
        Self { group_id: group_id.0, chosen, gpu_seconds, jobs: jobs.into_iter().map(show).collect() }
    }
}
