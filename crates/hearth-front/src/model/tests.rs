use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn operation(name: &str) -> &'static OperationModel {
    operations()
        .find(|operation| operation.name == name)
        .unwrap()
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "callers write the input in place"
)]
fn refusal(name: &str, input: Value) -> Option<String> {
    match check(operation(name).input, input.as_object().unwrap()) {
        Ok(()) => None,
        Err(Mismatch::Constraints(message)) => Some(message),
        Err(other) => Some(format!("{other:?}")),
    }
}

#[test]
fn every_pattern_compiles() {
    fn visit(shape: &Shape) {
        match shape {
            Shape::Text(Text {
                pattern: Some(pattern),
                ..
            }) => {
                assert!(check::is_compiled(pattern), "{pattern}");
            }
            Shape::List(list) => visit(list.item),
            Shape::Map(map) => [map.key, map.value].into_iter().for_each(visit),
            Shape::Structure(structure) | Shape::Union(structure) => {
                structure
                    .members
                    .iter()
                    .for_each(|member| visit(member.shape));
            }
            _ => {}
        }
    }
    operations()
        .flat_map(|operation| operation.input)
        .for_each(|member| visit(member.shape));
}

/// Rust's expressions do not look around: what these patterns say is said otherwise.
#[test]
fn patterns_that_look_around_refuse_the_same() {
    let alias = |name: &str| {
        let input = json!({"FunctionName": "f", "FunctionVersion": "1", "Name": name});
        refusal("CreateAlias", input).is_none()
    };
    assert!(alias("live") && alias("1a") && alias("a1") && alias("-"));
    assert!(!alias("1") && !alias("123") && !alias("a b") && !alias(""));
    let bucket = |name: &str| {
        let input = json!({"FunctionName": "f", "S3Bucket": name, "S3Key": "k"});
        refusal("UpdateFunctionCode", input).is_none()
    };
    assert!(bucket("a.b") && bucket("abc") && !bucket("ab.") && !bucket("a b"));
    let url =
        |name: &str| refusal("ListFunctionUrlConfigs", json!({"FunctionName": name})).is_none();
    assert!(url("f") && url("f:live") && !url("f:1"));
}

#[test]
fn weights_have_bounds_and_a_digit_behind_the_point() {
    let message = refusal(
        "UpdateAlias",
        json!({"FunctionName": "f", "Name": "a", "RoutingConfig": {"AdditionalVersionWeights": {"2": -1.0}}}),
    );
    assert_eq!(
        message.unwrap(),
        "1 validation error detected: Value '{2=-1.0}' at 'routingConfig.additionalVersionWeights' failed to satisfy \
         constraint: Map value must satisfy constraint: [Member must have value greater than or equal to 0.0]"
    );
}

/// Whoever looks up an operation finds whether it is the same as on AWS.
#[test]
fn every_operation_has_a_row_in_the_documents() {
    let document = include_str!("../../../../docs/compatibility.md");
    let is_told = |name: &str| {
        let mut rows = document.lines().filter(|line| line.starts_with('|'));
        rows.any(|row| row.contains(&format!("`{name}`")))
    };
    let s3 = crate::s3::OPERATIONS.iter();
    let s3 = s3.filter_map(|input| input.strip_suffix("Input"));
    let missing: Vec<_> = operations()
        .map(|operation| operation.name)
        .chain(s3)
        .filter(|name| !is_told(name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn several_violations_are_one_message() {
    let message = refusal("CreateMicrovmImage", json!({"name": "ok"})).unwrap();
    assert_eq!(
        message,
        "3 validation errors detected: \
         Value null at 'baseImageArn' failed to satisfy constraint: Member must not be null; \
         Value null at 'buildRoleArn' failed to satisfy constraint: Member must not be null; \
         Value null at 'codeArtifact' failed to satisfy constraint: Member must not be null"
    );
}

#[test]
fn one_violation_is_singular() {
    let message = refusal(
        "RunMicrovm",
        json!({"imageIdentifier": "x", "imageVersion": "a b"}),
    );
    assert_eq!(
        message.unwrap(),
        r"1 validation error detected: Value 'a b' at 'imageVersion' failed to satisfy constraint: Member must satisfy regular expression pattern: [^\s]+"
    );
}

#[test]
fn sensitive_values_are_not_repeated() {
    let payload = "s".repeat(4097);
    let message = refusal(
        "RunMicrovm",
        json!({"imageIdentifier": "x", "runHookPayload": payload}),
    );
    assert_eq!(
        message.unwrap(),
        "1 validation error detected: Value at 'runHookPayload' failed to satisfy constraint: Member must have length less than or equal to 4096"
    );
}

#[test]
fn constraints_of_list_items_are_reported_at_the_list() {
    let message = refusal(
        "UpdateMicrovmImageVersion",
        json!({"imageIdentifier": "x", "imageVersion": "1.0", "status": "ON"}),
    );
    assert!(
        message
            .unwrap()
            .ends_with("Member must satisfy enum value set: [ACTIVE, INACTIVE]")
    );
    let connectors: Vec<_> = (0..11).map(|n| format!("c{n}")).collect();
    let message = refusal(
        "RunMicrovm",
        json!({"imageIdentifier": "x", "ingressNetworkConnectors": connectors}),
    );
    assert!(
        message.unwrap().contains(
            "'[c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10]' at 'ingressNetworkConnectors'"
        )
    );
    let message = refusal(
        "RunMicrovm",
        json!({"imageIdentifier": "x", "ingressNetworkConnectors": [""]}),
    );
    assert!(message.unwrap().ends_with(
        "Member must satisfy constraint: [Member must have length greater than or equal to 1]"
    ));
}

#[test]
fn members_of_core_are_named_in_lower_camel_case() {
    let subnets: Vec<_> = (0..17).map(|n| format!("subnet-{n}")).collect();
    let configuration = json!({"VpcEgressConfiguration": {"SubnetIds": subnets}});
    let message = refusal(
        "CreateNetworkConnector",
        json!({"Name": "n", "Configuration": configuration}),
    );
    assert!(
        message
            .unwrap()
            .contains("at 'configuration.vpcEgressConfiguration.subnetIds'")
    );
}

#[test]
fn wrong_types_cannot_be_parsed() {
    assert_eq!(
        refusal("RunMicrovm", json!({"imageIdentifier": 5})).unwrap(),
        "Type"
    );
    let token = json!({"microvmIdentifier": "m", "expirationInMinutes": 5, "allowedPorts": [{"allPorts": true}]});
    assert_eq!(refusal("CreateMicrovmAuthToken", token).unwrap(), "Union");
}

#[test]
fn explicit_null_is_absence() {
    assert_eq!(
        refusal(
            "RunMicrovm",
            json!({"imageIdentifier": "x", "imageVersion": null})
        ),
        None
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec(("[a-zA-Z]{1,12}", inner), 0..6)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Whatever a client sends, checking it ends without a panic and with a bounded message.
    #[test]
    fn checking_never_panics(index in 0..lambda_microvms::Operation::ALL.len(), value in any_json(), seed in any_json()) {
        let operation = lambda_microvms::Operation::ALL[index].model();
        let mut input = value.as_object().cloned().unwrap_or_default();
        for member in operation.input {
            input.insert(member.name.to_owned(), seed.clone());
        }
        if let Err(Mismatch::Constraints(message)) = check(operation.input, &input) {
            prop_assert!(message.len() < 1 << 20);
        }
    }
}
