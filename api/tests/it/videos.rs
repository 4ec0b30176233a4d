//! `GET /api/videos/{id}` and its poster.

use reqwest::{Method, StatusCode};

use crate::app::TestApp;

#[tokio::test]
async fn a_video_is_served_whole_in_ranges_and_not_again_if_cached() {
    let app = TestApp::spawn().await;
    let job = app.submit("a lamp").await;
    let path = format!("/api/videos/{job}");
    assert_eq!(app.get(&path).await.0, StatusCode::NOT_FOUND);
    let lease = app.claim(job).await;
    let bytes: Vec<u8> = (0..=255).cycle().take(5000).collect();
    app.complete(lease, &bytes).await;

    let whole = app.call(Method::GET, &path).send().await.unwrap();
    assert_eq!(whole.status(), StatusCode::OK);
    assert_eq!(whole.headers()["content-type"], "video/mp4");
    assert_eq!(whole.headers()["accept-ranges"], "bytes");
    let etag = whole.headers()["etag"].clone();
    assert_eq!(whole.bytes().await.unwrap(), bytes);

    let part = app.call(Method::GET, &path).header("Range", "bytes=1000-1999").send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()["content-range"], "bytes 1000-1999/5000");
    assert_eq!(part.bytes().await.unwrap(), bytes[1000..2000]);

    let outside = app.call(Method::GET, &path).header("Range", "bytes=5000-").send().await.unwrap();
    assert_eq!(outside.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(outside.headers()["content-range"], "bytes */5000");

    let etag = etag.to_str().unwrap();
    for tags in [etag.to_owned(), format!("W/{etag}"), format!("\"other\", {etag}"), "*".to_owned()] {
        let known = app.call(Method::GET, &path).header("If-None-Match", &tags).send().await.unwrap();
        assert_eq!(known.status(), StatusCode::NOT_MODIFIED, "{tags}");
    }
    let unknown = app.call(Method::GET, &path).header("If-None-Match", "\"other\"").send().await.unwrap();
    assert_eq!(unknown.status(), StatusCode::OK);
    // A range of a version that is not the current one: the client gets the whole file.
    let stale = app.call(Method::GET, &path).header("Range", "bytes=0-9").header("If-Range", "\"other\"");
    assert_eq!(stale.send().await.unwrap().status(), StatusCode::OK);

    let head = app.call(Method::HEAD, &path).send().await.unwrap();
    assert_eq!(head.headers()["content-length"], "5000");

    let poster = app.call(Method::GET, &format!("{path}/poster")).send().await.unwrap();
    assert_eq!(poster.headers()["content-type"], "image/jpeg");
    assert_eq!(poster.bytes().await.unwrap(), "poster");

    let saved = app.call(Method::GET, &format!("{path}?download=true")).send().await.unwrap();
    assert!(saved.headers()["content-disposition"].to_str().unwrap().starts_with("attachment"));
}
