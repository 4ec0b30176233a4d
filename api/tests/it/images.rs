//! Pictures: what is taken and in which form, what is refused and leaves nothing, and what a request may say about them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::TryStreamExt;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use settings::{KeysMode, Settings};
use store::keys::Role;
use tempfile::TempDir;
use testkit::{PICTURE_MODEL, picture, picture_model};

use crate::app::{Answer, TestApp, answer, blamed, id};
use crate::auth::issue;

/// An API with the default model and one that needs a picture.
pub(crate) async fn with_model(change: impl FnOnce(&mut Settings)) -> (TestApp, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    picture_model(folder.path());
    let path = folder.path().to_owned();
    let app = TestApp::spawn_with(|settings| {
        settings.models.dirs.push(path);
        change(settings);
    })
    .await;
    (app, folder)
}

/// A part of a form; a file has a name.
type Part<'a> = (&'a str, Option<&'a str>, &'a [u8]);

pub(crate) fn form(request: RequestBuilder, parts: &[Part<'_>]) -> RequestBuilder {
    let mut body = Vec::new();
    for (name, file, bytes) in parts {
        let file = file.map(|file| format!("; filename=\"{file}\"")).unwrap_or_default();
        body.extend(format!("--limit\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n").into_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--limit--\r\n");
    request.header("content-type", "multipart/form-data; boundary=limit").body(body)
}

pub(crate) fn data_url(bytes: &[u8]) -> String {
    format!("data:image/jpeg;base64,{}", STANDARD.encode(bytes))
}

async fn upload(app: &TestApp, bytes: Vec<u8>) -> Answer {
    answer(app.call(Method::POST, "/api/images").body(bytes)).await
}

/// Uploads one of the pictures; returns its id.
async fn stored(app: &TestApp, name: &str) -> String {
    let (status, image) = upload(app, picture(name)).await;
    assert_eq!(status, StatusCode::CREATED, "{image}");
    image["id"].as_str().unwrap().to_owned()
}

async fn bytes(app: &TestApp, path: &str) -> Vec<u8> {
    let response = app.call(Method::GET, path).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    response.bytes().await.unwrap().to_vec()
}

/// Number of objects in the store.
async fn objects(app: &TestApp) -> usize {
    app.state.artifacts.list().try_collect::<Vec<_>>().await.unwrap().len()
}

async fn delete(app: &TestApp, id: &str) -> StatusCode {
    answer(app.call(Method::DELETE, &format!("/api/images/{id}"))).await.0
}

fn asking(image: &Value) -> Value {
    json!({ "prompt": "a cat", "model": PICTURE_MODEL, "image": image })
}

#[tokio::test]
async fn pictures_are_stored_upright_as_png_and_the_same_one_once() {
    let app = TestApp::spawn().await;
    let parts = [("image", Some("turned.jpg"), picture("turned.jpg"))];
    let parts: Vec<Part<'_>> = parts.iter().map(|(name, file, bytes)| (*name, *file, bytes.as_slice())).collect();
    let (status, turned) = answer(form(app.call(Method::POST, "/api/images"), &parts)).await;
    assert_eq!(status, StatusCode::CREATED, "{turned}");
    assert_eq!((&turned["width"], &turned["height"]), (&json!(32), &json!(48)), "turned by its Exif orientation");
    let png = bytes(&app, turned["url"].as_str().unwrap()).await;
    assert!(png.starts_with(b"\x89PNG"));
    assert_eq!((turned["bytes"].as_u64(), &turned["sha256"]), (Some(png.len() as u64), &json!(pictures::sha256(&png))));
    assert!(bytes(&app, turned["thumbnail_url"].as_str().unwrap()).await.starts_with(&[0xFF, 0xD8]));
    assert!(turned["expires_at"].is_string());

    for (name, width) in [("alpha.png", 16), ("lossy.webp", 48), ("lossless.webp", 48)] {
        let (status, image) = upload(&app, picture(name)).await;
        assert_eq!((status, &image["width"]), (StatusCode::CREATED, &json!(width)), "{name}: {image}");
    }
    assert_eq!(objects(&app).await, 8);
    assert_eq!(stored(&app, "turned.jpg").await, turned["id"].as_str().unwrap(), "the same picture, raw this time");
    assert_eq!(objects(&app).await, 8);

    let id = turned["id"].as_str().unwrap();
    assert_eq!(delete(&app, id).await, StatusCode::NO_CONTENT);
    assert_eq!(objects(&app).await, 6);
    for path in [format!("/api/images/{id}"), format!("/api/images/{id}/thumbnail"), "/api/images/none".to_owned()] {
        assert_eq!(app.get(&path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(delete(&app, id).await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn bad_pictures_are_refused_by_name_and_leave_nothing_behind() {
    let (app, _folder) = with_model(|settings| {
        settings.limits.image_bytes_max = 4_096;
        settings.limits.image_pixels_max = 1_000;
        settings.server.body_max_bytes = 16_384;
    })
    .await;
    let whole = picture("alpha.png");
    let cut_jpeg = picture("plain.jpg");
    let (bad, large) = (StatusCode::UNPROCESSABLE_ENTITY, StatusCode::PAYLOAD_TOO_LARGE);
    let cases: Vec<(Vec<u8>, StatusCode, &str)> = vec![
        (Vec::new(), bad, "is empty"),
        (b"<svg/>".to_vec(), bad, "must be a PNG, JPEG or WebP"),
        (picture("animated.gif"), bad, "this is a GIF"),
        (picture("animated.png"), bad, "is animated"),
        (picture("animated.webp"), bad, "is animated"),
        (whole[..whole.len() / 2].to_vec(), bad, "ends before"),
        (cut_jpeg[..cut_jpeg.len() - 30].to_vec(), bad, "ends before"),
        (picture("plain.png"), large, "48x32 = 1536 pixels"),
        (picture("bomb.png"), large, "50000x50000"),
        (vec![0; 4_097], large, "4097 bytes"),
    ];
    for (bytes, wanted, text) in cases {
        let (status, problem) = upload(&app, bytes.clone()).await;
        assert_eq!((status, blamed(&problem)), (wanted, vec!["image"]), "{problem}");
        assert!(problem.to_string().contains(text), "{text}: {problem}");
        // The same, however the picture arrives.
        let url = data_url(&bytes);
        let (status, problem) = app.post("/api/generate", &asking(&json!(url))).await;
        assert_eq!((status, blamed(&problem)), (wanted, vec!["image"]), "{text}: {problem}");
        let parts: Vec<Part<'_>> =
            vec![("prompt", None, b"a cat"), ("model", None, PICTURE_MODEL.as_bytes()), ("image", Some("a"), &bytes)];
        let (status, problem) = answer(form(app.call(Method::POST, "/api/generate"), &parts)).await;
        assert_eq!((status, blamed(&problem)), (wanted, vec!["image"]), "{text}: {problem}");
    }
    let (status, _) = upload(&app, vec![0; 2 << 20]).await;
    assert_eq!(status, large, "larger than any body");
    assert_eq!(objects(&app).await, 0);
    assert_eq!(app.store.image_bytes(domain::TenantId::DEFAULT).await.unwrap(), 0);
    assert_eq!(app.get("/api/jobs").await.1["jobs"], json!([]));
}

#[tokio::test]
async fn a_quota_limits_what_a_tenant_stores() {
    let (app, _folder) = with_model(|settings| settings.limits.images_tenant_bytes_max = 150).await;
    let small = stored(&app, "deep.png").await;
    let (status, problem) = upload(&app, picture("turned.jpg")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    assert!(problem.to_string().contains("quota"), "{problem}");
    assert_eq!(stored(&app, "deep.png").await, small, "what is there already takes no room");
    assert_eq!(objects(&app).await, 2);
}

#[tokio::test]
async fn a_request_gives_its_picture_as_an_id_a_data_url_or_a_file() {
    let (app, _folder) = with_model(|_| {}).await;
    let image = stored(&app, "turned.jpg").await;
    let url = data_url(&picture("turned.jpg"));
    let shown = json!({ "id": image, "sha256": Value::Null });
    for given in [json!(image), json!(url), json!({ "id": image })] {
        let (status, job) = app.post("/api/generate", &asking(&given)).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{job}");
        let used = &job["request"]["image"];
        assert_eq!((&used["id"], &used["width"], &used["height"]), (&shown["id"], &json!(32), &json!(48)), "{job}");
        // What a response shows can be sent again.
        let (status, again) = app.post("/api/generate", &job["request"]).await;
        assert_eq!((status, &again["request"]["image"]), (StatusCode::ACCEPTED, used), "{again}");
        // 64x64 pixels are rendered, so the upper and the lower 8 rows of 32x48 are not seen.
        let crop = json!({ "x": 0, "y": 8, "width": 32, "height": 32 });
        assert_eq!(job["image"]["crop"], crop, "{job}");
        assert!(bytes(&app, job["image"]["thumbnail_url"].as_str().unwrap()).await.starts_with(&[0xFF, 0xD8]));
    }
    let file = picture("turned.jpg");
    let parts: Vec<Part<'_>> = vec![
        ("image", Some("cat.jpg"), &file),
        ("prompt", None, b"a cat"),
        ("model", None, PICTURE_MODEL.as_bytes()),
        ("infer_steps", None, b"7"),
        ("aspect_ratio", None, b""),
        ("image", Some(""), b""),
    ];
    let (status, job) = answer(form(app.call(Method::POST, "/api/generate"), &parts)).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{job}");
    assert_eq!((&job["request"]["image"]["id"], &job["request"]["infer_steps"]), (&json!(image), &json!(7)), "{job}");
    assert_eq!(objects(&app).await, 2, "one picture");

    let query = format!("/api/optimization/analyze?prompt=a%20cat&model={PICTURE_MODEL}&image={image}");
    let (status, analysis) = app.get(&query).await;
    assert_eq!((status, &analysis["image_crop"]["y"]), (StatusCode::OK, &json!(8)), "{analysis}");
    // Estimates need no picture.
    let query = format!("prompt=a%20cat&model={PICTURE_MODEL}");
    let (status, analysis) = app.get(&format!("/api/optimization/analyze?{query}")).await;
    assert_eq!((status, &analysis["image_crop"]), (StatusCode::OK, &Value::Null), "{analysis}");
    let (status, tiers) = app.get(&format!("/api/tiers?model={PICTURE_MODEL}")).await;
    assert_eq!(status, StatusCode::OK, "{tiers}");
    let (_, models) = app.get("/api/models").await;
    let takes = |id: &str| {
        models["models"].as_array().unwrap().iter().find(|model| model["id"] == id).unwrap()["image"].clone()
    };
    assert_eq!((takes(PICTURE_MODEL), takes("default")), (json!("required"), json!("none")));
}

#[tokio::test]
async fn what_a_request_says_about_its_picture_must_be_right() {
    let (app, _folder) = with_model(|_| {}).await;
    let image = stored(&app, "alpha.png").await;
    let url = data_url(&picture("plain.jpg"));
    let unknown = uuid::Uuid::now_v7();
    let cases: Vec<(Value, &str, &str)> = vec![
        (asking(&Value::Null), "image", "is missing"),
        (json!({ "prompt": "a cat", "image": image }), "image", "from text alone"),
        (json!({ "prompt": "a cat", "image": url }), "image", "from text alone"),
        (asking(&json!("https://example.com/cat.png")), "image", "this server fetches none"),
        (asking(&json!("cat.png")), "image", "must be the id"),
        (asking(&json!(unknown)), "image", "no picture of yours"),
        (asking(&json!("data:image/png,abc")), "image", "without ;base64"),
        (asking(&json!({ "id": image, "sha256": "00" })), "image.sha256", "is not that of the picture"),
        (asking(&json!(7)), "image", "must be the id"),
        (json!({ "prompt": " ", "model": PICTURE_MODEL, "image": url }), "prompt", "visible"),
    ];
    for (body, field, text) in cases {
        let (status, problem) = app.post("/api/generate", &body).await;
        assert_eq!((status, blamed(&problem)), (StatusCode::UNPROCESSABLE_ENTITY, vec![field]), "{problem}");
        assert!(problem.to_string().contains(text), "{text}: {problem}");
    }
    assert_eq!(objects(&app).await, 2, "a picture in a refused request is not stored");
    let wrong: [(&[Part<'_>], &str); 3] = [
        (&[("prompt", Some("a.txt"), b"a cat")], "prompt"),
        (&[("prompt", None, b"a"), ("prompt", None, b"b")], "prompt"),
        (&[("prompt", None, b"a"), ("sead", None, b"1")], "sead"),
    ];
    for (parts, field) in wrong {
        let (status, problem) = answer(form(app.call(Method::POST, "/api/generate"), parts)).await;
        assert_eq!((status, blamed(&problem)), (StatusCode::UNPROCESSABLE_ENTITY, vec![field]), "{problem}");
    }
    let batch = json!({ "requests": [asking(&json!(image)), asking(&json!(url)), asking(&json!(unknown))] });
    let (status, problem) = app.post("/api/generate/batch", &batch).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    assert_eq!(blamed(&problem), ["requests[1].image", "requests[2].image"], "{problem}");
    let batch = json!({ "requests": [asking(&json!(image)), asking(&json!(image))] });
    let (status, jobs) = app.post("/api/generate/batch", &batch).await;
    assert_eq!((status, &jobs["jobs"][1]["job"]["request"]["image"]["id"]), (StatusCode::ACCEPTED, &json!(image)));
}

#[tokio::test]
async fn pictures_are_their_tenants_own() {
    let (app, _folder) = with_model(|settings| settings.server.keys = KeysMode::On).await;
    let (_, red) = issue(&app, "red", Role::User).await;
    let (_, blue) = issue(&app, "blue", Role::User).await;
    let put = app.call(Method::POST, "/api/images").bearer_auth(&red).body(picture("plain.jpg"));
    let (status, image) = answer(put).await;
    assert_eq!(status, StatusCode::CREATED, "{image}");
    let id = image["id"].as_str().unwrap();
    let call = async |key: &str, method: Method, path: String| answer(app.call(method, &path).bearer_auth(key)).await.0;
    for path in [format!("/api/images/{id}"), format!("/api/images/{id}/thumbnail")] {
        assert_eq!(call(&red, Method::GET, path.clone()).await, StatusCode::OK);
        assert_eq!(call(&blue, Method::GET, path).await, StatusCode::NOT_FOUND);
    }
    assert_eq!(call(&blue, Method::DELETE, format!("/api/images/{id}")).await, StatusCode::NOT_FOUND);
    let submit = |key: &str| app.call(Method::POST, "/api/generate").bearer_auth(key).json(&asking(&json!(id)));
    let (status, theirs) = answer(submit(&blue)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{theirs}");
    let missing = json!(uuid::Uuid::now_v7());
    let (_, nobodys) = answer(app.call(Method::POST, "/api/generate").bearer_auth(&blue).json(&asking(&missing))).await;
    assert_eq!(theirs, nobodys, "another tenant's picture is like none");
    assert_eq!(answer(submit(&red)).await.0, StatusCode::ACCEPTED);
    let put = app.call(Method::POST, "/api/images").bearer_auth(&blue).body(picture("plain.jpg"));
    assert_ne!(answer(put).await.1["id"], image["id"], "the same picture of another tenant is another");
}

#[tokio::test]
async fn a_repeated_submission_is_recognised_by_the_pictures_content() {
    let (app, _folder) = with_model(|_| {}).await;
    let keyed = |body: Value| app.call(Method::POST, "/api/generate").header("Idempotency-Key", "k1").json(&body);
    let url = data_url(&picture("turned.jpg"));
    let (status, first) = answer(keyed(asking(&json!(url)))).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{first}");
    let image = first["request"]["image"]["id"].clone();
    for same in [json!(url), image.clone(), first["request"]["image"].clone()] {
        let (status, again) = answer(keyed(asking(&same))).await;
        assert_eq!((status, &again["job_id"]), (StatusCode::ACCEPTED, &first["job_id"]), "{again}");
    }
    assert_eq!(objects(&app).await, 2);
    let (status, other) = answer(keyed(asking(&json!(data_url(&picture("grey.jpg")))))).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "another picture is another request: {other}");
    assert_eq!(app.get("/api/jobs").await.1["jobs"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_picture_that_jobs_use_stays_until_the_last_one_is_gone() {
    let (app, _folder) = with_model(|_| {}).await;
    let image = stored(&app, "turned.jpg").await;
    let (_, job) = app.post("/api/generate", &asking(&json!(image))).await;
    assert_eq!(delete(&app, &image).await, StatusCode::CONFLICT);
    let path = format!("/api/jobs/{}", id(&job));
    assert_eq!(answer(app.call(Method::DELETE, &path)).await.0, StatusCode::NO_CONTENT);
    assert_eq!(delete(&app, &image).await, StatusCode::CONFLICT, "a deleted job can be restored");
    app.store.purge_deleted(0.0, 10).await.unwrap();
    assert_eq!(delete(&app, &image).await, StatusCode::NO_CONTENT);
    assert_eq!(objects(&app).await, 0);
}

#[tokio::test]
async fn openais_clients_send_a_reference_picture() {
    let (app, _folder) = with_model(|_| {}).await;
    let file = picture("turned.jpg");
    let parts: Vec<Part<'_>> = vec![
        ("prompt", None, b"a cat"),
        ("model", None, PICTURE_MODEL.as_bytes()),
        ("input_reference", Some("cat.jpg"), &file),
    ];
    let create = |count: u32| {
        form(app.call(Method::POST, "/v1/videos"), &parts).header("x-stainless-retry-count", count.to_string())
    };
    let (status, video) = answer(create(0)).await;
    assert_eq!(status, StatusCode::OK, "{video}");
    let (status, again) = answer(create(1)).await;
    assert_eq!((status, &again["id"]), (StatusCode::OK, &video["id"]), "a lost response costs no second video");
    let path = format!("/api/jobs/{}", video["id"].as_str().unwrap());
    let job = app.get(&path).await.1;
    assert_eq!(job["request"]["image"]["width"], 32, "{job}");
    let image = &job["request"]["image"]["id"];
    for given in [json!({ "image_url": data_url(&file) }), json!({ "file_id": image }), image.clone()] {
        let body = json!({ "prompt": "a cat", "model": PICTURE_MODEL, "input_reference": given });
        let (status, video) = app.post("/v1/videos", &body).await;
        assert_eq!(status, StatusCode::OK, "{video}");
        let job = app.get(&format!("/api/jobs/{}", video["id"].as_str().unwrap())).await.1;
        assert_eq!(&job["request"]["image"]["id"], image, "{job}");
    }
    let remix = format!("/v1/videos/{}/remix", video["id"].as_str().unwrap());
    let (status, remixed) = app.post(&remix, &json!({ "prompt": "a dog" })).await;
    assert_eq!(status, StatusCode::OK, "{remixed}");
    let job = app.get(&format!("/api/jobs/{}", remixed["id"].as_str().unwrap())).await.1;
    assert_eq!(&job["request"]["image"]["id"], image, "a remix begins from the same picture");

    let wrong = [
        (json!({ "input_reference": { "image_url": "https://example.com/a.png" } }), "fetches none"),
        (json!({ "input_reference": 7 }), "must be a file"),
        (json!({ "input_reference": image, "image": image }), "send one of them"),
        (json!({ "input_reference": data_url(b"GIF89a") }), "this is a GIF"),
        (json!({ "input_reference": image, "model": "default" }), "from text alone"),
    ];
    for (mut body, text) in wrong {
        body["prompt"] = json!("a cat");
        if body["model"].is_null() {
            body["model"] = json!(PICTURE_MODEL);
        }
        let (status, error) = app.post("/v1/videos", &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body} {error}");
        assert!(error["error"]["message"].as_str().unwrap().contains(text), "{text}: {error}");
        let param = error["error"]["param"].as_str().unwrap();
        assert!(["input_reference", "image"].contains(&param), "{error}");
    }
    assert_eq!(objects(&app).await, 2);
}
