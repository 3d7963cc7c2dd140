//! What functions give, and what they say when they cannot.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::scenario::jmespath::{Problem, Question, evaluate, parse};

fn outcome(expression: &str) -> Result<Value, Problem> {
    let input = json!({
        "n": [3, 1, 2], "o": {"a": 1, "b": 2}, "text": "abcabc",
        "people": [{"name": "b", "age": 30}, {"name": "a", "age": 20}],
    });
    evaluate(&parse(expression)?, &input, &BTreeMap::new())
}

#[track_caller]
fn gives(expression: &str, wanted: &Value) {
    assert_eq!(outcome(expression), Ok(wanted.clone()), "{expression}");
}

#[test]
fn lists_and_objects() {
    gives("sort(n)", &json!([1, 2, 3]));
    gives("sort_by(people, &age)[0].name", &json!("a"));
    gives("max_by(people, &age).name", &json!("b"));
    gives("map(&name, people)", &json!(["b", "a"]));
    gives("items(o)", &json!([["a", 1], ["b", 2]]));
    gives("items(o, 'k', 'v')[1]", &json!({"k": "b", "v": 2}));
    gives("from_items(items(o))", &json!({"a": 1, "b": 2}));
    gives("merge(o, `{\"c\": 3}`).c", &json!(3));
    gives("zip(n, `[\"x\", \"y\"]`)", &json!([[3, "x"], [1, "y"]]));
    gives("group_by(people, &name).a[0].age", &json!(20));
    gives("contains(n, `2`) && !contains(text, 'x')", &json!(true));
    gives("object_from_lists(['a', 'b'], n)", &json!({"a": 3, "b": 1}));
}

#[test]
fn text_and_what_is_in_it() {
    gives("find_first(text, 'c')", &json!(2));
    gives("find_last(text, 'c')", &json!(5));
    gives("find_first(text, 'x')", &Value::Null);
    gives("pad_left('7', `3`, '0')", &json!("007"));
    gives("split('a-b-c', '-', `1`)", &json!(["a", "b-c"]));
    gives("replace(text, 'a', 'x', `1`)", &json!("xbcabc"));
    gives("regex_replace_all('b(.)', text, '$1-')", &json!("ac-ac-"));
    gives("trim_prefix(text, 'abc')", &json!("abc"));
    gives("wildcard('a*c?b*', text)", &json!(true));
    gives("parse_yaml('a: [1]').a[0]", &json!(1));
    gives("to_string(o)", &json!("{\"a\":1,\"b\":2}"));
    gives("to_number(' 1.50 ')", &json!(1.5));
}

#[test]
fn numbers_stay_whole_where_they_are() {
    gives("add(`1`, `2`)", &json!(3));
    gives("divide(`1`, `4`)", &json!(0.25));
    gives("avg(n)", &json!(2));
    gives("round(`1.23456`, `3`)", &json!(1.235));
    assert!(matches!(
        outcome("divide(`1`, `0`)"),
        Err(Problem::NoValue(_))
    ));
}

#[test]
fn quantities_and_durations_are_computed_with() {
    for (expression, wanted) in [
        ("add('1Gi', '512Mi')", json!("1536Mi")),
        ("subtract('1', '250m')", json!("750m")),
        ("multiply('512Mi', `2`)", json!("1Gi")),
        ("multiply(`0.5`, '1h')", json!("30m0s")),
        ("divide('1Gi', '256Mi')", json!(4)),
        ("divide('1h', `4`)", json!("15m0s")),
        ("modulo('5Gi', '2Gi')", json!("1Gi")),
        ("add('1h', '-90s')", json!("58m30s")),
        ("sum(['1Gi', '1Gi'])", json!("2Gi")),
        ("sum(`[]`)", json!(0)),
    ] {
        gives(expression, &wanted);
    }
    let least = outcome("multiply('1h', `-1e300`)").expect("a duration");
    assert!(least.as_str().expect("text").starts_with('-'), "{least}");
    for wrong in [
        "add('1Gi', `1`)",
        "multiply('1Gi', '1Gi')",
        "divide('1Gi', '0')",
        "add('much', 'more')",
        "sum(['1Gi', '1h'])",
    ] {
        assert!(
            matches!(outcome(wrong), Err(Problem::NoValue(_))),
            "{wrong}"
        );
    }
}

#[test]
fn times_are_compared_and_moved() {
    gives(
        "time_add('2026-01-01T00:00:00Z', '1h30m')",
        &json!("2026-01-01T01:30:00Z"),
    );
    gives(
        "time_diff('2026-01-01T00:00:00Z', '2026-01-01T01:00:05Z')",
        &json!("1h0m5s"),
    );
    gives(
        "time_before('2026-01-01T00:00:00Z', time_now_utc())",
        &json!(true),
    );
    gives(
        "time_truncate('2026-01-01T01:59:00Z', '1h')",
        &json!("2026-01-01T01:00:00Z"),
    );
}

#[test]
fn metrics_become_samples() {
    let text = "# TYPE a counter\\na 3\\nb{l=\"v\\\\\"w\",m=\"2\"} -3.5 123456\\n";
    let text = format!("x_metrics_decode(`\"{}\"`)", text.replace('"', "\\\""));
    let found = outcome(&text).expect("samples");
    assert_eq!(found[0], json!({"metric": {"__name__": "a"}, "value": 3}));
    assert_eq!(found[1]["metric"]["l"], json!("v\"w"));
    assert_eq!(found[1]["timestamp"], json!(123_456));
}

#[test]
fn the_cluster_is_asked_by_who_may() {
    let asked = outcome("x_k8s_list('client', 'v1', 'Node')");
    assert!(
        matches!(&asked, Err(Problem::Asks(Question::List(which))) if which.kind == "Node"),
        "{asked:?}"
    );
}

#[test]
fn a_call_that_cannot_be_is_told_before_anything_runs() {
    for (expression, said) in [
        ("lenght(n)", "there is no function lenght"),
        ("length()", "length takes 1 arguments, not 0"),
        ("x509_decode(text)", "chainsaw has it, but it is not here"),
    ] {
        let problem = parse(expression).expect_err(expression).to_string();
        assert!(problem.contains(said), "{problem}");
    }
    let problem = outcome("join(',', n)").expect_err("numbers").to_string();
    assert!(problem.contains("strings only"), "{problem}");
}

#[test]
fn versions_are_in_ranges_or_not() {
    for (version, range, is_in) in [
        ("1.2.3", ">=1.2.0 <2.0.0", true),
        ("2.0.0", ">=1.2.0 <2.0.0", false),
        ("3.1.0", "<1.0.0 || 3.x", true),
        ("4.1.3", ">=4.1.x", true),
        ("4.2.0", "<=4.1.x", false),
        ("4.2.0", "> 4.1.x", true),
        ("4.1.9", "!=4.1.x", false),
        ("1.0.0-rc.1", "<1.0.0", true),
        ("1.0.0+build", "1.0.0", true),
    ] {
        gives(
            &format!("semver_compare('{version}', '{range}')"),
            &json!(is_in),
        );
    }
    for wrong in [
        "semver_compare('1.2', '1.x')",
        "semver_compare('1.2.3', '>=')",
        "semver_compare('1.2.3', '~1')",
    ] {
        assert!(
            matches!(outcome(wrong), Err(Problem::NoValue(_))),
            "{wrong}"
        );
    }
}

#[test]
fn times_in_layouts_of_their_own_are_read() {
    gives(
        "time_parse('02 Jan 06 15:04 -0700', '21 Nov 26 23:20 +0100')",
        &json!("2026-11-21T23:20:00+01:00"),
    );
    gives(
        "time_since('2006-01-02 15:04', '2026-11-21 20:00', '2026-11-21 21:30')",
        &json!("1h30m0s"),
    );
    assert!(matches!(
        outcome("time_parse('2006', 'soon')"),
        Err(Problem::NoValue(_))
    ));
}

#[test]
fn a_time_becomes_the_line_of_a_schedule_as_its_own_clock_shows_it() {
    gives(
        "time_to_cron('2022-04-11T03:14:05-07:00')",
        &json!("14 3 11 4 1"),
    );
    gives("time_to_cron('2023-01-01T00:00:00Z')", &json!("0 0 1 1 0"));
}

#[test]
fn text_by_chance_is_as_its_pattern_says() {
    for pattern in ["[0-9a-z]{5}", "(red|green)-x+", r"\\d{3}.", "[^a-z]?", ""] {
        let expression = format!("random('{pattern}')");
        let Ok(Value::String(text)) = outcome(&expression) else {
            panic!("{expression}: {:?}", outcome(&expression));
        };
        let whole = regex::Regex::new(&format!("^(?:{})$", pattern.replace(r"\\", r"\"))).unwrap();
        assert!(whole.is_match(&text), "{pattern}: {text:?}");
    }
    assert!(outcome("random('[')").is_err());
    // No pattern makes a text that fills the machine.
    let long = outcome("random('((a{900}){900}){900}')");
    assert!(long.is_ok_and(|text| text.as_str().is_some_and(|text| text.len() <= 10_000)));
}
