//! Events -> lines: message, fields of the spans from the outside in, fields of the event.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Bytes of one line, and of the fields of one span: the rest is cut.
pub(super) const BYTES_MAX: usize = 2048;

/// One event, ready to be written.
pub(super) struct Line {
    pub level: Level,
    /// Module path.
    pub target: String,
    /// Message and fields, printable, without a line end.
    pub text: String,
    /// The fields alone, with their names.
    pub fields: Vec<(&'static str, String)>,
}

/// Where lines go. Errors are the sink's: there is nobody left to tell.
pub(super) trait Sink: Send + Sync + 'static {
    fn write(&self, line: &Line);
}

/// The layer that makes lines.
pub(super) struct Lines<S>(pub S);

impl<S, Sub> Layer<Sub> for Lines<S>
where
    S: Sink,
    Sub: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, Sub>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, Sub>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, Sub>) {
        let mut own = Fields::default();
        event.record(&mut own);
        let metadata = event.metadata();
        let mut line = Line {
            level: *metadata.level(),
            target: own
                .log_target
                .unwrap_or_else(|| metadata.target().to_owned()),
            text: own.message,
            fields: Vec::new(),
        };
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            if let Some(fields) = span.extensions().get::<Fields>() {
                line.fields.extend(fields.list.iter().cloned());
            }
        }
        line.fields.extend(own.list);
        for (name, value) in &line.fields {
            append_field(&mut line.text, name, value);
        }
        self.0.write(&line);
    }
}

/// Values with blanks are quoted, so that a line can be taken apart again.
fn append_field(text: &mut String, name: &str, value: &str) {
    let room = BYTES_MAX.saturating_sub(text.len());
    if room < name.len() + value.len() + 4 {
        return;
    }
    let plain = !value.is_empty() && !value.contains([' ', '"', '=']);
    let _ = match plain {
        true => write!(text, " {name}={value}"),
        false => write!(text, " {name}=\"{}\"", value.replace('"', "'")),
    };
}

/// Fields of a span or an event as printable text.
#[derive(Default)]
struct Fields {
    message: String,
    /// Target of a record that came through the `log` crate.
    log_target: Option<String>,
    list: Vec<(&'static str, String)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let mut text = Printable(String::new());
        // The writer never fails; what does not fit is cut.
        let _ = text.write_fmt(value);
        match field.name() {
            "message" => self.message = text.0,
            "log.target" => self.log_target = Some(text.0),
            name if name.starts_with("log.") => {}
            name => match self.list.iter_mut().find(|(known, _)| *known == name) {
                Some((_, old)) => *old = text.0,
                None => self.list.push((name, text.0)),
            },
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format_args!("{value:?}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, format_args!("{value}"));
    }
}

/// Takes text up to a bound; line ends and other control characters become visible.
struct Printable(String);

impl Write for Printable {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.0.len() + 10 > BYTES_MAX {
                break;
            }
            match c {
                c if c.is_control() => self.0.extend(c.escape_default()),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::prelude::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<String>>>);

    impl Sink for Kept {
        fn write(&self, line: &Line) {
            let text = format!("{} {}: {}", line.level, line.target, line.text);
            self.0.lock().unwrap().push(text);
        }
    }

    fn logged(work: impl FnOnce()) -> Vec<String> {
        let kept = Kept::default();
        let subscriber = tracing_subscriber::registry().with(Lines(kept.clone()));
        tracing::subscriber::with_default(subscriber, work);
        kept.0.lock().unwrap().clone()
    }

    #[test]
    fn spans_come_before_the_events_own_fields() {
        let lines = logged(|| {
            let camera = tracing::info_span!("camera", camera = 7, cause = tracing::field::Empty);
            camera.record("cause", "timeout");
            let _inside = camera.enter();
            tracing::info!(target: "t", failures = 2, error = %"no answer", "camera offline");
        });
        assert_eq!(
            lines,
            ["INFO t: camera offline camera=7 cause=timeout failures=2 error=\"no answer\""]
        );
    }

    #[test]
    fn text_from_a_device_stays_in_its_line() {
        let lines = logged(|| {
            let evil = "a\r\nERROR x: y\u{1b}[31m\u{9b}";
            tracing::warn!(target: "t", server = evil, "{evil}");
        });
        let [line] = lines.as_slice() else {
            panic!("{lines:?}")
        };
        assert!(!line.chars().any(char::is_control), "{line}");
        assert!(line.contains("a\\r\\nERROR"), "{line}");
    }

    #[test]
    fn long_values_are_cut() {
        let lines = logged(|| {
            let long = "é".repeat(10_000);
            tracing::info!(target: "t", value = %long, "{long}");
        });
        assert!(lines.iter().all(|line| line.len() < BYTES_MAX + 16));
    }
}
