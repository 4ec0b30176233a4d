//! Pictures: one row for each content, kept while jobs use them, and never deleted under a job.

use domain::{ImageSource, ImageUse, JobId, TenantId};
use sqlx::query;
use store::StoreError;
use store::images::{DeleteImage, ImageFile, NewImage, StoredImage};
use store::jobs::{InsertOutcome, NewJob, Scope};
use uuid::Uuid;

use crate::support::{Fixture, MODEL, new_job};

fn image(tenant_id: TenantId, content: u8) -> NewImage {
    NewImage { tenant_id, sha256: format!("{content:02x}").repeat(32), width: 64, height: 48, bytes: 1_000 }
}

async fn stored(f: &Fixture, content: u8) -> StoredImage {
    f.store.put_image(Uuid::now_v7(), &image(f.tenant, content)).await.expect("put")
}

/// A submission that uses a picture.
fn using(f: &Fixture, id: Uuid) -> NewJob {
    let mut job = new_job(f.tenant, MODEL);
    let used = ImageUse { id, sha256: Some("aa".repeat(32)), width: Some(64), height: Some(48) };
    job.request.image = Some(ImageSource::Stored(used));
    job
}

/// Cancels, deletes and purges a job.
async fn purge(f: &Fixture, job_id: JobId) {
    f.store.soft_delete(Scope::Fleet, job_id).await.expect("delete");
    let purged = f.store.purge_deleted(0.0, 10).await.expect("purge");
    assert!(purged.iter().any(|one| one.job_id == job_id));
}

#[tokio::test]
async fn the_same_content_of_a_tenant_is_one_picture_and_others_are_apart() {
    let f = Fixture::new().await;
    let first = stored(&f, 1).await;
    let again = stored(&f, 1).await;
    assert_eq!((again.id, again.image.clone()), (first.id, first.image.clone()));
    assert!(again.kept_since >= first.kept_since);
    let other = f.store.ensure_tenant("other").await.expect("a tenant").id;
    let theirs = f.store.put_image(Uuid::now_v7(), &image(other, 1)).await.expect("put");
    assert_ne!(theirs.id, first.id);

    let ids = [first.id, theirs.id, Uuid::now_v7()];
    let visible = async |scope: Scope| -> Vec<Uuid> {
        let mut found: Vec<Uuid> = f.store.images(scope, &ids).await.expect("find").iter().map(|one| one.id).collect();
        found.sort_unstable();
        found
    };
    assert_eq!(visible(f.scope()).await, [first.id]);
    assert_eq!(visible(Scope::Tenant(other)).await, [theirs.id]);
    assert_eq!(visible(Scope::Fleet).await, [first.id, theirs.id]);
    assert_eq!(
        f.store.keep_image(f.tenant, &first.image.sha256).await.expect("keep").map(|one| one.id),
        Some(first.id)
    );
    assert_eq!(f.store.keep_image(f.tenant, &"ff".repeat(32)).await.expect("keep"), None);
    stored(&f, 2).await;
    assert_eq!(f.store.image_bytes(f.tenant).await.expect("bytes"), 2_000);
    assert_eq!(f.store.delete_image(f.scope(), theirs.id).await.expect("delete"), DeleteImage::NotFound);
    assert_eq!(f.store.delete_image(f.scope(), first.id).await.expect("delete"), DeleteImage::Deleted(f.tenant));
    assert_eq!(f.store.delete_image(f.scope(), first.id).await.expect("delete"), DeleteImage::NotFound);
}

#[tokio::test]
async fn a_picture_lives_until_its_last_job_is_purged() {
    let f = Fixture::new().await;
    let (used, unused) = (stored(&f, 1).await, stored(&f, 2).await);
    let jobs = [f.insert(using(&f, used.id)).await, f.insert(using(&f, used.id)).await];
    assert_eq!(f.get(jobs[0].id).await.request.image, using(&f, used.id).request.image);
    assert_eq!(f.store.delete_image(f.scope(), used.id).await.expect("delete"), DeleteImage::InUse);
    assert!(f.store.expire_images(3_600.0, 10).await.expect("expire").is_empty(), "all are young");
    assert_eq!(f.store.expire_images(0.0, 10).await.expect("expire"), [(f.tenant, unused.id)]);
    purge(&f, jobs[0].id).await;
    assert!(f.store.expire_images(0.0, 10).await.expect("expire").is_empty(), "one job is left");
    purge(&f, jobs[1].id).await;
    // Its own time counts too: it was uploaded just now.
    assert!(f.store.expire_images(3_600.0, 10).await.expect("expire").is_empty());
    assert_eq!(f.store.expire_images(0.0, 10).await.expect("expire"), [(f.tenant, used.id)]);
}

#[tokio::test]
async fn an_upload_of_the_same_picture_begins_its_time_again() {
    let f = Fixture::new().await;
    let old = stored(&f, 1).await;
    let age = "UPDATE images SET kept_since = kept_since - interval '1 hour'";
    query(age).execute(&f.pool).await.expect("age");
    stored(&f, 1).await;
    assert!(f.store.expire_images(1_800.0, 10).await.expect("expire").is_empty());
    query(age).execute(&f.pool).await.expect("age");
    assert_eq!(f.store.expire_images(1_800.0, 10).await.expect("expire"), [(f.tenant, old.id)]);
}

#[tokio::test]
async fn a_job_without_its_picture_is_refused_alone() {
    let f = Fixture::new().await;
    let there = stored(&f, 1).await;
    let batch = [using(&f, there.id), using(&f, Uuid::now_v7()), new_job(f.tenant, MODEL)];
    let outcomes = f.store.insert_batch(&batch).await.expect("insert");
    assert!(matches!(&outcomes[0], Ok(InsertOutcome::Created(_))), "{outcomes:?}");
    assert!(matches!(&outcomes[1], Err(StoreError::ImageReference(_))), "{outcomes:?}");
    assert!(matches!(&outcomes[2], Ok(InsertOutcome::Created(_))), "{outcomes:?}");
    let refused = f.store.insert_all_or_nothing(&[new_job(f.tenant, MODEL), using(&f, Uuid::now_v7())]).await;
    assert!(matches!(refused, Err(StoreError::ImageReference(_))), "{refused:?}");
}

#[tokio::test]
async fn of_a_submission_and_a_deletion_at_the_same_time_one_wins() {
    let f = Fixture::new().await;
    for content in 0..30 {
        let id = stored(&f, content).await.id;
        let job = using(&f, id);
        let (inserted, deleted) = if content % 2 == 0 {
            tokio::join!(f.store.insert(&job), f.store.delete_image(f.scope(), id))
        } else {
            let (deleted, inserted) = tokio::join!(f.store.delete_image(f.scope(), id), f.store.insert(&job));
            (inserted, deleted)
        };
        match (inserted, deleted.expect("delete")) {
            (Ok(InsertOutcome::Created(_)), DeleteImage::InUse)
            | (Err(StoreError::ImageReference(_)), DeleteImage::Deleted(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    let dangling = "SELECT count(*) FROM jobs LEFT JOIN images ON images.id = jobs.image_id
                    WHERE jobs.image_id IS NOT NULL AND images.id IS NULL";
    let dangling: i64 = sqlx::query_scalar(dangling).fetch_one(&f.pool).await.expect("count");
    assert_eq!(dangling, 0);
}

#[tokio::test]
async fn files_without_a_row_are_orphans() {
    let f = Fixture::new().await;
    let there = stored(&f, 1).await;
    let file = |tenant_id: TenantId, id: Uuid| ImageFile { key: format!("{tenant_id}/{id}"), tenant_id, id };
    let gone = file(f.tenant, Uuid::now_v7());
    // A file below another tenant's name is not this picture's.
    let strange = file(TenantId::fresh(), there.id);
    let files = [file(f.tenant, there.id), gone.clone(), strange.clone()];
    assert_eq!(f.store.orphaned_images(&files).await.expect("orphans"), [gone.key, strange.key]);
}
