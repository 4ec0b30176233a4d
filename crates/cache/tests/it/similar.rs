//! Embeddings of a similar prompt: only where allowed, only within a tenant, and always reported.

use cache::{Similar, Source};
use settings::CacheSettings;

use crate::support::{Encoder, ask, key, made_of, number, open, settings, shared_only};

const TEXT: &str = "a red ball rolls down a hill";
const LIKE_IT: &str = "A lovely red ball is rolling down a hill!";

fn allowed(tenant: &str) -> Option<Similar<'_>> {
    Some(Similar { tenant, allowed: true })
}

fn forbidden(tenant: &str) -> Option<Similar<'_>> {
    Some(Similar { tenant, allowed: false })
}

#[tokio::test]
async fn it_is_found_where_allowed_and_reported_with_its_score() {
    let redis = testkit::redis::database();
    let encoder = Encoder::default();
    for layer in [settings(), shared_only()] {
        ask(&redis, &["FLUSHDB"]);
        let cache = open(&redis, &layer);
        // The request that encodes it need not allow similar prompts itself.
        encoder.get_with(&cache, TEXT, forbidden("one")).await;
        let found = encoder.get_with(&cache, LIKE_IT, allowed("one")).await;
        assert_eq!((found.source, *found.embeddings == made_of(TEXT)), (Source::Similar, true));
        assert!(found.score.is_some_and(|score| (0.6..1.0).contains(&score)), "{:?}", found.score);
        let stats = cache.stats().await.expect("Redis is available");
        assert_eq!((stats.keys, stats.hits, stats.misses), (1, 1, 1), "notes are not counted as embeddings");
    }
}

#[tokio::test]
async fn it_is_not_used_where_forbidden_or_from_another_tenant() {
    let redis = testkit::redis::database();
    let encoder = Encoder::default();
    let cache = open(&redis, &shared_only());
    encoder.get_with(&cache, TEXT, allowed("one")).await;
    assert_eq!(encoder.get_with(&cache, LIKE_IT, allowed("two")).await.source, Source::Encoded);
    ask(&redis, &["DEL", &key(LIKE_IT)]);
    assert_eq!(encoder.get_with(&cache, LIKE_IT, forbidden("one")).await.source, Source::Encoded);
    ask(&redis, &["DEL", &key(LIKE_IT)]);
    assert_eq!(encoder.get(&cache, LIKE_IT).await.source, Source::Encoded);
    let other = "a blue ball rolls down a hill";
    assert_eq!(encoder.get_with(&cache, other, allowed("one")).await.source, Source::Encoded);

    // Not even for the same text: the hit would tell that another tenant has sent it.
    assert_eq!(encoder.get_with(&cache, TEXT, forbidden("two")).await.source, Source::Encoded);
    assert_eq!(encoder.get_with(&cache, TEXT, forbidden("two")).await.source, Source::Redis);
}

#[tokio::test]
async fn tenants_share_embeddings_of_the_same_text_where_the_settings_say_so() {
    let redis = testkit::redis::database();
    let encoder = Encoder::default();
    let cache = open(&redis, &CacheSettings { shared_between_tenants: true, ..shared_only() });
    encoder.get_with(&cache, TEXT, allowed("one")).await;
    assert_eq!(encoder.get_with(&cache, TEXT, forbidden("two")).await.source, Source::Redis);
    assert!(cache.exists("encoders", "three", TEXT).await);
    // A tenant that used another tenant's embedding of the same text has it in its own list from then on.
    assert_eq!(encoder.get_with(&cache, LIKE_IT, allowed("two")).await.source, Source::Similar);
}

#[tokio::test]
async fn the_same_text_is_preferred_to_a_similar_one_and_expired_ones_are_skipped() {
    let redis = testkit::redis::database();
    let encoder = Encoder::default();
    let cache = open(&redis, &shared_only());
    encoder.get_with(&cache, TEXT, allowed("one")).await;
    encoder.get_with(&cache, LIKE_IT, forbidden("one")).await;
    assert_eq!(encoder.get_with(&cache, LIKE_IT, allowed("one")).await.source, Source::Redis);
    ask(&redis, &["DEL", &key(LIKE_IT)]);
    let found = encoder.get_with(&cache, "Red ball rolling down a hill", allowed("one")).await;
    assert_eq!((found.source, *found.embeddings == made_of(TEXT)), (Source::Similar, true));
    ask(&redis, &["DEL", &key(TEXT)]);
    assert_eq!(encoder.get_with(&cache, LIKE_IT, allowed("one")).await.source, Source::Encoded);
}

#[tokio::test]
async fn notes_are_bounded_and_expire_with_the_embeddings() {
    let redis = testkit::redis::database();
    let encoder = Encoder::default();
    let cache = open(&redis, &CacheSettings { similar_candidates_max: 3, ..shared_only() });
    for praise in ["", "lovely ", "stunning ", "very ", "really "] {
        encoder.get_with(&cache, &format!("a {praise}red ball rolls down a hill"), forbidden("one")).await;
    }
    let lists = ask(&redis, &["KEYS", "fleet:similar:*"]);
    let list = lists.lines().find(|line| line.starts_with("fleet:similar:one:")).expect("there is one list");
    assert_eq!(number(&redis, &["ZCARD", list]), 3);
    assert!((1..=3_600).contains(&number(&redis, &["TTL", list])));
    let cache = open(&redis, &CacheSettings { similar_candidates_max: 0, ..shared_only() });
    assert_eq!(encoder.get_with(&cache, LIKE_IT, allowed("one")).await.source, Source::Encoded, "0 keeps none");
}
