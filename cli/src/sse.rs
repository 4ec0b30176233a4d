//! Reads server-sent events out of bytes as they arrive (WHATWG HTML, section 9.2.6).

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Message {
    /// Its type; `message` if the stream names none.
    pub(crate) event: String,
    /// The position to resume from, if this event has one.
    pub(crate) id: Option<String>,
    /// Its data.
    pub(crate) data: String,
}

/// Most bytes of one event; a longer one is not an event of the fleet.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// The state between two chunks.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    /// The last byte ended a line with CR, so that an LF right after it belongs to it.
    after_cr: bool,
    event: String,
    id: Option<String>,
    data: Vec<String>,
    bytes: usize,
}

/// An event exceeds the limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an event has more than {EVENT_BYTES_MAX} bytes")]
pub(crate) struct TooLong;

impl Parser {
    /// The events that this chunk completes.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<Vec<Message>, TooLong> {
        let mut complete = Vec::new();
        for byte in chunk {
            let ends_line = match byte {
                b'\n' if self.after_cr => {
                    self.after_cr = false;
                    continue;
                }
                b'\n' | b'\r' => true,
                _ => false,
            };
            self.after_cr = *byte == b'\r';
            if ends_line {
                complete.extend(self.end_line());
            } else {
                self.line.push(*byte);
                self.bytes += 1;
            }
            if self.bytes > EVENT_BYTES_MAX {
                return Err(TooLong);
            }
        }
        Ok(complete)
    }

    fn end_line(&mut self) -> Option<Message> {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        if line.is_empty() {
            return self.end_event();
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match field {
            "event" => self.event = value,
            "data" => self.data.push(value),
            "id" if !value.contains('\0') => self.id = Some(value),
            // Comments (an empty field name), `retry` and unknown fields have no use here.
            _ => {}
        }
        None
    }

    fn end_event(&mut self) -> Option<Message> {
        self.bytes = 0;
        let event = std::mem::take(&mut self.event);
        let data = std::mem::take(&mut self.data);
        let id = self.id.take();
        if data.is_empty() {
            return None;
        }
        let event = if event.is_empty() { "message".to_owned() } else { event };
        Some(Message { event, id, data: data.join("\n") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": hello\r\n\r\nevent: state\nid: 7-1\ndata: {\"kind\":\"queued\"}\n\nevent: progress\rdata: a\rdata:b\r\r\
                          data\n\nid: 9-9\n\ndata: 猫\n\ndata: unfinished";

    fn expected() -> Vec<Message> {
        let message = |event: &str, id: Option<&str>, data: &str| Message {
            event: event.to_owned(),
            id: id.map(str::to_owned),
            data: data.to_owned(),
        };
        vec![
            message("state", Some("7-1"), "{\"kind\":\"queued\"}"),
            message("progress", None, "a\nb"),
            message("message", None, ""),
            message("message", None, "猫"),
        ]
    }

    #[test]
    fn events_are_the_same_wherever_the_bytes_are_cut() {
        for cut in 0..=STREAM.len() {
            let (head, tail) = STREAM.as_bytes().split_at(cut);
            let mut parser = Parser::default();
            let mut events = parser.push(head).unwrap();
            events.extend(parser.push(tail).unwrap());
            assert_eq!(events, expected(), "cut at {cut}");
        }
    }

    #[test]
    fn an_endless_line_is_refused_instead_of_filling_the_memory() {
        let mut parser = Parser::default();
        let block = vec![b'x'; EVENT_BYTES_MAX / 2];
        assert!(parser.push(&block).is_ok());
        assert!(parser.push(&block).is_ok());
        assert_eq!(parser.push(b"x"), Err(TooLong));
    }
}
