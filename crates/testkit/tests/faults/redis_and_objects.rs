//! Redis that is down, slow, emptied, full or holds foreign data; an object store that is full, slow or fails half way.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use testkit::{
    Accounting, Fleet, FleetOptions, ObjectStore, PrivateStack, Protocol, Proxy, SmallDisk, eventually_seen,
};

use crate::support::{
    CHECKPOINTED, Recovery, impatient, report, submit_as, tell, tidy, until_completed, until_count, until_nothing_left,
};

fn cached() -> FleetOptions {
    // Every lookup goes to Redis, so that its faults take effect.
    impatient()
        .with("ENABLE_CACHE", "true")
        .with("FLEET__CACHE__MEMORY_MAX_BYTES", "0")
        .with("FLEET__CACHE__BREAKER_OPEN_MS", "100")
}

async fn rendered(fleet: &Fleet, book: &Accounting, key: &str) -> (Value, Vec<u8>) {
    let id = submit_as(fleet, book, key, 1).await;
    until_completed(fleet, std::slice::from_ref(&id)).await;
    (fleet.job(&id).await.expect("the job"), fleet.video(&id).await)
}

/// Goal: no fault of Redis makes a job fail or changes a video.
#[tokio::test(flavor = "multi_thread")]
async fn a_sick_redis_costs_an_encoding_and_nothing_else() {
    let stack = PrivateStack::only(&["redis"]);
    let own = stack.services.clone();
    let proxy = Proxy::start(Protocol::Bytes, &format!("{}:{}", own.redis_host, own.redis_port));
    let options = cached().with("REDIS_HOST", "127.0.0.1").with("REDIS_PORT", &proxy.port().to_string());
    let fleet = Fleet::prepare(FleetOptions { services: Some(own.clone()), ..options }).await;
    let (_api, _scheduler, _worker) = (fleet.api(), fleet.scheduler("scheduler"), fleet.quick_worker("worker", &[]));
    fleet.until_api_ready().await;
    let book = Accounting::default();
    let redis = settings::RedisSettings {
        host: own.redis_host.clone(),
        port: own.redis_port,
        ..settings::Settings::defaults().redis
    };
    let tell_redis = |words: &[&str]| testkit::redis::command(&redis, words);
    let hit = |job: &Value| job["optimization"]["cache_hit"] == true;

    let (first, video) = rendered(&fleet, &book, "first").await;
    assert!(!hit(&first), "{first}");
    let (second, same) = rendered(&fleet, &book, "second").await;
    assert!(hit(&second) && same == video, "the same prompt is a hit and the same video: {second}");

    proxy.refuse();
    assert!(rendered(&fleet, &book, "gone").await.1 == video, "without Redis");
    proxy.heal();
    proxy.stall();
    assert!(rendered(&fleet, &book, "silent").await.1 == video, "with a Redis that sends no replies");
    proxy.heal();
    proxy.delay(Duration::from_millis(300));
    assert!(rendered(&fleet, &book, "slow").await.1 == video, "with a slow Redis");
    proxy.heal();
    proxy.cut();
    tell_redis(&["FLUSHALL"]);
    assert!(rendered(&fleet, &book, "emptied").await.1 == video, "with an empty Redis");

    tell_redis(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    tell_redis(&["CONFIG", "SET", "maxmemory", "1"]);
    assert!(rendered(&fleet, &book, "full").await.1 == video, "with a full Redis");
    tell_redis(&["CONFIG", "SET", "maxmemory", "0"]);

    // Everything under our keys is replaced by foreign data.
    eventually_seen("an embedding is stored again", || async {
        drop(rendered(&fleet, &book, "again").await);
        if tell_redis(&["KEYS", "embed:*"]).contains("embed:") { Ok(()) } else { Err("no key".to_owned()) }
    })
    .await;
    let keys = tell_redis(&["KEYS", "embed:*"]);
    for key in keys.lines().filter(|line| line.starts_with("embed:")) {
        tell_redis(&["DEL", key]);
        tell_redis(&["SET", key, "nonsense of another program"]);
    }
    let (foreign, same) = rendered(&fleet, &book, "foreign").await;
    assert!(!hit(&foreign) && same == video, "foreign data is a miss: {foreign}");
    report(&fleet, &book).await.assert_all_completed_once();
}

/// Goal: a store that is full, slow or fails in the middle of a video costs time. No row ever points to half a video.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_store_that_fails_delays_the_video_and_never_halves_it() {
    let store = ObjectStore::start();
    // Small parts, so that a video has several.
    let options = impatient().with("FLEET__ARTIFACTS__PART_BYTES", "1024").with("FLEET__ARTIFACTS__TIMEOUT_S", "10");
    let options = store.variables().iter().fold(options, |options, (name, value)| options.with(name, value));
    let fleet = Fleet::prepare(options).await;
    let (_api, _scheduler, _worker) = (fleet.api(), fleet.scheduler("scheduler"), fleet.quick_worker("worker", &[]));
    fleet.until_api_ready().await;
    let book = Accounting::default();
    let (_, video) = rendered(&fleet, &book, "undisturbed").await;

    store.refuse_writes(Some(StatusCode::INSUFFICIENT_STORAGE));
    let full = submit_as(&fleet, &book, "full", 1).await;
    eventually_seen("the run fails for lack of space and is retried", || async {
        let job = fleet.job(&full).await.map_err(|error| error.to_string())?;
        if job["attempts"].as_u64() >= Some(2) { Ok(()) } else { Err(job.to_string()) }
    })
    .await;
    store.refuse_writes(None);
    until_completed(&fleet, std::slice::from_ref(&full)).await;
    assert!(fleet.video(&full).await == video, "after a full store");

    // Two failures of one request exceed the client's own retries.
    for end in ["video.mp4", "poster.jpg"] {
        store.fail_writes(end, 2);
        let (_, same) = rendered(&fleet, &book, end).await;
        assert!(same == video, "after a store that failed at {end}");
    }
    store.delay(Duration::from_millis(200));
    assert!(rendered(&fleet, &book, "slow").await.1 == video, "from a slow store");
    store.delay(Duration::ZERO);
    let report = book.report(fleet.variable("FLEET__DATABASE__URL"), &store.keys()).await;
    tell(&report.to_string());
    report.assert_all_completed_once();
}

/// Goal: a folder that cannot be written (a disk that is full or gone) behaves the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_written_delays_the_video() {
    let fleet = Fleet::prepare(impatient()).await;
    let (_api, _scheduler, _worker) = (fleet.api(), fleet.scheduler("scheduler"), fleet.quick_worker("worker", &[]));
    fleet.until_api_ready().await;
    let book = Accounting::default();
    let (_, video) = rendered(&fleet, &book, "undisturbed").await;
    let folder = std::path::PathBuf::from(fleet.variable("FLEET__ARTIFACTS__URL"));
    let aside = folder.with_extension("aside");
    // A file in its place refuses every write, even root's.
    std::fs::rename(&folder, &aside).expect("the folder can be moved");
    std::fs::write(&folder, []).expect("a file in its place");
    let id = submit_as(&fleet, &book, "no-folder", 1).await;
    eventually_seen("the run fails and is retried", || async {
        let job = fleet.job(&id).await.map_err(|error| error.to_string())?;
        if job["attempts"].as_u64() >= Some(2) { Ok(()) } else { Err(job.to_string()) }
    })
    .await;
    std::fs::remove_file(&folder).expect("the file goes");
    std::fs::rename(&aside, &folder).expect("the folder comes back");
    until_completed(&fleet, std::slice::from_ref(&id)).await;
    assert!(fleet.video(&id).await == video, "after the folder is available again");
    report(&fleet, &book).await.assert_all_completed_once();
}

/// Goal: a disk that is really full, to the last byte, costs time. The job keeps what it had computed, is retried, and completes
/// once there is space; no partial file is left, not even by a writer that was killed.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_delays_the_video_and_leaves_no_half_of_a_file() {
    let fleet = Fleet::prepare(tidy(impatient())).await;
    let folder = std::path::PathBuf::from(fleet.variable("FLEET__ARTIFACTS__URL"));
    let Some(disk) = SmallDisk::mount(&folder) else {
        tell("SKIPPED: this user may not mount a small file system, so no disk was full");
        return;
    };
    let (_api, _scheduler) = (fleet.api(), fleet.scheduler("scheduler"));
    fleet.until_api_ready().await;
    let book = Accounting::default();
    let gates = fleet.gates("worker");
    let _worker = fleet.gated_worker("worker", &gates, &[]);
    let (first, video) = rendered(&fleet, &book, "undisturbed").await;
    gates.hold("step-5");
    let id = submit_as(&fleet, &book, "full-disk", 1).await;
    gates.until_reached("step-5").await;
    until_count(&fleet, "a checkpoint is stored", CHECKPOINTED, 1).await;
    disk.fill();
    let recovery = Recovery::begins();
    gates.open("step-5");
    eventually_seen("the run fails for lack of space and is retried", || async {
        let job = fleet.job(&id).await.map_err(|error| error.to_string())?;
        if job["attempts"].as_u64() >= Some(2) { Ok(()) } else { Err(job.to_string()) }
    })
    .await;
    let tried = "SELECT count(*) FROM job_events WHERE kind = 'retrying' AND detail ->> 'code' = 'storage_failed'";
    until_count(&fleet, "the store was the reason", tried, 1).await;
    disk.make_room();
    until_completed(&fleet, std::slice::from_ref(&id)).await;
    recovery.over("disk full in the middle of a job, space freed after its second attempt began; the job is done");
    let job = fleet.job(&id).await.expect("the job");
    assert!(job["record"]["resumed_from"].as_u64() >= Some(1), "its work was kept: {job}");
    assert!(fleet.video(&id).await == video, "after a full disk");

    // What a killed writer leaves: an expired lease, and a name that listings hide.
    let key = format!("{}/{}/video.mp4#1", first["job_id"].as_str().expect("an id"), domain::LeaseToken::fresh());
    std::fs::create_dir_all(folder.join(&key).parent().expect("it has one")).expect("a folder");
    std::fs::write(folder.join(&key), b"half").expect("there is room");
    until_nothing_left(&fleet, &book).await;
    report(&fleet, &book).await.assert_all_completed_once();
}
