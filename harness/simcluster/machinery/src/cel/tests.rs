//! The promises of rules in CEL.

use serde_json::json;

use super::*;
use crate::schema::Schema;

fn errors(schema: &Value, object: &Value, old: Option<&Value>) -> Vec<String> {
    let schema = Schema::from_openapi(schema);
    let rules = Rules::compile(&schema, true).expect("the schema has rules");
    rules
        .validate(object, old)
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn plan() -> Value {
    json!({"type": "object", "properties": {"spec": {
        "type": "object",
        "x-kubernetes-validations": [
            {"rule": "self.min <= self.max"},
            {"rule": "self.max < 100", "message": "too big", "reason": "FieldValueForbidden",
             "fieldPath": ".max"},
            {"rule": "!has(self.label) || self.label.startsWith('p-')",
             "messageExpression": "'label ' + self.label + ' must start with p-'"}
        ],
        "properties": {
            "min": {"type": "integer"}, "max": {"type": "integer"},
            "label": {"type": "string"}
        }
    }}})
}

#[test]
fn a_rule_that_does_not_hold_is_told_with_its_message() {
    assert_eq!(
        errors(&plan(), &json!({"spec": {"min": 5, "max": 2}}), None),
        ["spec: Invalid value: failed rule: self.min <= self.max"]
    );
    assert_eq!(
        errors(
            &plan(),
            &json!({"spec": {"min": 5, "max": 200, "label": "q"}}),
            None
        ),
        [
            "spec.max: Forbidden: too big",
            "spec: Invalid value: label q must start with p-"
        ]
    );
    let good = json!({"spec": {"min": 1, "max": 2, "label": "p-ok"}});
    assert!(errors(&plan(), &good, None).is_empty());
}

#[test]
fn transition_rules_see_the_old_value() {
    let schema = json!({"type": "object", "properties": {"spec": {
        "type": "object", "properties": {
            "fixed": {"type": "string", "x-kubernetes-validations": [
                {"rule": "self == oldSelf", "message": "fixed cannot change"}
            ]},
            "up": {"type": "integer", "x-kubernetes-validations": [
                {"rule": "self >= oldSelf", "message": "up only grows"}
            ]},
            "once": {"type": "string", "x-kubernetes-validations": [
                {"rule": "!oldSelf.hasValue() || oldSelf.value() == self",
                 "message": "once only", "optionalOldSelf": true}
            ]}
        }
    }}});
    let old = json!({"spec": {"fixed": "a", "up": 5, "once": "x"}});
    assert!(errors(&schema, &old, None).is_empty());
    assert_eq!(
        errors(
            &schema,
            &json!({"spec": {"fixed": "b", "up": 4, "once": "y"}}),
            Some(&old)
        ),
        [
            "spec.fixed: Invalid value: \"b\": fixed cannot change",
            "spec.once: Invalid value: \"y\": once only",
            "spec.up: Invalid value: 4: up only grows",
        ]
    );
    assert!(errors(&schema, &json!({"spec": {"up": 6}}), Some(&old)).is_empty());
}

#[test]
fn an_update_is_forgiven_a_rule_that_was_broken_before() {
    let old = json!({"spec": {"min": 5, "max": 2}, "other": 1});
    let mut schema = plan();
    schema["properties"]["other"] = json!({"type": "integer"});
    let mut new = old.clone();
    new["other"] = json!(2);
    assert!(errors(&schema, &new, Some(&old)).is_empty());
    new["spec"]["min"] = json!(6);
    assert_eq!(errors(&schema, &new, Some(&old)).len(), 1);
}

#[test]
fn macros_and_libraries_work_on_values_by_schema() {
    let holds = |rule: &str, spec: Value| {
        let schema = json!({"type": "object", "properties": {"spec": {
            "type": "object", "x-kubernetes-validations": [{"rule": rule}],
            "properties": {
                "size": {"type": "string"}, "ratio": {"type": "number"},
                "when": {"type": "string", "format": "date-time"},
                "port": {"x-kubernetes-int-or-string": true},
                "list": {"type": "array", "items": {"type": "object", "properties": {
                    "name": {"type": "string"}, "n": {"type": "integer"}
                }}},
                "map": {"type": "object", "additionalProperties": {"type": "string"}},
                "foo-bar": {"type": "string"}, "namespace": {"type": "string"}
            }
        }}});
        let parsed = Schema::from_openapi(&schema);
        let spec_schema = &parsed.properties["spec"];
        check(&spec_schema.validations[0], spec_schema, false).unwrap();
        errors(&schema, &json!({"spec": spec}), None).is_empty()
    };
    assert!(holds(
        "quantity(self.size).isGreaterThan(quantity('1Gi'))",
        json!({"size": "2Gi"})
    ));
    assert!(!holds(
        "quantity(self.size).isGreaterThan(quantity('1Gi'))",
        json!({"size": "1M"})
    ));
    assert!(holds(
        "self.list.all(x, x.n > 0)",
        json!({"list": [{"n": 1}, {"n": 2}]})
    ));
    assert!(!holds(
        "self.list.exists(x, x.name == 'z')",
        json!({"list": [{"name": "a"}]})
    ));
    assert!(holds(
        "self.list.map(x, x.n).sum() == 3",
        json!({"list": [{"n": 1}, {"n": 2}]})
    ));
    assert!(holds(
        "self.map.all(k, k.startsWith('a'))",
        json!({"map": {"ab": "x"}})
    ));
    assert!(holds(
        "'a' in self.map && self.map['a'] == 'x'",
        json!({"map": {"a": "x"}})
    ));
    assert!(holds("self.foo__dash__bar == 'x'", json!({"foo-bar": "x"})));
    assert!(holds(
        "self.__namespace__.matches('^[a-z]+$')",
        json!({"namespace": "x"})
    ));
    assert!(holds(
        "self.when > timestamp('2020-01-01T00:00:00Z')",
        json!({"when": "2021-01-01T00:00:00Z"})
    ));
    assert!(holds("self.ratio == 2.0", json!({"ratio": 2})));
    assert!(holds(
        "type(self.port) == string || self.port > 0",
        json!({"port": 5})
    ));
    assert!(holds(
        "self.size.find('[0-9]+') == '12'",
        json!({"size": "x12y"})
    ));
    assert!(holds(
        "isURL(self.size) && url(self.size).getHost() == 'a.b'",
        json!({"size": "https://a.b/c"})
    ));
    assert!(holds("self.?size.orValue('none') == 'none'", json!({})));
    assert!(holds(
        "self.?size.orValue('none') == 'x'",
        json!({"size": "x"})
    ));
    assert!(holds("!self.?map.x.hasValue()", json!({"map": {}})));
    assert!(holds(
        "self.list[?1].name.orValue('') == ''",
        json!({"list": [{"name": "a"}]})
    ));
}

#[test]
fn a_rule_may_look_at_the_name_of_the_object() {
    let schema = json!({"type": "object", "x-kubernetes-validations": [
        {"rule": "self.metadata.name == self.spec.name"}
    ], "properties": {"spec": {"type": "object", "properties": {"name": {"type": "string"}}}}});
    let object = json!({"metadata": {"name": "a", "uid": "1"}, "spec": {"name": "b"}});
    assert_eq!(errors(&schema, &object, None).len(), 1);
    let object = json!({"metadata": {"name": "a"}, "spec": {"name": "a"}});
    assert!(errors(&schema, &object, None).is_empty());
}

#[test]
fn an_absent_field_is_an_error_of_the_rule() {
    let found = errors(&plan(), &json!({"spec": {"min": 1}}), None);
    assert_eq!(
        found,
        [
            "spec: Invalid value: \"object\": no such key: max evaluating rule: self.min <= \
             self.max",
            "spec: Invalid value: \"object\": no such key: max evaluating rule: too big",
        ]
    );
}

#[test]
fn mistakes_in_a_rule_are_pointed_at() {
    let schema = Schema::from_openapi(&json!({"type": "object", "properties": {
        "a": {"type": "string"}, "n": {"type": "integer"},
        "list": {"type": "array", "items": {"type": "string"}}
    }}));
    let why = |rule: &str| {
        let rule = ValidationRule {
            rule: rule.to_owned(),
            ..ValidationRule::default()
        };
        check(&rule, &schema, false).unwrap_err().to_string()
    };
    assert_eq!(
        why("self.absent == 1"),
        "compilation failed: ERROR: <input>:1:5: undefined field 'absent'\n | self.absent == 1\n \
         | ....^"
    );
    assert_eq!(
        why("self.a.matches('[')"),
        "compilation failed: ERROR: <input>:1:16: invalid matches argument\n | \
         self.a.matches('[')\n | ...............^"
    );
    assert_eq!(
        why("duration('soon') > duration('1h')"),
        "compilation failed: ERROR: <input>:1:10: invalid duration argument\n | \
         duration('soon') > duration('1h')\n | .........^"
    );
    assert_eq!(
        why("slef.a == 'x'"),
        "compilation failed: ERROR: <input>:1:1: undeclared reference to 'slef' (in container \
         '')\n | slef.a == 'x'\n | ^"
    );
    assert_eq!(
        why("self.a == self.n"),
        "compilation failed: ERROR: <input>:1:8: found no matching overload for '_==_' applied to \
         '(string, int)'\n | self.a == self.n\n | .......^"
    );
    assert_eq!(
        why("self.a.startsWith(5)"),
        "compilation failed: ERROR: <input>:1:18: found no matching overload for 'startsWith' \
         applied to 'string.(int)'\n | self.a.startsWith(5)\n | .................^"
    );
    assert_eq!(why("self.a"), "cel expression must evaluate to a bool");
    assert!(why("self.a ==").starts_with("compilation failed: ERROR: <input>:1:"));
    assert!(why("self.list.all(x, x > 1)").contains("'_>_' applied to '(string, int)'"));
    assert!(why("self.a.nothing()").contains("undeclared reference to 'nothing'"));
}

#[test]
fn the_order_of_a_set_is_no_change() {
    let schema = json!({"type": "object", "properties": {"spec": {
        "type": "object", "x-kubernetes-validations": [{"rule": "self == oldSelf"}],
        "properties": {
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "map": {
                "type": "array", "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {
                    "k": {"type": "string"}, "v": {"type": "integer"}
                }}
            },
            "list": {"type": "array", "items": {"type": "string"}}
        }
    }}});
    let object = |set: Value, map: Value, list: Value| json!({"spec": {"set": set, "map": map, "list": list}});
    let (one, two) = (json!({"k": "1", "v": 1}), json!({"k": "2", "v": 2}));
    let old = object(json!(["a", "b"]), json!([one, two]), json!(["x", "y"]));
    let reordered = object(json!(["b", "a"]), json!([two, one]), json!(["x", "y"]));
    assert!(errors(&schema, &reordered, Some(&old)).is_empty());
    let changed = object(json!(["b", "c"]), json!([two, one]), json!(["x", "y"]));
    assert_eq!(errors(&schema, &changed, Some(&old)).len(), 1);
    let changed = object(json!(["a", "b"]), json!([one, two]), json!(["y", "x"]));
    assert_eq!(errors(&schema, &changed, Some(&old)).len(), 1);
}

fn list_rule(rule: &str, at: &str) -> Value {
    let mut schema = json!({"type": "object", "properties": {
        "list": {"type": "array", "items": {"type": "object", "properties": {
            "n": {"type": "array", "items": {"type": "integer"}}
        }}}
    }});
    let rules = json!([{"rule": rule}]);
    schema.pointer_mut(at).unwrap()["x-kubernetes-validations"] = rules;
    schema
}

fn lists(count: usize, length: usize) -> Value {
    let one = json!({"n": (0..length).collect::<Vec<_>>()});
    json!({"list": vec![one; count]})
}

#[test]
fn a_rule_that_costs_too_much_is_stopped_and_no_further_one_runs() {
    let rule = "self.list.all(a, self.list.all(b, self.list.all(c, true)))";
    let schema = list_rule(rule, "");
    let found = errors(&schema, &lists(200, 0), None);
    let [error] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(
        *error,
        format!(
            "<nil>: Invalid value: \"object\": 'operation cancelled: actual cost limit exceeded': no \
             further validation rules will be run due to call cost exceeds limit for rule: {rule}"
        )
    );
    assert!(errors(&schema, &lists(20, 0), None).is_empty());
}

#[test]
fn the_rules_for_one_object_share_a_budget() {
    let rule = "self.n.all(a, self.n.all(b, true))";
    let schema = Schema::from_openapi(&list_rule(rule, "/properties/list/items"));
    let rules = Rules::compile(&schema, true).expect("the schema has rules");
    // Each costs 3 for each turn: 330 of them.
    let found = rules.validate_within(1_000, &lists(5, 10), None, &Path::root());
    let [error] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(
        error.to_string(),
        "list[3]: Invalid value: \"object\": validation failed due to running out of cost budget, \
         no further validation rules will be run"
    );
}

#[test]
fn rules_are_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Rules>();
}
