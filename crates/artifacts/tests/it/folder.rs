//! Goal: objects in a folder follow the rules of this crate, and every error says what to do.

use std::sync::atomic::{AtomicUsize, Ordering};

use artifacts::{ArtifactError, Artifacts, keys};
use bytes::Bytes;
use domain::{JobId, LeaseToken};
use futures::TryStreamExt;
use settings::{ArtifactsSettings, Secret};
use tempfile::TempDir;

fn settings(url: &str) -> ArtifactsSettings {
    ArtifactsSettings {
        url: url.to_owned(),
        part_bytes: 1000,
        timeout_s: 30,
        retries_max: 0,
        s3_endpoint: String::new(),
        s3_region: "us-east-1".to_owned(),
        s3_access_key_id: String::new(),
        s3_secret_access_key: Secret::default(),
        s3_allow_http: false,
    }
}

fn folder() -> (TempDir, Artifacts) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Artifacts::open(&settings(&folder.path().join("store").display().to_string())).expect("a store");
    (folder, store)
}

#[tokio::test]
async fn an_object_can_be_read_whole_and_in_parts_until_it_is_deleted() {
    let (_folder, store) = folder();
    let key = keys::checkpoint(JobId::fresh(), LeaseToken::fresh(), 4);
    store.put(&key, Bytes::from_static(b"0123456789")).await.expect("put");
    assert_eq!(store.size(&key).await.expect("size"), 10);
    assert_eq!(store.get(&key).await.expect("get"), "0123456789");
    let part: Vec<Bytes> = store.get_range(&key, 3..6).await.expect("range").try_collect().await.expect("bytes");
    assert_eq!(part.concat(), b"345");
    store.delete(&key).await.expect("delete");
    store.delete(&key).await.expect("deleting again is not an error");
    assert!(store.get(&key).await.expect_err("gone").is_missing());
    assert!(store.size(&key).await.expect_err("gone").is_missing());
}

#[tokio::test]
async fn a_long_file_is_uploaded_part_by_part() {
    let (folder, store) = folder();
    let file = folder.path().join("video.mp4");
    let bytes: Vec<u8> = (0..10_500u32).map(|n| n.to_le_bytes()[0]).collect();
    std::fs::write(&file, &bytes).expect("write");
    let asked = AtomicUsize::new(0);
    let go_on = || {
        asked.fetch_add(1, Ordering::Relaxed);
        true
    };
    assert_eq!(store.put_file("a/video.mp4", &file, &go_on).await.expect("put"), 10_500);
    assert!(asked.load(Ordering::Relaxed) > 10, "a stop must be noticed between parts");
    assert_eq!(store.get("a/video.mp4").await.expect("get"), bytes);
}

#[tokio::test]
async fn a_stopped_upload_leaves_nothing() {
    let (folder, store) = folder();
    let file = folder.path().join("video.mp4");
    std::fs::write(&file, vec![7; 10_000]).expect("write");
    let left = AtomicUsize::new(4);
    let go_on = || left.fetch_sub(1, Ordering::Relaxed) > 0;
    let error = store.put_file("a/video.mp4", &file, &go_on).await.expect_err("stopped");
    assert!(error.is_stopped());
    assert!(store.get("a/video.mp4").await.expect_err("nothing").is_missing());
    let listed: Vec<_> = store.list().try_collect().await.expect("list");
    assert!(listed.is_empty(), "{listed:?}");
}

#[tokio::test]
async fn a_listing_contains_key_size_and_age() {
    let (_folder, store) = folder();
    let (job, token) = (JobId::fresh(), LeaseToken::fresh());
    store.put(&keys::poster(job, token), Bytes::from_static(b"jpeg")).await.expect("put");
    let listed: Vec<_> = store.list().try_collect().await.expect("list");
    assert_eq!(listed.len(), 1);
    assert_eq!((keys::owner(&listed[0].key), listed[0].size), (Some((job, token)), 4));
}

#[tokio::test]
async fn the_remains_of_an_interrupted_write_are_listed_and_can_be_deleted() {
    let (folder, store) = folder();
    let (job, token) = (JobId::fresh(), LeaseToken::fresh());
    let whole = keys::poster(job, token);
    store.put(&whole, Bytes::from_static(b"jpeg")).await.expect("put");
    let half = format!("{}#1", keys::video(job, LeaseToken::fresh()));
    let path = folder.path().join("store").join(&half);
    std::fs::create_dir_all(path.parent().expect("it has one")).expect("a folder");
    std::fs::write(&path, b"half").expect("write");
    let listed: Vec<_> = store.list().try_collect().await.expect("list");
    let sizes: Vec<_> = listed.iter().map(|object| (object.key.as_str(), object.size)).collect();
    assert_eq!(sizes, [(whole.as_str(), 4), (half.as_str(), 4)]);
    assert_eq!(keys::owner(&half).map(|(owner, _)| owner), Some(job), "the orphan sweep finds its owner");

    store.delete(&half).await.expect("delete");
    store.delete(&half).await.expect("deleting again is not an error");
    assert!(!path.parent().expect("it has one").exists(), "its folder is gone too");
    assert_eq!(store.get(&whole).await.expect("get"), "jpeg", "the other lease's object is untouched");
    assert!(store.delete("../outside#1").await.is_err(), "nothing outside is touched");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_an_error_and_not_a_panic() {
    let (folder, store) = folder();
    // A file where the job's folder should be: unlike permissions, this fails for root too.
    std::fs::write(folder.path().join("store/job"), "in the way").expect("write");
    let error =
        store.put("job/token/video.mp4", Bytes::from_static(b"x")).await.expect_err("the folder cannot be created");
    assert!(matches!(error, ArtifactError::Store(_)), "{error:?}");
    assert!(store.probe().await.is_ok(), "the rest of the store still works");
}

#[test]
fn an_invalid_url_is_refused_with_the_accepted_forms() {
    for url in ["", "ftp://host/x", "file://relative"] {
        let error = Artifacts::open(&settings(url)).expect_err(url).to_string();
        assert!(error.contains("s3://bucket/prefix"), "{error}");
    }
}

#[test]
fn an_s3_url_opens_without_a_network() {
    let mut s3 = settings("s3://videos/fleet-a");
    s3.s3_endpoint = "http://127.0.0.1:9".to_owned();
    s3.s3_allow_http = true;
    s3.s3_access_key_id = "key".to_owned();
    let store = Artifacts::open(&s3).expect("a store");
    assert_eq!(store.folder(), None);
}
