//! Adapters: refused before anything is stored, private to their tenant, and part of what a job is.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::app::{Answer, TestApp, answer, blamed};

/// The bytes of a safetensors file with these tensors in fp32, all zero.
fn file(tensors: &[(&str, &[u64])]) -> Vec<u8> {
    let (mut entries, mut end) = (serde_json::Map::new(), 0);
    for (name, shape) in tensors {
        let next = end + 4 * shape.iter().product::<u64>();
        entries.insert((*name).to_owned(), json!({"dtype": "F32", "shape": shape, "data_offsets": [end, next]}));
        end = next;
    }
    let header = serde_json::to_vec(&entries).unwrap();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.resize(bytes.len() + usize::try_from(end).unwrap(), 0);
    bytes
}

/// An adapter of the default model, whose `fleet.toml` says how wide it is.
fn fitting(app: &TestApp, rank: u64) -> Vec<u8> {
    let sizes = app.state.models.find(None).unwrap().transformer.unwrap();
    let name = "single_blocks.0.linear2";
    file(&[
        (&format!("{name}.lora_A.weight"), &[rank, sizes.hidden + sizes.mlp]),
        (&format!("{name}.lora_B.weight"), &[sizes.hidden, rank]),
    ])
}

async fn upload(app: &TestApp, query: &str, bytes: Vec<u8>) -> Answer {
    answer(app.call(Method::POST, &format!("/api/loras?{query}")).body(bytes)).await
}

fn objects(app: &TestApp) -> usize {
    let folder = app.state.artifacts.folder().unwrap().join("loras/default");
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

#[tokio::test]
async fn an_adapter_is_stored_named_by_jobs_and_deleted() {
    let app = TestApp::spawn().await;
    let bytes = fitting(&app, 2);
    let query = "name=style&description=as%20drawn&steps=6&flow_shift=17";
    let (status, lora) = upload(&app, query, bytes.clone()).await;
    assert_eq!(status, StatusCode::CREATED, "{lora}");
    assert_eq!((&lora["rank"], &lora["layers"], &lora["own"]), (&json!(2), &json!(1), &json!(true)), "{lora}");
    assert_eq!(lora["fingerprint"], blake3::hash(&bytes).to_hex().as_str());
    assert_eq!(objects(&app), 1);

    let body = json!({ "prompt": "a red ball", "loras": [{ "name": "style", "scale": 0.8 }] });
    let (status, job) = app.post("/api/generate", &body).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{job}");
    assert_eq!(job["request"]["loras"][0]["fingerprint"], lora["fingerprint"], "{job}");
    assert_eq!(
        (&job["optimization"]["final_steps"], &job["optimization"]["steps_reason"]),
        (&json!(6), &json!("adapter"))
    );
    let (_, analysis) = app.get("/api/optimization/analyze?prompt=x&loras=style:0.8").await;
    assert_eq!(analysis["analysis"]["infer_steps"], 6, "{analysis}");

    // The same file under another name is one object; the last row takes it along.
    let (_, second) = upload(&app, "name=copy", bytes).await;
    assert_eq!(objects(&app), 1);
    for (view, left) in [(&lora, 1), (&second, 0)] {
        let path = format!("/api/loras/{}", view["id"].as_str().unwrap());
        assert_eq!(answer(app.call(Method::DELETE, &path)).await.0, StatusCode::NO_CONTENT);
        assert_eq!(objects(&app), left);
        assert_eq!(answer(app.call(Method::DELETE, &path)).await.0, StatusCode::NOT_FOUND);
    }
    let (status, problem) = app.post("/api/generate", &body).await;
    assert_eq!((status, blamed(&problem)), (StatusCode::UNPROCESSABLE_ENTITY, vec!["loras[0].name"]), "{problem}");
}

#[tokio::test]
async fn files_that_do_not_fit_are_refused_and_nothing_is_stored() {
    let app = TestApp::spawn_with(|settings| {
        settings.limits.lora_bytes_max = 1 << 20;
        settings.limits.loras_per_tenant_max = 1;
    })
    .await;
    let fit = fitting(&app, 2);
    let wrong: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "name=a",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0123456789abcdef0123".to_vec(),
            "git lfs pull",
        ),
        ("name=a", b"GGUF".to_vec(), "GGUF"),
        ("name=a", fit[..fit.len() - 1].to_vec(), "cut off"),
        ("name=a", file(&[("blocks.0.lora_A.weight", &[2, 8])]), "another model"),
        ("name=a", file(&[("proj_out.lora_A.weight", &[2, 9]), ("proj_out.lora_B.weight", &[9, 2])]), "another model"),
        ("name=a%20b", fit.clone(), "name"),
        ("name=a&steps=0", fit.clone(), "steps"),
        ("name=a&model=none", fit.clone(), "model"),
    ];
    for (query, bytes, text) in wrong {
        let (status, problem) = upload(&app, query, bytes).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
        assert!(problem.to_string().contains(text), "{text}: {problem}");
    }
    let (status, problem) = upload(&app, "name=a", vec![0; (1 << 20) + 1]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{problem}");
    assert_eq!(objects(&app), 0);

    assert_eq!(upload(&app, "name=a", fit.clone()).await.0, StatusCode::CREATED);
    // Replacing is not one more.
    assert_eq!(upload(&app, "name=a", fitting(&app, 3)).await.0, StatusCode::CREATED);
    assert_eq!(objects(&app), 1);
    let (status, problem) = upload(&app, "name=b", fit).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    assert!(problem.to_string().contains("delete one first"), "{problem}");
}

#[tokio::test]
async fn adapters_are_private_until_an_admin_shares_them() {
    let app = TestApp::spawn().await;
    let (_, lora) = upload(&app, "name=mine", fitting(&app, 1)).await;
    let id: uuid::Uuid = lora["id"].as_str().unwrap().parse().unwrap();
    let other = app.store.ensure_tenant("other").await.unwrap();
    let names = async || -> Vec<String> {
        let loras = app.store.loras(other.id, Some("default")).await.unwrap();
        loras.into_iter().map(|lora| lora.lora.name).collect()
    };
    assert!(names().await.is_empty());
    let scope = store::jobs::Scope::Tenant(other.id);
    assert!(app.store.delete_lora(scope, id).await.unwrap().is_none(), "another tenant's adapter does not exist");
    let path = format!("/api/loras/{id}/shared");
    let (status, _) = answer(app.call(Method::PUT, &path).json(&json!({ "shared": true }))).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(names().await, ["mine"]);
    assert!(app.store.delete_lora(scope, id).await.unwrap().is_none(), "sharing gives no right to delete");
    let (_, list) = app.get("/api/loras?model=default").await;
    assert_eq!(list["loras"].as_array().map(Vec::len), Some(1), "{list}");
    let missing: Value = answer(app.call(Method::DELETE, "/api/loras/none")).await.1;
    assert_eq!(missing["status"], 404, "{missing}");
}

/// A form with these parts.
async fn upload_form(app: &TestApp, query: &str, parts: &[(&str, Vec<u8>)]) -> Answer {
    const BOUNDARY: &str = "a-boundary-that-no-part-contains";
    let mut body = Vec::new();
    for (name, bytes) in parts {
        let head =
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\n\r\n");
        body.extend(head.into_bytes());
        body.extend(bytes);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{BOUNDARY}--\r\n").into_bytes());
    let call = app.call(Method::POST, &format!("/api/loras?{query}"));
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    answer(call.header("Content-Type", kind).body(body)).await
}

#[tokio::test]
async fn a_peft_folder_is_sent_as_a_form_and_stored_as_one_file_with_its_scale() {
    let app = TestApp::spawn().await;
    let sizes = app.state.models.find(None).unwrap().transformer.unwrap();
    let name = "base_model.model.single_transformer_blocks.0.attn.to_q";
    let weights = file(&[
        (&format!("{name}.lora_A.weight"), &[2, sizes.hidden]),
        (&format!("{name}.lora_B.weight"), &[sizes.hidden, 2]),
    ]);
    let config = json!({ "peft_type": "LORA", "r": 2, "lora_alpha": 8 }).to_string().into_bytes();
    let parts = |config: &[u8]| vec![("config", config.to_vec()), ("file", weights.clone())];

    let (status, problem) = upload(&app, "name=alone", weights.clone()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    assert!(problem.to_string().contains("adapter_config.json"), "{problem}");

    let (status, lora) = upload_form(&app, "name=peft", &parts(&config)).await;
    assert_eq!(status, StatusCode::CREATED, "{lora}");
    assert_eq!((&lora["rank"], &lora["layers"]), (&json!(2), &json!(1)), "{lora}");
    let fingerprint = lora["fingerprint"].as_str().unwrap();
    let key = artifacts::keys::lora("default", fingerprint);
    let bytes = std::fs::read(app.state.artifacts.folder().unwrap().join(key)).unwrap();
    assert_eq!(blake3::hash(&bytes).to_hex().as_str(), fingerprint);
    assert_eq!(lora["bytes"], bytes.len());
    let stored = formats::Header::parse(&bytes, bytes.len() as u64).unwrap();
    assert!(stored.metadata["lora_adapter_metadata"].contains("\"transformer.lora_alpha\":8"), "{:?}", stored.metadata);
    // Another alpha is another adapter.
    let other = json!({ "lora_alpha": 4 }).to_string().into_bytes();
    let (_, other) = upload_form(&app, "name=other", &parts(&other)).await;
    assert_ne!(other["fingerprint"], lora["fingerprint"], "{other}");

    let dora = json!({ "lora_alpha": 8, "use_dora": true }).to_string().into_bytes();
    let wrong = [
        (parts(&dora), "use_dora"),
        (parts(b"{"), "config"),
        (parts(b"{}"), "lora_alpha"),
        (vec![("file", weights.clone())], "adapter_config.json"),
        (vec![("config", config.clone())], "adapter_model.safetensors"),
        (vec![("config", config.clone()), ("file", weights[..weights.len() - 1].to_vec())], "cut off"),
        (vec![("weights", weights.clone())], "is not known"),
    ];
    let before = objects(&app);
    for (parts, text) in wrong {
        let (status, problem) = upload_form(&app, "name=wrong", &parts).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
        assert!(problem.to_string().contains(text), "{text}: {problem}");
    }
    assert_eq!(objects(&app), before);
}
