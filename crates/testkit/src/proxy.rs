//! A TCP proxy between our processes and a service, which can drop, delay, stall, or lose exactly one reply.
//!
//! It knows enough of Postgres' protocol to tell which statement passes: prepared statements are named once and executed
//! by their name afterwards. So a test can request "lose the reply of `complete_job`" and hit exactly that moment. For other
//! protocols a message is recognised by bytes in it. It runs on a separate thread, so that a test may block meanwhile.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::traps::{Catch, Passing, Protocol, Shared, Trap, lock};
use crate::wire;

/// A proxy in front of one service. It closes, with all its connections, when dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<watch::Sender<()>>,
}

impl Proxy {
    /// Listens on a free port and forwards everything to the service that `url` names.
    ///
    /// # Panics
    /// If the address is invalid or no port is free.
    #[must_use]
    pub fn start(protocol: Protocol, url: &str) -> Self {
        let shared = Arc::new(Shared {
            target: Mutex::new(address_in(url)),
            protocol,
            passing: watch::Sender::new(Passing::Freely),
            cuts: watch::Sender::new(0),
            releases: watch::Sender::new(0),
            sprung: watch::Sender::new(0),
            delay: Mutex::default(),
            traps: Mutex::default(),
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        listener.set_nonblocking(true).expect("a listener can be non-blocking");
        let (stop, stopped) = watch::channel(());
        let served = Arc::clone(&shared);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(serve(listener, served, stopped));
        });
        Self { address, shared, stop: Some(stop) }
    }

    /// The same address through this proxy.
    #[must_use]
    pub fn through(&self, url: &str) -> String {
        url.replacen(host_and_port(url), &self.address.to_string(), 1)
    }

    /// The proxy's port on the loopback address.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// New connections lead to another service; open ones stay where they are.
    ///
    /// # Panics
    /// If the address is invalid.
    pub fn lead_to(&self, url: &str) {
        *lock(&self.shared.target) = address_in(url);
    }

    /// Bytes stop; connections stay open and no data arrives.
    pub fn stall(&self) {
        self.shared.passing.send_replace(Passing::Not);
    }

    /// Every connection is cut and new ones are closed at once.
    pub fn refuse(&self) {
        self.shared.passing.send_replace(Passing::Refused);
        self.cut();
    }

    /// Every piece of data takes this much longer.
    pub fn delay(&self, by: Duration) {
        *lock(&self.shared.delay) = by;
    }

    /// Every open connection is cut; new ones work.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|count| *count += 1);
    }

    /// Everything passes again.
    pub fn heal(&self) {
        self.delay(Duration::ZERO);
        self.shared.passing.send_replace(Passing::Freely);
    }

    /// Catches the next message that contains `needle`, once.
    pub fn arm(&self, needle: &str, catch: Catch) {
        lock(&self.shared.traps).push(Trap { needle: needle.to_owned(), catch });
    }

    /// Releases held messages.
    pub fn release(&self) {
        self.shared.releases.send_modify(|count| *count += 1);
    }

    /// How many traps have caught something.
    #[must_use]
    pub fn sprung(&self) -> u64 {
        *self.shared.sprung.borrow()
    }

    /// Resolves when all armed traps have caught something.
    ///
    /// # Panics
    /// If that takes too long.
    pub async fn until_sprung(&self) {
        crate::eventually_seen("the proxy's traps catch something", || async {
            let waiting: Vec<_> = lock(&self.shared.traps).iter().map(|trap| trap.needle.clone()).collect();
            if waiting.is_empty() { Ok(()) } else { Err(format!("still armed: {}", waiting.join(", "))) }
        })
        .await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.take();
    }
}

/// `host:port` of `scheme://user:password@host:port/path`, or of `host:port` itself.
fn host_and_port(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    authority.rsplit_once('@').map_or(authority, |(_, address)| address)
}

fn address_in(url: &str) -> SocketAddr {
    let mut found = host_and_port(url).to_socket_addrs().expect("the address is valid");
    found.next().expect("the address resolves")
}

async fn serve(listener: std::net::TcpListener, shared: Arc<Shared>, mut stopped: watch::Receiver<()>) {
    let listener = TcpListener::from_std(listener).expect("a listener for this runtime");
    loop {
        let client = tokio::select! {
            _ = stopped.changed() => return,
            accepted = listener.accept() => accepted,
        };
        if *shared.passing.borrow() == Passing::Refused {
            continue;
        }
        // A client that has already disconnected does not stop the proxy.
        if let Ok((client, _)) = client {
            tokio::spawn(connect(client, Arc::clone(&shared)));
        }
    }
}

async fn connect(client: TcpStream, shared: Arc<Shared>) {
    let mut cuts = shared.cuts.subscribe();
    cuts.mark_unchanged();
    let target = *lock(&shared.target);
    let Ok(server) = TcpStream::connect(target).await else { return };
    // Dropping both ends is the cut.
    tokio::select! {
        _ = wire::carry(client, server, &shared) => {}
        _ = cuts.changed() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_in_any_url() {
        for url in ["postgres://a:b@127.0.0.1:5/x?y=1", "amqp://a:b@127.0.0.1:5", "127.0.0.1:5", "http://127.0.0.1:5/z"]
        {
            assert_eq!(host_and_port(url), "127.0.0.1:5", "{url}");
        }
    }
}
