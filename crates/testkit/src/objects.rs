//! An object store that speaks enough of S3 for our client and fails on request: the one service that no package of
//! the distribution provides. It keeps everything in memory and checks no signature.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, Response, StatusCode, header};
use tokio::sync::watch;

/// The bucket that [`ObjectStore::variables`] names.
const BUCKET: &str = "videos";
/// Nothing larger is uploaded in tests.
const BODY_MAX: usize = 64 << 20;

/// How requests are handled.
#[derive(Debug, Clone, Default)]
struct Faults {
    /// Status of everything that writes, while set.
    refuse_writes: Option<StatusCode>,
    /// How many writes of keys with this suffix return 503.
    fail: Option<(String, u32)>,
    /// Writes of keys with this suffix wait.
    hold: Option<String>,
    /// Everything takes this much longer.
    delay: Duration,
}

#[derive(Default)]
struct Kept {
    objects: BTreeMap<String, Bytes>,
    uploads: HashMap<String, BTreeMap<u32, Bytes>>,
    begun: u64,
    faults: Faults,
}

struct Shared {
    kept: Mutex<Kept>,
    held: watch::Sender<u64>,
    releases: watch::Sender<u64>,
}

/// A running store; gone when dropped.
pub struct ObjectStore {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: watch::Sender<()>,
}

impl ObjectStore {
    /// Starts a store on a free port.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn start() -> Self {
        let shared =
            Arc::new(Shared { kept: Mutex::default(), held: watch::Sender::new(0), releases: watch::Sender::new(0) });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        listener.set_nonblocking(true).expect("a listener can be non-blocking");
        let (stop, mut stopped) = watch::channel(());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener for this runtime");
                tokio::select! {
                    served = axum::serve(listener, router).into_future() => drop(served),
                    _ = stopped.changed() => {}
                }
            });
        });
        Self { address, shared, _stop: stop }
    }

    /// Variables by which our processes use it.
    #[must_use]
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("FLEET__ARTIFACTS__URL", format!("s3://{BUCKET}")),
            ("FLEET__ARTIFACTS__S3_ENDPOINT", format!("http://{}", self.address)),
            ("FLEET__ARTIFACTS__S3_ALLOW_HTTP", "true".to_owned()),
            ("FLEET__ARTIFACTS__S3_ACCESS_KEY_ID", "test".to_owned()),
            ("FLEET__ARTIFACTS__S3_SECRET_ACCESS_KEY", "test".to_owned()),
            ("FLEET__ARTIFACTS__RETRIES_MAX", "1".to_owned()),
        ]
    }

    /// Keys of all objects.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.kept().objects.keys().cloned().collect()
    }

    /// An object's bytes.
    #[must_use]
    pub fn object(&self, key: &str) -> Option<Bytes> {
        self.kept().objects.get(key).cloned()
    }

    /// Every write returns this status (507: no space left); `None` accepts writes again.
    pub fn refuse_writes(&self, status: Option<StatusCode>) {
        self.kept().faults.refuse_writes = status;
    }

    /// The next `times` writes of keys with this suffix return 503.
    pub fn fail_writes(&self, end: &str, times: u32) {
        self.kept().faults.fail = Some((end.to_owned(), times));
    }

    /// Every request takes this much longer.
    pub fn delay(&self, by: Duration) {
        self.kept().faults.delay = by;
    }

    /// Writes of keys with this suffix wait until [`ObjectStore::release`], or forever if the client disconnects.
    pub fn hold_writes(&self, end: &str) {
        self.kept().faults.hold = Some(end.to_owned());
    }

    /// Releases all held writes.
    pub fn release(&self) {
        self.kept().faults.hold = None;
        self.shared.releases.send_modify(|count| *count += 1);
    }

    /// Resolves when a write is being held.
    pub async fn until_held(&self) {
        let held = self.shared.held.subscribe();
        crate::eventually_seen("a write to the object store is held", || async {
            if *held.borrow() > 0 { Ok(()) } else { Err("no write has arrived".to_owned()) }
        })
        .await;
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        lock(&self.shared)
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, Kept> {
    shared.kept.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().trim_start_matches('/');
    let key = path.strip_prefix(BUCKET).unwrap_or(path).trim_start_matches('/').to_owned();
    let query: HashMap<String, String> =
        form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let Ok(body) = axum::body::to_bytes(body, BODY_MAX).await else { return status(StatusCode::BAD_REQUEST) };
    let writes = matches!(parts.method, Method::PUT | Method::POST) && !query.contains_key("delete");
    if let Some(refused) = fault(&shared, &key, writes).await {
        return status(refused);
    }
    let range = parts.headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    match parts.method {
        Method::PUT => put(&shared, key, &query, body),
        Method::POST => post(&shared, key, &query, &body),
        Method::GET if key.is_empty() => list(&shared, query.get("prefix").map_or("", String::as_str)),
        Method::GET => get(&shared, &key, range),
        Method::HEAD => get(&shared, &key, None),
        Method::DELETE => {
            lock(&shared).objects.remove(&key);
            status(StatusCode::NO_CONTENT)
        }
        _ => status(StatusCode::METHOD_NOT_ALLOWED),
    }
}

/// Waits or refuses, as the test requested.
async fn fault(shared: &Shared, key: &str, writes: bool) -> Option<StatusCode> {
    let faults = lock(shared).faults.clone();
    if !faults.delay.is_zero() {
        tokio::time::sleep(faults.delay).await;
    }
    if !writes {
        return None;
    }
    if faults.hold.is_some_and(|end| key.ends_with(&end)) {
        let mut releases = shared.releases.subscribe();
        releases.mark_unchanged();
        shared.held.send_modify(|count| *count += 1);
        // The sender lives as long as this.
        drop(releases.changed().await);
    }
    let mut kept = lock(shared);
    if let Some((end, times)) = &mut kept.faults.fail
        && key.ends_with(end.as_str())
        && *times > 0
    {
        *times -= 1;
        return Some(StatusCode::SERVICE_UNAVAILABLE);
    }
    kept.faults.refuse_writes
}

fn put(shared: &Shared, key: String, query: &HashMap<String, String>, body: Bytes) -> Response<Body> {
    let mut kept = lock(shared);
    let part = query.get("partNumber").and_then(|number| number.parse().ok());
    match (query.get("uploadId"), part) {
        (Some(upload), Some(part)) => match kept.uploads.get_mut(upload) {
            Some(parts) => drop(parts.insert(part, body)),
            None => return status(StatusCode::NOT_FOUND),
        },
        _ => drop(kept.objects.insert(key, body)),
    }
    tagged().body(Body::empty()).unwrap_or_default()
}

fn post(shared: &Shared, key: String, query: &HashMap<String, String>, body: &Bytes) -> Response<Body> {
    let mut kept = lock(shared);
    if query.contains_key("delete") {
        let text = String::from_utf8_lossy(body);
        let keys: Vec<_> = text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next()).collect();
        let mut deleted = String::new();
        for key in keys {
            kept.objects.remove(key);
            let _ = write!(deleted, "<Deleted><Key>{key}</Key></Deleted>");
        }
        return xml(&format!("<DeleteResult>{deleted}</DeleteResult>"));
    }
    match query.get("uploadId") {
        None => {
            kept.begun += 1;
            let upload = kept.begun.to_string();
            kept.uploads.insert(upload.clone(), BTreeMap::new());
            xml(&format!(
                "<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
            ))
        }
        Some(upload) => {
            let Some(parts) = kept.uploads.remove(upload) else { return status(StatusCode::NOT_FOUND) };
            let whole: Vec<u8> = parts.into_values().flat_map(Vec::from).collect();
            kept.objects.insert(key, whole.into());
            xml("<CompleteMultipartUploadResult><ETag>\"1\"</ETag></CompleteMultipartUploadResult>")
        }
    }
}

fn get(shared: &Shared, key: &str, range: Option<&str>) -> Response<Body> {
    let Some(object) = lock(shared).objects.get(key).cloned() else { return status(StatusCode::NOT_FOUND) };
    let bounds = range.and_then(|range| {
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        let last = last.parse().map_or(object.len(), |last: usize| (last + 1).min(object.len()));
        Some((first.parse::<usize>().ok()?.min(last), last))
    });
    let (code, body, shown) = match bounds {
        Some((first, end)) => {
            let shown = format!("bytes {first}-{}/{}", end.saturating_sub(1), object.len());
            (StatusCode::PARTIAL_CONTENT, object.slice(first..end), Some(shown))
        }
        None => (StatusCode::OK, object, None),
    };
    let mut response = tagged().status(code).header(header::CONTENT_LENGTH, body.len());
    if let Some(shown) = shown {
        response = response.header(header::CONTENT_RANGE, shown);
    }
    response.body(Body::from(body)).unwrap_or_default()
}

fn list(shared: &Shared, prefix: &str) -> Response<Body> {
    let kept = lock(shared);
    let mut contents = String::new();
    for (key, object) in kept.objects.iter().filter(|(key, _)| key.starts_with(prefix)) {
        let size = object.len();
        let _ = write!(
            contents,
            "<Contents><Key>{key}</Key><Size>{size}</Size><LastModified>2020-01-01T00:00:00.000Z</LastModified>\
             <ETag>\"1\"</ETag></Contents>"
        );
    }
    xml(&format!("<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"))
}

fn tagged() -> axum::http::response::Builder {
    Response::builder().header(header::ETAG, "\"1\"").header(header::LAST_MODIFIED, "Wed, 01 Jan 2020 00:00:00 GMT")
}

fn xml(text: &str) -> Response<Body> {
    Response::builder()
        .header(header::CONTENT_TYPE, "application/xml")
        .body(Body::from(text.to_owned()))
        .unwrap_or_default()
}

fn status(code: StatusCode) -> Response<Body> {
    let mut response = Response::default();
    *response.status_mut() = code;
    response
}
