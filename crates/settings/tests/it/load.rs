//! The order of the sources, and what happens to mistakes in each. Every test writes its own settings folder and passes its
//! own variables, so the environment of the test run does not matter.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use optimizer::StepsOverride;
use settings::{KeysMode, LogFormat, Settings, SettingsError, Source};

const BASE: &str = include_str!("../../../../configuration/base.toml");

fn source(folder: &Path, variables: &[(&str, &str)]) -> Source {
    let variables: BTreeMap<_, _> = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Source { folder: folder.to_owned(), variables }
}

fn base_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("base.toml"), BASE).expect("the file is written");
    folder
}

fn load(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    Settings::load_from(&source(base_folder().path(), variables))
}

#[test]
fn the_base_file_alone_is_enough() {
    let loaded = load(&[]).unwrap();
    assert_eq!(loaded, Settings::defaults());
    assert_eq!(loaded.server.port, 8000);
    assert_eq!(loaded.cache.ttl_s, 3600);
    assert_eq!(loaded.log.format, LogFormat::Text);
}

#[test]
fn every_key_is_explained() {
    let mut comment_before = false;
    let mut section = String::new();
    let mut unexplained = Vec::new();
    for line in BASE.lines() {
        if line.starts_with('#') {
            comment_before = true;
        } else if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
            comment_before = false;
        } else if let Some((key, _)) = line.split_once(" = ") {
            // The tiers share one comment; see the next test.
            let shared = section.starts_with("tiers.");
            // The second key of a pair ("first and longest wait") is below the first.
            let pair = key.ends_with("_max_ms") || key.ends_with("_max_s") || key == "s3_secret_access_key";
            if !(comment_before || shared || pair) {
                unexplained.push(format!("{section}.{key}"));
            }
            comment_before = false;
        } else if line.is_empty() {
            comment_before = false;
        }
    }
    assert_eq!(unexplained, Vec::<String>::new());
}

#[test]
fn the_tiers_comment_explains_every_key_of_a_tier() {
    let comment = BASE.split("[tiers.preview]").next().unwrap().rsplit("tiers ---").next().unwrap();
    let explained: Vec<_> =
        comment.lines().filter_map(|line| line.strip_prefix("#   ")?.split_whitespace().next()).collect();
    let base: toml::Table = BASE.parse().unwrap();
    for (tier, keys) in base["tiers"].as_table().unwrap() {
        for key in keys.as_table().unwrap().keys() {
            assert!(explained.contains(&key.as_str()), "tiers.{tier}.{key} is not explained");
        }
    }
}

#[test]
fn later_sources_win() {
    let folder = base_folder();
    fs::write(folder.path().join("production.toml"), "[redis]\nhost = 'from-file'\nport = 1\n[server]\nport = 9000\n")
        .unwrap();
    let variables = [
        ("FLEET_ENV", "production"),
        ("REDIS_HOST", "from-short-name"),
        ("FLEET__REDIS__PORT", "3"),
        ("REDIS_PORT", "2"),
    ];
    let loaded = Settings::load_from(&source(folder.path(), &variables)).unwrap();
    assert_eq!((loaded.redis.host.as_str(), loaded.redis.port, loaded.server.port), ("from-short-name", 3, 9000));
}

#[test]
fn the_users_variables_work() {
    let variables = [
        ("REDIS_HOST", "cache"),
        ("REDIS_PORT", "6380"),
        ("ENABLE_CACHE", "false"),
        ("ENABLE_ADAPTIVE_STEPS", "False"),
    ];
    let loaded = load(&variables).unwrap();
    assert_eq!((loaded.redis.host.as_str(), loaded.redis.port), ("cache", 6380));
    assert!(!loaded.cache.enabled);
    assert!(!loaded.optimization.adaptive_steps);
    assert!(load(&[("ENABLE_CACHE", "1")]).unwrap().cache.enabled);
    assert!(load(&[("ENABLE_CACHE", "")]).unwrap().cache.enabled, "an empty variable changes nothing");
}

#[test]
fn every_kind_of_value_comes_from_a_variable() {
    let variables = [
        ("FLEET__SERVER__BIND", "0.0.0.0"),
        ("FLEET__MODELS__DIRS", "models/default, models/large"),
        ("FLEET__COST__GPU_HOUR_USD", "3"),
        ("FLEET__TIERS__PREVIEW__STEP_CACHE", "off"),
        ("FLEET__REDIS__PASSWORD", "0123"),
    ];
    let loaded = load(&variables).unwrap();
    assert_eq!(loaded.server.bind.to_string(), "0.0.0.0");
    assert!(loaded.server.keys_required(), "an address other than loopback requires keys");
    assert_eq!(loaded.models.dirs.len(), 2);
    assert!((loaded.cost.gpu_hour_usd - 3.0).abs() < 1e-12);
    assert_eq!(loaded.tiers.preview.step_cache, domain::StepCacheMode::Off);
    assert_eq!(loaded.redis.password.expose(), "0123", "a password that looks like a number stays text");
}

#[test]
fn a_tier_may_have_a_step_cache_threshold_of_its_own() {
    let threshold =
        |variables: &[(&str, &str)]| load(variables).unwrap().planner().profiles.standard.step_cache_threshold;
    assert_eq!(threshold(&[]), None, "the model's");
    assert_eq!(threshold(&[("FLEET__TIERS__STANDARD__STEP_CACHE_THRESHOLD", "0.04")]), Some(0.04));
    for wrong in ["1.5", "-0.1", "nan"] {
        let error = load(&[("FLEET__TIERS__STANDARD__STEP_CACHE_THRESHOLD", wrong)]).unwrap_err().to_string();
        assert!(error.contains("tiers.standard.step_cache_threshold"), "{error}");
    }
}

#[test]
fn an_operator_may_override_the_steps_of_a_tier() {
    let steps = |variables: &[(&str, &str)]| load(variables).unwrap().planner().profiles.preview.steps;
    assert_eq!(steps(&[]), StepsOverride::default());
    let twelve = StepsOverride { max: Some(12), ..StepsOverride::default() };
    assert_eq!(steps(&[("FLEET__TIERS__PREVIEW__STEPS_MAX", "12")]), twelve);
    let auto = load(&[("FLEET__TIERS__AUTO__STEPS_MIN", "20")]).unwrap().planner().profiles.auto.steps;
    assert_eq!(auto, StepsOverride { min: Some(20), ..StepsOverride::default() });
    let crossed = [("FLEET__TIERS__AUTO__STEPS_MIN", "20"), ("FLEET__TIERS__AUTO__STEPS_MAX", "19")];
    let error = load(&crossed).unwrap_err().to_string();
    assert!(error.contains("tiers.auto.steps_min (20) must not exceed steps_max (19)"), "{error}");
}

#[test]
fn a_renamed_or_removed_key_is_refused_with_what_to_use_instead() {
    let error = load(&[("FLEET__TIERS__PREVIEW__CHANGE_MAX", "0.1")]).unwrap_err().to_string();
    assert!(error.contains("use 'FLEET__TIERS__PREVIEW__ERROR_MAX'"), "{error}");
    let folder = base_folder();
    fs::write(folder.path().join("dev.toml"), "[optimization]\nlearning = false\n").unwrap();
    let error = Settings::load_from(&source(folder.path(), &[("FLEET_ENV", "dev")])).unwrap_err().to_string();
    assert!(error.contains("use 'optimization.learned_steps'") && error.contains("dev.toml"), "{error}");
    let error = load(&[("FLEET__COST__BASELINE_STEPS", "0")]).unwrap_err().to_string();
    assert!(error.contains("cost_prior.baseline_steps in the model's fleet.toml"), "{error}");
}

#[test]
fn an_unknown_key_is_refused_with_a_suggestion() {
    let folder = base_folder();
    fs::write(folder.path().join("dev.toml"), "[server]\nprot = 1\n").unwrap();
    let error = Settings::load_from(&source(folder.path(), &[("FLEET_ENV", "dev")])).unwrap_err().to_string();
    assert!(error.contains("server.prot") && error.contains("dev.toml"), "{error}");
    assert!(error.contains("did you mean 'server.port'?"), "{error}");

    let error = load(&[("FLEET__CACHE__TTL", "1")]).unwrap_err().to_string();
    assert!(error.contains("did you mean 'FLEET__CACHE__TTL_S'?"), "{error}");
}

#[test]
fn a_value_of_the_wrong_kind_is_refused_without_being_shown() {
    let error = load(&[("REDIS_PORT", "s3cret")]).unwrap_err().to_string();
    assert!(error.contains("REDIS_PORT") && error.contains("whole number") && !error.contains("s3cret"), "{error}");
    let error = load(&[("REDIS_PORT", "tcp://10.0.0.7:6379")]).unwrap_err().to_string();
    assert!(error.contains("enableServiceLinks"), "{error}");
    assert!(load(&[("ENABLE_CACHE", "maybe")]).is_err());
    assert!(load(&[("FLEET__SERVER__PORT", "70000")]).is_err());
}

#[test]
fn a_broken_file_is_reported_by_line_and_never_quoted() {
    let folder = base_folder();
    fs::write(folder.path().join("dev.toml"), "[redis]\npassword = hunter2\n").unwrap();
    let error = Settings::load_from(&source(folder.path(), &[("FLEET_ENV", "dev")])).unwrap_err().to_string();
    assert!(error.contains("line 2") && !error.contains("hunter2"), "{error}");
    let error = Settings::load_from(&source(folder.path(), &[("FLEET_ENV", "absent")])).unwrap_err();
    assert!(matches!(error, SettingsError::Read { .. }), "{error}");
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let error = load(&[("FLEET__SERVER__BIND", "0.0.0.0"), ("FLEET__SERVER__KEYS", "off")]).unwrap_err().to_string();
    assert!(error.contains("open_to_all"), "{error}");
    let open =
        [("FLEET__SERVER__BIND", "0.0.0.0"), ("FLEET__SERVER__OPEN_TO_ALL", "true"), ("FLEET__SERVER__KEYS", "off")];
    assert!(!load(&open).unwrap().server.keys_required());
    let error =
        load(&[("FLEET__WORKER__HEARTBEAT_S", "20"), ("FLEET__LIMITS__BATCH_MAX", "0")]).unwrap_err().to_string();
    assert!(error.contains("heartbeat_s") && error.contains("limits.batch_max"), "both are reported: {error}");
}

#[test]
fn no_secret_is_ever_printed() {
    let variables = [
        ("FLEET__DATABASE__URL", "postgres://fleet:hunter2@db/fleet"),
        ("FLEET__BROKER__URL", "amqp://fleet:hunter2@mq"),
        ("FLEET__REDIS__PASSWORD", "hunter2"),
        ("FLEET__ARTIFACTS__S3_SECRET_ACCESS_KEY", "hunter2"),
    ];
    let loaded = load(&variables).unwrap();
    assert!(!format!("{loaded:?} {loaded:#?}").contains("hunter2"));
    assert_eq!(loaded.server.keys, KeysMode::Auto);
}

/// A URL as a host name would be looked up, and its password logged.
#[test]
fn a_url_as_the_host_of_redis_is_refused_without_being_shown() {
    for host in ["rediss://user:hunter2@cache", "user:hunter2@cache", "cache/0"] {
        let error = load(&[("REDIS_HOST", host)]).unwrap_err().to_string();
        assert!(error.contains("REDIS_HOST") && error.contains("redis.password"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    assert!(load(&[("REDIS_HOST", "::1")]).is_ok());
}

/// The endpoint is logged.
#[test]
fn a_collector_is_a_url_without_a_password() {
    let endpoint = |value: &str| load(&[("FLEET__TELEMETRY__OTLP_ENDPOINT", value)]);
    for right in ["", "http://127.0.0.1:4318", "https://collector.example.com/otlp/"] {
        assert!(endpoint(right).is_ok(), "{right}");
    }
    for wrong in ["127.0.0.1:4318", "grpc://collector", "http://", "http://user:hunter2@collector"] {
        let error = endpoint(wrong).unwrap_err().to_string();
        assert!(error.contains("telemetry.otlp_endpoint") && !error.contains("hunter2"), "{error}");
    }
    assert!(load(&[("FLEET__TELEMETRY__SAMPLING_RATIO", "1.5")]).is_err());
}

#[test]
fn the_limit_of_a_run_is_off_or_at_least_its_estimate() {
    let factor = |value: &str| load(&[("FLEET__WORKER__RUN_LIMIT_FACTOR", value)]);
    assert!(factor("0").is_ok() && factor("1").is_ok() && factor("2.5").is_ok());
    for wrong in ["0.5", "-1", "inf"] {
        assert!(factor(wrong).unwrap_err().to_string().contains("worker.run_limit_factor"), "{wrong}");
    }
}

#[test]
fn trusted_proxies_are_addresses_or_ranges() {
    let loaded = load(&[("FLEET__SERVER__TRUSTED_PROXIES", "10.0.0.7, 172.16.0.0/12")]).unwrap();
    assert_eq!(loaded.server.trusted_proxies.len(), 2);
    let error = load(&[("FLEET__SERVER__TRUSTED_PROXIES", "nginx")]).unwrap_err().to_string();
    assert!(error.contains("10.0.0.0/8"), "{error}");
}
