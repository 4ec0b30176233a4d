//! A separate database for a test, with all migrations, cloned from a template that is migrated once.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

use crate::addresses::{Services, checkout};
use crate::services::services;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Advisory lock under which the template is made.
const TEMPLATE_LOCK: i64 = 0x7465_7374;

/// URL of a fresh, migrated database on the shared Postgres; databases of processes that have ended are removed.
///
/// # Panics
/// When Postgres refuses or a migration fails.
pub async fn database() -> String {
    database_on(services()).await
}

/// URL of a fresh, migrated database on the Postgres of a stack.
///
/// # Panics
/// When Postgres refuses or a migration fails.
pub async fn database_on(services: &Services) -> String {
    let mut server = PgConnection::connect(&services.database_url).await.expect("Postgres answers");
    let template = template(&mut server, services).await;
    remove_stale(&mut server).await;
    let name = fresh_name();
    execute(&mut server, format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
    url_of(services, &name)
}

/// URL of a fresh database without any table, for tests of the migrations themselves.
///
/// # Panics
/// When Postgres refuses.
pub async fn empty_database(services: &Services) -> String {
    let mut server = PgConnection::connect(&services.database_url).await.expect("Postgres answers");
    let name = fresh_name();
    execute(&mut server, format!("CREATE DATABASE {name}")).await;
    url_of(services, &name)
}

/// URL of the database that a pool is connected to.
///
/// # Panics
/// When the pool's options name no database.
#[must_use]
pub fn url_like(pool: &PgPool) -> String {
    let options = pool.connect_options();
    let database = options.get_database().expect("a database");
    let services = services();
    let (base, _) = services.database_url.rsplit_once('/').expect("a URL with a database");
    format!("{base}/{database}")
}

/// URL of the database that `url` names, on the server of another URL.
///
/// # Panics
/// When one of them names no database.
#[must_use]
pub fn same_database(url: &str, server: &str) -> String {
    let (_, database) = url.rsplit_once('/').expect("a URL with a database");
    let (base, _) = server.rsplit_once('/').expect("a URL with a database");
    format!("{base}/{database}")
}

/// Copies a database into an empty one, which may be in another cluster: what `pg_dump` writes, read by `psql`.
///
/// # Panics
/// When one of the programs fails.
pub async fn copy(from: &str, to: &str) {
    let mut server = PgConnection::connect(from).await.expect("Postgres answers");
    let folder: String = sqlx::query_scalar("SELECT setting FROM pg_config WHERE name = 'BINDIR'")
        .fetch_one(&mut server)
        .await
        .expect("Postgres knows where its programs are");
    let program = |name: &str| {
        let mut command = Command::new(Path::new(&folder).join(name));
        // Where the packages were unpacked for this checkout, their libraries lie beside them.
        if let Some((root, _)) = folder.split_once("/lib/postgresql/") {
            let machine = format!("{root}/lib/{}-linux-gnu", std::env::consts::ARCH);
            command.env("LD_LIBRARY_PATH", machine);
        }
        command
    };
    let dump = program("pg_dump").args(["--no-owner", from]).output().expect("pg_dump can be run");
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let mut restore = program("psql")
        .args(["-Xq", "-v", "ON_ERROR_STOP=1", to])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("psql can be run");
    restore.stdin.take().expect("it is piped").write_all(&dump.stdout).expect("psql reads the dump");
    assert!(restore.wait().expect("psql ends").success(), "the dump cannot be restored");
}

fn fresh_name() -> String {
    format!("t_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn url_of(services: &Services, database: &str) -> String {
    let (address, query) = services.database_url.split_once('?').unwrap_or((&services.database_url, ""));
    let base = address.rsplit_once('/').map_or(address, |(base, _)| base);
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    format!("{base}/{database}{query}")
}

/// Named after the migrations' contents, so that a changed migration makes a new one.
async fn template(server: &mut PgConnection, services: &Services) -> String {
    let folder: &Path = &checkout().join("migrations");
    let migrator = Migrator::new(folder).await.expect("the migrations can be read");
    let checksums = migrator.iter().flat_map(|migration| migration.checksum.iter());
    // FNV-1a: stable between runs, which is all that is needed here.
    let hash = checksums
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let name = format!("template_{hash:016x}");
    execute(server, format!("SELECT pg_advisory_lock({TEMPLATE_LOCK})")).await;
    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
        .bind(&name)
        .fetch_one(&mut *server)
        .await
        .expect("Postgres answers");
    if !exists {
        // Under another name until it is complete.
        let draft = format!("{name}_draft");
        execute(server, format!("DROP DATABASE IF EXISTS {draft} WITH (FORCE)")).await;
        execute(server, format!("CREATE DATABASE {draft}")).await;
        let mut database = PgConnection::connect(&url_of(services, &draft)).await.expect("the database answers");
        migrator.run(&mut database).await.expect("the migrations apply");
        database.close().await.expect("the connection closes");
        execute(server, format!("ALTER DATABASE {draft} RENAME TO {name}")).await;
    }
    execute(server, format!("SELECT pg_advisory_unlock({TEMPLATE_LOCK})")).await;
    name
}

async fn remove_stale(server: &mut PgConnection) {
    let names: Vec<String> =
        sqlx::query_scalar("SELECT datname::text FROM pg_database WHERE datname ~ '^t_[0-9]+_[0-9]+$'")
            .fetch_all(&mut *server)
            .await
            .expect("Postgres answers");
    let gone =
        |name: &&String| name.split('_').nth(1).is_some_and(|process| !Path::new("/proc").join(process).exists());
    for name in names.iter().filter(gone) {
        // Another test may remove it at the same moment.
        let drop_it = AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        drop(sqlx::raw_sql(drop_it).execute(&mut *server).await);
    }
}

/// Names here are made of digits and our own words, so putting them into the text is safe.
async fn execute(server: &mut PgConnection, sql: String) {
    if let Err(error) = sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(server).await {
        panic!("{sql}: {error}");
    }
}
