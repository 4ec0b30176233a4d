//! `fleet top`: the fleet in a full-screen view.

mod feed;
mod news;
mod screen;
mod view;

use std::io::IsTerminal as _;
use std::time::Duration;

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;

use crate::api::Api;
use crate::failure::Failure;
use crate::out::Out;
use crate::top::feed::Feed;
use crate::top::news::News;
use crate::top::screen::Screen;

/// How often the ages and the time left are drawn again when nothing else happens.
const REDRAW: Duration = Duration::from_secs(1);

/// Shows the view until the user leaves it. With `--json` it prints what it would show, once.
pub(crate) async fn top(api: &Api, out: Out) -> Result<(), Failure> {
    if out.json {
        return out.line(&feed::snapshot(api).await?.document().to_string());
    }
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(
            "`fleet top` needs a terminal; `fleet top --json` prints its content once".to_owned(),
        ));
    }
    // The first read is patient and ends with a clear error if the address or the key is wrong.
    let mut screen = Screen::new(api.server());
    screen.apply(News::Snapshot(Box::new(feed::snapshot(api).await?)));
    let mut terminal =
        ratatui::try_init().map_err(|error| Failure::Local(format!("cannot use the terminal: {error}")))?;
    let outcome = run(api, &mut screen, &mut terminal).await;
    ratatui::restore();
    outcome
}

async fn run(api: &Api, screen: &mut Screen, terminal: &mut ratatui::DefaultTerminal) -> Result<(), Failure> {
    let feed = Feed::start(api);
    let mut news = feed.news;
    let mut input = read_input();
    let mut redraw = tokio::time::interval(REDRAW);
    loop {
        terminal
            .draw(|frame| view::draw(screen, frame))
            .map_err(|error| Failure::Local(format!("cannot draw: {error}")))?;
        tokio::select! {
            event = input.recv() => match event {
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release => match action(screen, key) {
                    Action::None => {}
                    Action::Leave => return Ok(()),
                    Action::Cancel(id) => feed::cancel(api, id, &feed.sender),
                },
                Some(_) => {}
                None => return Err(Failure::Local("the terminal is gone".to_owned())),
            },
            item = news.recv() => match item {
                Some(item) => screen.apply(item),
                None => return Ok(()),
            },
            _ = redraw.tick() => {}
        }
    }
}

enum Action {
    None,
    Leave,
    Cancel(String),
}

fn action(screen: &mut Screen, key: KeyEvent) -> Action {
    if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
        return Action::Leave;
    }
    if let Some(id) = screen.take_question() {
        return if matches!(key.code, KeyCode::Char('y' | 'Y')) { Action::Cancel(id) } else { Action::None };
    }
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => return Action::Leave,
        KeyCode::Down | KeyCode::Char('j') => screen.select(1),
        KeyCode::Up | KeyCode::Char('k') => screen.select(-1),
        KeyCode::PageDown => screen.select(10),
        KeyCode::PageUp => screen.select(-10),
        KeyCode::Char('c') => screen.ask_to_cancel(),
        _ => {}
    }
    Action::None
}

/// Keys and changes of size, from a thread of their own: reading a terminal blocks.
fn read_input() -> mpsc::UnboundedReceiver<Event> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        while let Ok(event) = ratatui::crossterm::event::read() {
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    receiver
}
