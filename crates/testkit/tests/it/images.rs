//! Goal: the picture of a request reaches the model of whichever worker runs the job, and goes when nothing needs it.
//! Method: the built executables; a worker whose video is a hash of what its model was given, picture included.

use std::path::PathBuf;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Fleet, FleetOptions, PICTURE_MODEL, Process, eventually_seen, picture, picture_model};

struct PictureFleet {
    fleet: Fleet,
    folder: TempDir,
    model: &'static str,
    processes: Vec<Process>,
}

impl PictureFleet {
    /// API and scheduler with a model that needs a picture and takes no time.
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        picture_model(folder.path());
        Self::start_with(folder, PICTURE_MODEL).await
    }

    /// API and scheduler with the model of a folder.
    async fn start_with(folder: TempDir, model: &'static str) -> Self {
        let options = FleetOptions::default()
            .with("FLEET__WORKER__LEASE_S", "4")
            .with("FLEET__WORKER__HEARTBEAT_S", "1")
            .with("FLEET__SCHEDULER__SWEEP_MS", "300")
            // A test replaces a scheduler that it kills.
            .with("FLEET__SCHEDULER__LEADER_TTL_S", "3")
            .with("FLEET__SCHEDULER__BACKOFF_MIN_S", "1");
        let dirs = format!("models/default,{}", folder.path().display());
        let fleet = Fleet::prepare(options.with("FLEET__MODELS__DIRS", &dirs)).await;
        let api = fleet.api();
        fleet.until_api_ready().await;
        let processes = vec![api, fleet.scheduler("scheduler")];
        Self { fleet, folder, model, processes }
    }

    fn worker(&self, name: &str) -> Process {
        let folder = self.folder.path().display().to_string();
        self.fleet.quick_worker(name, &[("FLEET__WORKER__MODEL_DIR", folder.as_str())])
    }

    async fn upload(&self, name: &str) -> String {
        let url = format!("{}/api/images", self.fleet.api_url);
        let answer = self.fleet.client.post(url).body(picture(name)).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::CREATED);
        let image: Value = answer.json().await.expect("JSON");
        image["id"].as_str().expect("an id").to_owned()
    }

    /// Submits a video that begins from a picture; returns the job's id.
    async fn submit(&self, image: &str) -> String {
        let request = json!({ "prompt": "a cat", "seed": 5, "infer_steps": 4, "video_length": 33, "model": self.model, "image": image });
        let job = self.fleet.submit(&request).await;
        job["job_id"].as_str().expect("an id").to_owned()
    }

    /// The video of a job, once it is completed.
    async fn video(&self, job: &str) -> Vec<u8> {
        let ended = self.fleet.until_status(job, &["completed", "failed"]).await;
        assert_eq!(ended["status"], "completed", "{ended}");
        self.fleet.video(job).await
    }

    /// The file of a picture in the object store.
    fn file(&self, image: &str) -> PathBuf {
        let key = self.fleet.objects().into_iter().find(|key| key.contains(image) && key.ends_with(".png"));
        PathBuf::from(self.fleet.variable("FLEET__ARTIFACTS__URL")).join(key.expect("the picture's file"))
    }
}

#[tokio::test]
async fn a_video_begins_from_the_picture_of_its_request_and_from_no_other() {
    let here = PictureFleet::start().await;
    let _worker = here.worker("worker-1");
    let (turned, alpha) = (here.upload("turned.jpg").await, here.upload("alpha.png").await);
    let jobs = [here.submit(&turned).await, here.submit(&alpha).await, here.submit(&turned).await];
    let first = here.video(&jobs[0]).await;
    assert_ne!(here.video(&jobs[1]).await, first, "another picture, another video");
    assert_eq!(here.video(&jobs[2]).await, first, "the same picture, the same video");
}

#[tokio::test]
async fn a_missing_or_damaged_picture_fails_its_job_at_once_and_says_why() {
    let here = PictureFleet::start().await;
    let (gone, damaged) = (here.upload("turned.jpg").await, here.upload("alpha.png").await);
    let jobs = [(here.submit(&gone).await, "image_missing"), (here.submit(&damaged).await, "invalid_image")];
    std::fs::remove_file(here.file(&gone)).expect("removed");
    std::fs::write(here.file(&damaged), picture("plain.png")).expect("overwritten");
    let _worker = here.worker("worker-1");
    for (job, code) in jobs {
        let ended = here.fleet.until_status(&job, &["completed", "failed"]).await;
        assert_eq!((&ended["status"], &ended["failure"]["code"]), (&json!("failed"), &json!(code)), "{ended}");
        assert_eq!(ended["attempts"], 1, "trying again cannot help: {ended}");
        let reason = ended["failure"]["reason"].as_str().expect("a reason");
        assert!(reason.contains("upload it again"), "{reason}");
    }
}

#[tokio::test]
async fn pictures_go_when_their_time_is_over_and_no_job_is_left() {
    let mut here = PictureFleet::start().await;
    let _worker = here.worker("worker-1");
    let (used, unused) = (here.upload("turned.jpg").await, here.upload("alpha.png").await);
    let kept = here.submit(&used).await;
    let video = here.video(&kept).await;
    let pictures = |id: &str| here.fleet.objects().iter().filter(|key| key.contains(id)).count();
    assert_eq!((pictures(&used), pictures(&unused)), (2, 2));

    // A scheduler that keeps nothing.
    here.processes.pop().expect("the scheduler").kill();
    let hasty = [("FLEET__SCHEDULER__IMAGE_TTL_S", "0"), ("FLEET__SCHEDULER__RETENTION_S", "0")];
    let _hasty = here.fleet.scheduler_with("hasty", &hasty);
    eventually_seen("the picture without a job is gone", || async {
        let objects = here.fleet.objects();
        if objects.iter().any(|key| key.contains(&unused)) { Err(objects.join(" ")) } else { Ok(()) }
    })
    .await;
    assert_eq!(here.fleet.objects().iter().filter(|key| key.contains(&used)).count(), 2, "a job needs the other one");
    assert_eq!(here.fleet.video(&kept).await, video);

    let url = format!("{}/api/jobs/{kept}", here.fleet.api_url);
    let deleted = here.fleet.client.delete(url).send().await.expect("an answer");
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    eventually_seen("everything is gone with the last job", || async {
        let objects = here.fleet.objects();
        if objects.is_empty() { Ok(()) } else { Err(objects.join(" ")) }
    })
    .await;
}
