//! `fleet keys`: what the current key gives access to, and the quotas of all keys. Keys are issued and revoked on the server, with
//! `api keys`.

use reqwest::Method;
use serde_json::{Value, json};

use crate::api::Api;
use crate::args::KeysArgs;
use crate::config::Target;
use crate::failure::Failure;
use crate::out::Out;
use crate::table::Table;
use crate::text::{dollars, plain};

/// Shows the current key, lists all keys, or sets a quota.
pub(crate) async fn keys(api: &Api, out: Out, target: &Target, args: &KeysArgs) -> Result<(), Failure> {
    if let Some(key) = args.set_quota {
        let body = json!({ "gpu_seconds_per_day": args.gpu_seconds_per_day, "usd_per_day": args.usd_per_day });
        let set = api.send_json(Method::PUT, &format!("/api/keys/{key}/quota"), &body).await?;
        return out.result(&set, |set| format!("{key}: {}", quota(set)));
    }
    if args.all { all(api, out).await } else { own(api, out, target).await }
}

async fn own(api: &Api, out: Out, target: &Target) -> Result<(), Failure> {
    let session = api.get("/api/session").await?;
    let required = session["keys_required"] == Value::Bool(true);
    let state = if required { api.get("/api/quota").await? } else { Value::Null };
    let document = json!({
        "server": target.server,
        "keys_required": required,
        "key": target.key_source,
        "role": if session["admin"] == true { "admin" } else { "user" },
        "quota": state,
    });
    out.result(&document, |document| {
        let access = match (required, document["role"] == "admin") {
            (false, _) => "this fleet needs no key; everybody who can reach it sees all jobs",
            (true, true) => "admin: the whole fleet",
            (true, false) => "user: the jobs of the key's own tenant",
        };
        let mut lines = vec![
            format!("server  {}", target.server),
            format!("key     {}", target.key_source),
            format!("access  {access}"),
        ];
        if required {
            let used = document["quota"]["used_gpu_seconds"].as_f64().unwrap_or_default();
            let usd = document["quota"]["used_usd"].as_f64().unwrap_or_default();
            lines.push(format!("quota   {}", quota(&document["quota"]["quota"])));
            lines.push(format!("used    {used:.0} GPU seconds ({}) today", dollars(usd)));
        }
        lines.join("\n")
    })
}

async fn all(api: &Api, out: Out) -> Result<(), Failure> {
    let document = api.get("/api/keys").await?;
    let keys = document["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
    if out.json {
        return keys.iter().try_for_each(|key| out.line(&key.to_string()));
    }
    let mut table = Table::new(&["ID", "KEY", "TENANT", "ROLE", "STATE", "QUOTA", "LABEL"]);
    for key in keys {
        let word = |name: &str| plain(key[name].as_str().unwrap_or_default());
        let state = if key["revoked_at"].is_string() { "revoked" } else { "active" };
        let row = vec![
            word("key_id"),
            word("prefix"),
            word("tenant"),
            word("role"),
            state.into(),
            quota(&key["quota"]),
            word("label"),
        ];
        table.push(row);
    }
    out.line(&table.text())
}

/// The limits in words.
fn quota(limits: &Value) -> String {
    let seconds = limits["gpu_seconds_per_day"].as_f64().map(|seconds| format!("{seconds} GPU seconds per day"));
    let usd = limits["usd_per_day"].as_f64().map(|usd| format!("{} per day", dollars(usd)));
    match (seconds, usd) {
        (None, None) => "none".to_owned(),
        (Some(one), None) | (None, Some(one)) => one,
        (Some(seconds), Some(usd)) => format!("{seconds}, {usd}"),
    }
}
