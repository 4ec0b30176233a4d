//! Forwards the bytes of one connection in both directions, as the proxy is configured.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::traps::{Catch, Protocol, Shared, Sprung};

/// Request codes in a Postgres start-up packet for TLS and GSS encryption; the reply to both is one byte.
const ENCRYPTION_REQUESTS: [u32; 2] = [80_877_103, 80_877_104];
/// A larger start-up packet or message is not Postgres.
const MESSAGE_MAX: usize = 256 << 20;

/// How the server's bytes on one connection are handled.
#[derive(Debug, Clone, Copy)]
enum Answers {
    Pass,
    Lost,
    /// Until a release beyond these many.
    Held(u64),
}

/// Shared by the two directions of a connection.
struct Fate(Mutex<Answers>);

impl Fate {
    fn get(&self) -> Answers {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, answers: Answers) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = answers;
    }

    /// Waits while replies are held; `false` if they are lost.
    async fn passes(&self, shared: &Shared) -> bool {
        if let Answers::Held(released) = self.get() {
            shared.until_released(released).await;
            self.set(Answers::Pass);
        }
        !matches!(self.get(), Answers::Lost)
    }
}

/// Forwards a connection until it closes.
pub(crate) async fn carry(client: TcpStream, server: TcpStream, shared: &Shared) -> io::Result<()> {
    // Our pieces are small and wait for each other.
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut client_in, mut client_out) = client.into_split();
    let (mut server_in, mut server_out) = server.into_split();
    let fate = Fate(Mutex::new(Answers::Pass));
    match shared.protocol {
        Protocol::Postgres => {
            start_up(&mut client_in, &mut client_out, &mut server_in, &mut server_out, shared).await?;
            tokio::select! {
                ended = statements(&mut client_in, &mut server_out, shared, &fate) => ended,
                ended = answers(&mut server_in, &mut client_out, shared, &fate) => ended,
            }
        }
        Protocol::Bytes => {
            tokio::select! {
                ended = requests(&mut client_in, &mut server_out, shared, &fate) => ended,
                ended = replies(&mut server_in, &mut client_out, shared, &fate) => ended,
            }
        }
    }
}

/// Packets without a type, until the one that names the database.
async fn start_up(
    client_in: &mut OwnedReadHalf,
    client_out: &mut OwnedWriteHalf,
    server_in: &mut OwnedReadHalf,
    server_out: &mut OwnedWriteHalf,
    shared: &Shared,
) -> io::Result<()> {
    loop {
        let length = client_in.read_u32().await?;
        let mut packet = length.to_be_bytes().to_vec();
        packet.resize(checked(length)?, 0);
        client_in.read_exact(&mut packet[4..]).await?;
        let code = packet.get(4..8).and_then(|code| code.try_into().ok()).map_or(0, u32::from_be_bytes);
        shared.pass().await;
        server_out.write_all(&packet).await?;
        if !ENCRYPTION_REQUESTS.contains(&code) {
            return Ok(());
        }
        let answer = server_in.read_u8().await?;
        client_out.write_u8(answer).await?;
    }
}

fn checked(length: u32) -> io::Result<usize> {
    usize::try_from(length)
        .ok()
        .filter(|length| (4..MESSAGE_MAX).contains(length))
        .ok_or(io::ErrorKind::InvalidData.into())
}

/// One message: a type, a length that counts itself, and the rest.
async fn message(from: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let kind = from.read_u8().await?;
    let length = from.read_u32().await?;
    let mut message = vec![kind];
    message.extend(length.to_be_bytes());
    message.resize(checked(length)? + 1, 0);
    from.read_exact(&mut message[5..]).await?;
    Ok(message)
}

/// From the client: triggers traps at the execution of statements.
async fn statements(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, shared: &Shared, fate: &Fate) -> io::Result<()> {
    let mut prepared: HashMap<String, String> = HashMap::new();
    loop {
        let message = message(from).await?;
        let mut words = message[5..].split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let executed = match message[0] {
            // Parse: a name and a text.
            b'P' => {
                prepared.insert(first, second);
                None
            }
            // Bind: a portal and the name of a statement.
            b'B' => prepared.get(&second).cloned(),
            // Query: a text.
            b'Q' => Some(first),
            _ => None,
        };
        if let Some(text) = executed {
            caught(shared.spring(|needle| text.contains(needle)), shared, fate).await?;
        }
        shared.pass().await;
        to.write_all(&message).await?;
    }
}

/// From the server: a reply is over when it is ready for the next query.
async fn answers(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, shared: &Shared, fate: &Fate) -> io::Result<()> {
    loop {
        let message = message(from).await?;
        if !fate.passes(shared).await {
            if message[0] == b'Z' {
                return Ok(());
            }
            continue;
        }
        shared.pass().await;
        to.write_all(&message).await?;
    }
}

async fn requests(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, shared: &Shared, fate: &Fate) -> io::Result<()> {
    let mut piece = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut piece).await?;
        if read == 0 {
            return Ok(());
        }
        let bytes = &piece[..read];
        let contains = |needle: &str| bytes.windows(needle.len().max(1)).any(|window| window == needle.as_bytes());
        caught(shared.spring(contains), shared, fate).await?;
        shared.pass().await;
        to.write_all(bytes).await?;
    }
}

async fn replies(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, shared: &Shared, fate: &Fate) -> io::Result<()> {
    let mut piece = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut piece).await?;
        if read == 0 || !fate.passes(shared).await {
            return Ok(());
        }
        shared.pass().await;
        to.write_all(&piece[..read]).await?;
    }
}

/// Applies a trap to the message that it caught; an error cuts the connection before the message is forwarded.
async fn caught(sprung: Option<Sprung>, shared: &Shared, fate: &Fate) -> io::Result<()> {
    let Some(Sprung { catch, released }) = sprung else { return Ok(()) };
    match catch {
        Catch::LoseReply => fate.set(Answers::Lost),
        Catch::LoseRequest => return Err(io::ErrorKind::ConnectionAborted.into()),
        Catch::Hold => shared.until_released(released).await,
        Catch::HoldReply => fate.set(Answers::Held(released)),
    }
    Ok(())
}
