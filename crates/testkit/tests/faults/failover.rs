//! A replica of Postgres that is promoted under load, while the former primary lives on without accepting writes.

use std::sync::Arc;

use reqwest::StatusCode;
use sqlx::{Connection, PgConnection};
use testkit::{Accounting, Fleet, FleetOptions, PrivateStack, Protocol, Proxy, Way, eventually_seen};
use tokio::task::JoinSet;

use crate::lost_replies::DATABASE;
use crate::support::{PATIENCE, Recovery, request, tell, until_completed, with_long_leases};

/// Sessions of the fleet's processes.
const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name IN ('api', 'scheduler', 'worker')";

/// The same in a transaction that writes.
const WRITING: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name IN ('api', 'scheduler', 'worker') AND backend_xid IS NOT NULL";

async fn count(url: &str, query: &'static str) -> i64 {
    let mut server = PgConnection::connect(url).await.expect("the server answers");
    sqlx::query_scalar(query).fetch_one(&mut server).await.expect("a count")
}

/// The server refuses writes in every later transaction, also those of open sessions.
async fn demote(url: &str) {
    let mut server = PgConnection::connect(url).await.expect("the server answers");
    for statement in ["ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"] {
        sqlx::raw_sql(statement).execute(&mut server).await.expect(statement);
    }
    eventually_seen("no transaction writes any more", || async {
        let writing = count(url, WRITING).await;
        if writing == 0 { Ok(()) } else { Err(format!("{writing} write")) }
    })
    .await;
}

async fn health(fleet: &Fleet) -> StatusCode {
    let url = format!("{}/api/health", fleet.api_url);
    fleet.client.get(url).send().await.expect("an answer").status()
}

async fn until_health(fleet: &Fleet, wanted: StatusCode) {
    eventually_seen(&format!("health is {wanted}"), || async {
        let found = health(fleet).await;
        if found == wanted { Ok(()) } else { Err(found.to_string()) }
    })
    .await;
}

/// Four clients that submit ten jobs each.
fn submit_all(fleet: &Fleet, book: &Arc<Accounting>) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for one in 0..4_i64 {
        let (client, urls, book) = (fleet.client.clone(), [fleet.api_url.clone()], Arc::clone(book));
        clients.spawn(async move {
            let way = Way { client: &client, urls: &urls, token: None, patience: PATIENCE };
            for seed in (100 * one)..(100 * one + 10) {
                book.submit(&way, &format!("client-{one}-{seed}"), &request(seed)).await;
            }
        });
    }
    clients
}

/// Goal: the fleet follows the address of the primary. While that leads to a server without writes, health says so; afterwards no
/// connection to the former primary is left, every accepted job is there and completed once, and a running one kept its lease.
#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_replica_takes_over_with_every_accepted_job() {
    let mut stack = PrivateStack::only(&["postgres"]);
    let options = FleetOptions { services: Some(stack.services.clone()), ..with_long_leases() };
    let fleet = Fleet::prepare(options).await;
    let former = fleet.variable(DATABASE).to_owned();
    let promoted = testkit::postgres::same_database(&former, &stack.replicate());
    let address = Proxy::start(Protocol::Bytes, &former);
    let url = address.through(&former);
    let through = [(DATABASE, url.as_str())];
    let (_api, _scheduler) = (fleet.api_with(&through), fleet.scheduler_with("scheduler", &through));
    fleet.until_api_ready().await;
    let book = Arc::new(Accounting::default());
    let way =
        Way { client: &fleet.client, urls: std::slice::from_ref(&fleet.api_url), token: None, patience: PATIENCE };
    let gates = fleet.gates("long");
    gates.hold("step-4");
    let _long = fleet.gated_worker("long", &gates, &through);
    let running = book.submit(&way, "running", &request(1)).await;
    gates.until_reached("step-4").await;
    let _worker = fleet.quick_worker("worker", &through);
    let clients = submit_all(&fleet, &book);
    eventually_seen("clients are in the middle of it", || async {
        let accepted = book.accepted().len();
        if accepted >= 10 { Ok(()) } else { Err(format!("{accepted} accepted")) }
    })
    .await;
    assert!(count(&former, SESSIONS).await > 0);

    // First nothing accepts writes: open sessions lead to the former primary, new ones to a standby.
    let recovery = Recovery::begins();
    demote(&former).await;
    address.lead_to(&promoted);
    until_health(&fleet, StatusCode::SERVICE_UNAVAILABLE).await;
    let before = book.accepted().len();
    for _ in 0..10 {
        assert_eq!(health(&fleet).await, StatusCode::SERVICE_UNAVAILABLE, "a standby accepts no writes");
    }
    assert_eq!(book.accepted().len(), before, "accepted without a primary");
    stack.promote();
    until_health(&fleet, StatusCode::OK).await;
    eventually_seen("submissions are accepted again", || async {
        if book.accepted().len() > before { Ok(()) } else { Err("none yet".to_owned()) }
    })
    .await;
    recovery.over("Postgres' primary demoted and its replica promoted; the next submission is accepted");
    eventually_seen("no process is connected to the former primary", || async {
        let left = count(&former, SESSIONS).await;
        if left == 0 { Ok(()) } else { Err(format!("{left} sessions")) }
    })
    .await;
    stack.kill("postgres");

    gates.open("step-4");
    clients.join_all().await;
    until_completed(&fleet, &book.accepted()).await;
    let job = fleet.job(&running).await.expect("the job");
    assert_eq!(job["attempts"], 1, "the lease did not survive the change: {job}");
    let report = book.report(&promoted, &fleet.objects()).await;
    tell(&report.to_string());
    report.assert_all_completed_once();
    assert_eq!(report.accepted, 41);
}
