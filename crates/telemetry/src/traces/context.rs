//! A position in a trace as the header `traceparent` writes it (W3C Trace Context, level 1).

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// Reads a header's value. `None` if it is not valid.
pub(super) fn read(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    // Later versions may append parts; version 0 has four.
    if version == "ff" || version == "00" && parts.next().is_some() {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let context = SpanContext::new(trace, span, flags, true, TraceState::default());
    context.is_valid().then_some(context)
}

/// The header's value.
pub(super) fn write(context: &SpanContext) -> String {
    format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags() & TraceFlags::SAMPLED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_and_written() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context = read(text).expect("a valid header");
        assert!(context.is_sampled() && context.is_remote());
        assert_eq!(write(&context), text);
        assert!(!read(&text.replace("-01", "-00")).expect("a valid header").is_sampled());
        let later = read(&format!("{}-more", text.replacen("00", "01", 1))).expect("a later version");
        assert_eq!(write(&later), text);
    }

    #[test]
    fn what_is_not_valid_is_no_context() {
        let zero = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        let long = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        for text in ["", "00-1-2", zero, long, "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"] {
            assert!(read(text).is_none(), "{text}");
        }
    }
}
