//! Tenants, keys, sessions, models and workers.

use domain::worker::WorkerInfo;
use domain::{KeyId, ModelManifest, PoolId, TenantId, WorkerId};
use store::StoreError;
use store::keys::{NewKey, Role};
use store::workers::{RegisterOutcome, WorkerState};

use crate::support::Fixture;

fn key(tenant_id: TenantId, role: Role, hash: &[u8]) -> NewKey {
    NewKey { id: KeyId::fresh(), tenant_id, role, label: "laptop".into(), prefix: "hf_ab".into(), hash: hash.to_vec() }
}

#[tokio::test]
async fn a_key_and_its_sessions_work_until_it_is_revoked() {
    let f = Fixture::new().await;
    let tenant = f.store.ensure_tenant("studio").await.expect("tenant");
    assert_eq!(f.store.ensure_tenant("studio").await.expect("tenant").id, tenant.id);
    let new = key(tenant.id, Role::Admin, b"hash");
    f.store.issue_key(&new).await.expect("issue");
    assert!(f.store.find_key(b"other").await.expect("find").is_none());
    let found = f.store.find_key(b"hash").await.expect("find").expect("there");
    assert_eq!((found.id, found.role, found.tenant_name.as_str()), (new.id, Role::Admin, "studio"));
    let listed = f.store.list_keys(Some(tenant.id)).await.expect("list");
    assert!(listed[0].last_used_at.is_some());

    f.store.open_session(b"cookie", new.id, "csrf", 60.0).await.expect("open");
    f.store.open_session(b"expired", new.id, "csrf", 0.0).await.expect("open");
    let session = f.store.find_session(b"cookie").await.expect("find").expect("open");
    assert_eq!((session.tenant_id, session.role, session.csrf.as_str()), (tenant.id, Role::Admin, "csrf"));
    assert!(f.store.find_session(b"expired").await.expect("find").is_none());
    assert_eq!(f.store.purge_sessions().await.expect("purge"), 1);

    assert!(f.store.revoke_key(new.id).await.expect("revoke"));
    assert!(!f.store.revoke_key(new.id).await.expect("revoke"));
    assert!(f.store.find_key(b"hash").await.expect("find").is_none());
    assert!(f.store.find_session(b"cookie").await.expect("find").is_none());
    assert!(f.store.list_keys(None).await.expect("list")[0].revoked_at.is_some());
}

#[tokio::test]
async fn a_session_can_be_closed_and_a_weight_must_be_positive() {
    let f = Fixture::new().await;
    let new = key(TenantId::DEFAULT, Role::User, b"hash");
    f.store.issue_key(&new).await.expect("issue");
    f.store.open_session(b"cookie", new.id, "csrf", 60.0).await.expect("open");
    f.store.close_session(b"cookie").await.expect("close");
    assert!(f.store.find_session(b"cookie").await.expect("find").is_none());
    assert!(f.store.set_tenant_weight("default", 2.5).await.expect("weight"));
    assert!(!f.store.set_tenant_weight("nobody", 1.0).await.expect("weight"));
    assert!(matches!(f.store.set_tenant_weight("default", 0.0).await, Err(StoreError::Refused(_))));
    assert!((f.store.tenants().await.expect("list")[0].weight - 2.5).abs() < f64::EPSILON);
}

pub(crate) fn manifest(weights: &str) -> ModelManifest {
    ModelManifest::parse(&format!(
        "id = 'default'\nname = 'Default'\n\
         [fingerprint]\nweights = '{weights}'\nencoders = 'e'\n\
         [sampling]\nflow_shift = 7.0\nsteps_max = 50\n\
         [[sizes]]\nname = '540p'\naspects = [{{ aspect = '16:9', width = 96, height = 64 }}]\n\
         [custom_size]\nmultiple_of = 16\nside_min = 32\npixels_max = 16384\n\
         [length]\nmax = 129\nrendered_at_max = 33\nrendered_min = 9\n\
         [memory]\nbase_bytes = 1000\nper_token_bytes = 10\n\
         [cost_prior]\ntokens = 100\nstep_s = 0.1\naround_s = 0.5\naround_cached_s = 0.3\nattention_share = 0.2\n\
         baseline_steps = 50\n"
    ))
    .expect("a manifest")
}

#[tokio::test]
async fn a_worker_with_other_weights_may_not_register() {
    let f = Fixture::new().await;
    let info = WorkerInfo {
        id: WorkerId::fresh(),
        name: "host-1".into(),
        pool: PoolId::of_worker("default", 2 << 30),
        model_id: "default".into(),
        model_fingerprint: "new".into(),
        device: "cpu".into(),
        device_class: "cpu-avx2".into(),
        build: "0.1.0".into(),
        threads: 2,
        attention: Some("cudnn".into()),
        memory_bytes: 2 << 30,
        slots: 1,
        formats: "f32/f32/f32".into(),
        gpu_hour_usd: 3.6,
        batch_max: 1,
        batch_tokens: 0,
        devices: 1,
    };
    assert_eq!(f.store.register_worker(&info).await.expect("register"), RegisterOutcome::UnknownModel);
    f.store.upsert_model(&manifest("old")).await.expect("model");
    let refused = f.store.register_worker(&info).await.expect("register");
    assert_eq!(refused, RegisterOutcome::OtherFingerprint { expected: "old".into() });
    assert!(f.store.workers(None, 100).await.expect("workers").is_empty());
    f.store.upsert_model(&manifest("new")).await.expect("model");
    let registered = f.store.models().await.expect("models");
    assert_eq!(registered.len(), 1);
    assert_eq!(registered[0].manifest.as_ref().expect("readable"), &manifest("new"));
    for _ in 0..2 {
        assert_eq!(f.store.register_worker(&info).await.expect("register"), RegisterOutcome::Registered);
    }
    assert!(f.store.heartbeat(info.id, WorkerState::Busy, None).await.expect("beat"));
    let workers = f.store.workers(None, 100).await.expect("workers");
    assert_eq!((&workers[0].info, workers[0].state, workers.len()), (&info, WorkerState::Busy, 1));
    // A worker without heartbeats is given up, then forgotten; a late heartbeat is refused, so that it registers again.
    assert_eq!(f.store.give_up_silent_workers(3_600.0, 3_600.0).await.expect("sweep"), 0);
    assert_eq!(f.store.give_up_silent_workers(0.0, 3_600.0).await.expect("sweep"), 1);
    assert!(!f.store.heartbeat(info.id, WorkerState::Ready, None).await.expect("beat"));
    assert!(f.store.workers(None, 100).await.expect("workers").is_empty());
}

#[tokio::test]
async fn a_wrong_url_is_reported_without_its_password() {
    let mut options = store::StoreOptions::new("postgres://fleet:hunter2@[broken/x");
    let error = store::Store::connect(&options).await.expect_err("broken");
    assert!(!format!("{error:?} {options:?}").contains("hunter2"));
    options.url = "postgres://fleet:hunter2@127.0.0.1:1/x".into();
    options.acquire_timeout_ms = 500;
    let error = store::Store::connect(&options).await.expect_err("no server");
    assert!(error.is_unavailable(), "{error:?}");
}
