//! JUnit XML, as CI systems read it: a suite a scenario, a case an operation, so that the failure names it.

use std::fmt::Write as _;

use crate::scenario::{Run, Verdict};

/// The runs as one document.
pub fn junit(runs: &[Run]) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for run in runs {
        suite(run, &mut xml);
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn suite(run: &Run, xml: &mut String) {
    let operations = || run.steps.iter().flat_map(|step| &step.operations);
    let failures = operations().filter(|o| o.failure.is_some()).count();
    // A failure outside of any operation, such as a cluster that did not start, is a case of its own.
    let outside = matches!(run.verdict, Verdict::Failed(_)) && failures == 0;
    let unfinished = matches!(run.verdict, Verdict::Skipped(_) | Verdict::Interrupted);
    let skipped = usize::from(unfinished);
    let cases = operations().count() + usize::from(outside) + skipped;
    let name = escape(&format!("{} on {}", run.name, run.cluster));
    let _ = writeln!(
        xml,
        "  <testsuite name=\"{name}\" tests=\"{cases}\" failures=\"{}\" skipped=\"{skipped}\" \
         time=\"{:.3}\" timestamp=\"{}\">",
        failures + usize::from(outside),
        run.took.as_secs_f64(),
        run.started
    );
    for step in &run.steps {
        for operation in &step.operations {
            let case = format!("{} {}", operation.action, operation.subject);
            let _ = write!(
                xml,
                "    <testcase classname=\"{}.{}\" name=\"{}\" time=\"{:.3}\"",
                escape(&run.name),
                escape(&step.name),
                escape(case.trim()),
                operation.took.as_secs_f64()
            );
            match &operation.failure {
                None => xml.push_str("/>\n"),
                Some(failure) => failed(failure, xml),
            }
        }
    }
    let whole = format!(
        "    <testcase classname=\"{name}\" name=\"the whole\"",
        name = escape(&run.name)
    );
    match &run.verdict {
        Verdict::Failed(why) if outside => {
            xml.push_str(&whole);
            failed(why, xml);
        }
        Verdict::Skipped(why) => {
            let _ = writeln!(
                xml,
                "{whole}><skipped message=\"{}\"/></testcase>",
                escape(why)
            );
        }
        Verdict::Interrupted => {
            let _ = writeln!(xml, "{whole}><skipped message=\"interrupted\"/></testcase>");
        }
        _ => {}
    }
    xml.push_str("  </testsuite>\n");
}

fn failed(failure: &str, xml: &mut String) {
    let first = failure.lines().next().unwrap_or_default();
    let _ = writeln!(
        xml,
        ">\n      <failure message=\"{}\">{}</failure>\n    </testcase>",
        escape(first),
        escape(failure)
    );
}

/// Text for XML; characters that XML cannot hold become a replacement character.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(character),
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_xml_cannot_hold_is_made_harmless() {
        assert_eq!(
            escape("a<b>&\"\u{1b}[0m"),
            "a&lt;b&gt;&amp;&quot;\u{fffd}[0m"
        );
    }
}
