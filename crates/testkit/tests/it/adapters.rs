//! Goal: tenants render with adapters of their own on workers that they share, and nobody's adapter is in anybody else's video.
//! Method: the built executables with the real model, three tenants, two workers, one of them killed in the middle of a job.

use std::path::Path;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use testkit::{Fleet, FleetOptions, eventually_seen, http_client, repository};

/// A tenant with its key.
struct Tenant<'f> {
    fleet: &'f Fleet,
    client: Client,
    key: String,
}

impl<'f> Tenant<'f> {
    fn new(fleet: &'f Fleet, name: &str) -> Self {
        Self { fleet, client: http_client().build().expect("a client"), key: fleet.issue_key(name) }
    }

    async fn upload(&self, name: &str, bytes: Vec<u8>) -> Value {
        let url = format!("{}/api/loras?name={name}", self.fleet.api_url);
        let answer = self.client.post(url).bearer_auth(&self.key).body(bytes).send().await.expect("an answer");
        let status = answer.status();
        let lora: Value = answer.json().await.expect("JSON");
        assert_eq!(status, StatusCode::CREATED, "{lora}");
        lora
    }

    async fn submit(&self, request: &Value) -> (StatusCode, Value) {
        let url = format!("{}/api/generate", self.fleet.api_url);
        let answer = self.client.post(url).bearer_auth(&self.key).json(request).send().await.expect("an answer");
        (answer.status(), answer.json().await.expect("JSON"))
    }

    /// Submits a request and returns the job's id.
    async fn job(&self, request: &Value) -> String {
        let (status, job) = self.submit(request).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{job}");
        job["job_id"].as_str().expect("an id").to_owned()
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        let url = format!("{}{path}", self.fleet.api_url);
        self.client.get(url).bearer_auth(&self.key).send().await.expect("an answer")
    }

    async fn seen(&self, id: &str) -> Value {
        self.get(&format!("/api/jobs/{id}")).await.json().await.expect("JSON")
    }

    /// The only worker, as the tenant sees it.
    async fn first_worker(&self) -> Value {
        let workers: Value = self.get("/api/workers").await.json().await.expect("JSON");
        workers["workers"][0].clone()
    }

    /// The video of a job, once it is finished.
    async fn video(&self, id: &str) -> Vec<u8> {
        eventually_seen("the job is finished", || async {
            let job = self.seen(id).await;
            match job["status"].as_str() {
                Some("completed") => Ok(()),
                Some("failed") => panic!("{job}"),
                _ => Err(job.to_string()),
            }
        })
        .await;
        let answer = self.get(&format!("/api/videos/{id}")).await;
        assert_eq!(answer.status(), StatusCode::OK);
        answer.bytes().await.expect("bytes").to_vec()
    }
}

/// An adapter of the default model that changes every block with one stream, by small values that depend on the seed.
fn adapter(seed: u32) -> Vec<u8> {
    let manifest = settings::read_manifest(Path::new(&repository().join("models/default"))).expect("a manifest");
    let sizes = manifest.transformer.expect("a table [transformer]");
    let (mut entries, mut data) = (serde_json::Map::new(), Vec::new());
    let mut state = seed;
    let mut add = |name: String, shape: [u64; 2]| {
        let from = data.len();
        for _ in 0..shape[0] * shape[1] {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = (f64::from(state >> 8) / f64::from(1 << 24) - 0.5) * 0.1;
            #[expect(clippy::cast_possible_truncation, reason = "any value does")]
            data.extend((value as f32).to_le_bytes());
        }
        entries.insert(name, json!({"dtype": "F32", "shape": shape, "data_offsets": [from, data.len()]}));
    };
    for block in 0..sizes.single_blocks {
        let name = format!("lora_unet_single_blocks_{block}_linear2");
        add(format!("{name}.lora_down.weight"), [2, sizes.hidden + sizes.mlp]);
        add(format!("{name}.lora_up.weight"), [sizes.hidden, 2]);
    }
    let header = serde_json::to_vec(&entries).expect("JSON");
    [(header.len() as u64).to_le_bytes().as_slice(), &header, &data].concat()
}

fn request(adapters: &[(&str, f64)]) -> Value {
    let loras: Vec<Value> = adapters.iter().map(|(name, scale)| json!({ "name": name, "scale": scale })).collect();
    json!({ "prompt": "a blue square rotates on the sand", "seed": 11, "infer_steps": 50, "step_cache": "off", "loras": loras })
}

#[tokio::test]
async fn tenants_share_workers_and_each_video_is_its_own_also_after_a_worker_died() {
    let options = FleetOptions::default()
        .with("FLEET__SERVER__KEYS", "on")
        .with("FLEET__WORKER__LEASE_S", "4")
        .with("FLEET__WORKER__HEARTBEAT_S", "1")
        .with("FLEET__WORKER__CHECKPOINT_EVERY_S", "1")
        .with("FLEET__SCHEDULER__SWEEP_MS", "300")
        .with("FLEET__SCHEDULER__BACKOFF_MIN_S", "1");
    let (fleet, mut processes) = Fleet::start(options).await;
    let tenants: Vec<Tenant> = ["ada", "ben", "cleo"].into_iter().map(|name| Tenant::new(&fleet, name)).collect();
    let mut files = Vec::new();
    for (seed, tenant) in (1..).zip(&tenants) {
        files.push(tenant.upload("style", adapter(seed)).await["fingerprint"].clone());
    }
    tenants[0].upload("other", adapter(9)).await;
    // What another tenant has does not exist.
    let (status, problem) = tenants[1].submit(&request(&[("other", 1.0)])).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");

    // Undisturbed, on one worker, one after another.
    let wanted = [request(&[("style", 0.8)]), request(&[("style", 1.0)]), request(&[("style", -0.5)])];
    let mut undisturbed = Vec::new();
    for (at, (tenant, request)) in tenants.iter().zip(&wanted).enumerate() {
        undisturbed.push(tenant.video(&tenant.job(request).await).await);
        // The worker reports what it has merged; only its owner (and an admin) sees it.
        let merged = json!([{ "fingerprint": files[at], "name": "style", "scale": request["loras"][0]["scale"] }]);
        let worker = tenant.first_worker().await;
        assert_eq!((&worker["adapters"], &worker["adapters_cached"]), (&merged, &json!([files[at]])));
        assert_eq!(tenants[(at + 1) % 3].first_worker().await["adapters"], json!([]));
    }
    let plain = tenants[0].video(&tenants[0].job(&request(&[])).await).await;
    let worker = tenants[0].first_worker().await;
    assert_eq!((&worker["adapters"], &worker["adapters_cached"]), (&json!([]), &json!([files[0]])));
    for (at, video) in undisturbed.iter().enumerate() {
        assert!(!undisturbed[..at].contains(video) && *video != plain, "adapter {at} changes the video");
    }

    // All at once on two workers, of which the first dies while it denoises.
    let _second = fleet.worker("worker-2");
    let mut jobs = Vec::new();
    for (tenant, request) in tenants.iter().zip(&wanted) {
        jobs.push(tenant.job(request).await);
    }
    jobs.push(tenants[0].job(&request(&[])).await);
    eventually_seen("two jobs are being denoised", || async {
        let mut denoising = 0;
        for (tenant, job) in tenants.iter().chain(&tenants[..1]).zip(&jobs) {
            denoising += usize::from(tenant.seen(job).await["progress"]["step"].as_u64().is_some_and(|step| step > 0));
        }
        if denoising >= 2 { Ok(()) } else { Err(format!("{denoising}")) }
    })
    .await;
    processes.last_mut().expect("the first worker").kill();
    let _third = fleet.worker("worker-3");
    for (at, (tenant, job)) in tenants.iter().zip(&jobs).enumerate() {
        assert!(tenant.video(job).await == undisturbed[at], "the video of tenant {at} is that of an undisturbed run");
        assert_eq!(tenant.seen(job).await["record"]["adapters"], json!([files[at]]));
    }
    assert!(tenants[0].video(&jobs[3]).await == plain, "no adapter is left behind");
}
