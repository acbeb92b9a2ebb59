//! Constraints of the `lambda-core` operations, as its service model 2026-04-30 states them.
//!
//! Written by `tests/tools/model_tables.py`; a test holds this file against the installed model.

use super::{List, Map, Operation, Range, Shape, Structure, Text, body, path, query};

/// Every operation, by name.
pub(crate) static OPERATIONS: &[Operation] = &[
    Operation {
        name: "CreateNetworkConnector",
        method: "POST",
        path: "/2026-04-04/network-connectors",
        status: 202,
        input: &[
            body("Name", &NETWORK_CONNECTOR_NAME).required(),
            body("Configuration", &NETWORK_CONNECTOR_CONFIGURATION).required(),
            body("OperatorRole", &NETWORK_CONNECTOR_ROLE_ARN),
            body("ClientToken", &CLIENT_TOKEN_STRING),
            body("Tags", &NETWORK_CONNECTOR_TAGS),
        ],
    },
    Operation {
        name: "DeleteNetworkConnector",
        method: "DELETE",
        path: "/2026-04-04/network-connectors/{Identifier}",
        status: 202,
        input: &[path("Identifier", &NETWORK_CONNECTOR_IDENTIFIER).required()],
    },
    Operation {
        name: "GetNetworkConnector",
        method: "GET",
        path: "/2026-04-04/network-connectors/{Identifier}",
        status: 200,
        input: &[path("Identifier", &NETWORK_CONNECTOR_IDENTIFIER).required()],
    },
    Operation {
        name: "ListNetworkConnectorVersions",
        method: "GET",
        path: "/2026-04-04/network-connectors/{Identifier}/versions",
        status: 200,
        input: &[
            path("Identifier", &NETWORK_CONNECTOR_IDENTIFIER).required(),
            query("State", "State", &NETWORK_CONNECTOR_STATE),
            query("Marker", "Marker", &STRING),
            query("MaxItems", "MaxItems", &MAX_HUNDRED_LIST_ITEMS),
        ],
    },
    Operation {
        name: "ListNetworkConnectors",
        method: "GET",
        path: "/2026-04-04/network-connectors",
        status: 200,
        input: &[
            query("State", "State", &NETWORK_CONNECTOR_STATE),
            query("Marker", "Marker", &STRING),
            query("MaxItems", "MaxItems", &MAX_HUNDRED_LIST_ITEMS),
        ],
    },
    Operation {
        name: "UpdateNetworkConnector",
        method: "PUT",
        path: "/2026-04-04/network-connectors/{Identifier}",
        status: 202,
        input: &[
            path("Identifier", &NETWORK_CONNECTOR_IDENTIFIER).required(),
            body("Configuration", &NETWORK_CONNECTOR_CONFIGURATION),
            body("OperatorRole", &NETWORK_CONNECTOR_ROLE_ARN),
            body("ClientToken", &CLIENT_TOKEN_STRING),
        ],
    },
];

static NETWORK_CONNECTOR_NAME: Shape = Shape::Text(Text {
    min: Some(1),
    max: Some(140),
    pattern: Some(
        r"(arn:aws[a-zA-Z-]*:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:network-connector:[a-zA-Z0-9-_]+(:[1-9][0-9]*)?)|[a-zA-Z0-9_-]{1,64}",
    ),
    values: &[],
    sensitive: false,
});
static NETWORK_CONNECTOR_SUBNET_ID: Shape = Shape::Text(Text {
    min: Some(0),
    max: Some(1024),
    pattern: Some("subnet-[0-9a-z]*"),
    values: &[],
    sensitive: false,
});
static NETWORK_CONNECTOR_SUBNET_IDS: Shape = Shape::List(List {
    min: Some(1),
    max: Some(16),
    item: &NETWORK_CONNECTOR_SUBNET_ID,
});
static NETWORK_CONNECTOR_SECURITY_GROUP_ID: Shape = Shape::Text(Text {
    min: Some(0),
    max: Some(1024),
    pattern: Some("sg-[0-9a-zA-Z]*"),
    values: &[],
    sensitive: false,
});
static NETWORK_CONNECTOR_SECURITY_GROUP_IDS: Shape = Shape::List(List {
    min: Some(0),
    max: Some(16),
    item: &NETWORK_CONNECTOR_SECURITY_GROUP_ID,
});
static NETWORK_PROTOCOL: Shape = Shape::Text(Text {
    min: None,
    max: None,
    pattern: None,
    values: &["IPv4", "DualStack"],
    sensitive: false,
});
static COMPUTE_RESOURCE_TYPE: Shape = Shape::Text(Text {
    min: None,
    max: None,
    pattern: None,
    values: &["MicroVm", "WebFunction"],
    sensitive: false,
});
static ASSOCIATED_COMPUTE_RESOURCE_TYPES_LIST: Shape = Shape::List(List {
    min: Some(1),
    max: Some(1),
    item: &COMPUTE_RESOURCE_TYPE,
});
static ELASTIC_IP_TYPE: Shape = Shape::Text(Text {
    min: None,
    max: None,
    pattern: None,
    values: &["None", "ServiceManaged"],
    sensitive: false,
});
static ELASTIC_IP_CONFIGURATION: Shape = Shape::Structure(Structure {
    name: "ElasticIpConfiguration",
    members: &[body("Type", &ELASTIC_IP_TYPE).required()],
});
static NETWORK_CONNECTOR_VPC_EGRESS_CONFIGURATION: Shape = Shape::Structure(Structure {
    name: "NetworkConnectorVpcEgressConfiguration",
    members: &[
        body("SubnetIds", &NETWORK_CONNECTOR_SUBNET_IDS),
        body("SecurityGroupIds", &NETWORK_CONNECTOR_SECURITY_GROUP_IDS),
        body("NetworkProtocol", &NETWORK_PROTOCOL),
        body(
            "AssociatedComputeResourceTypes",
            &ASSOCIATED_COMPUTE_RESOURCE_TYPES_LIST,
        ),
        body("ElasticIpConfiguration", &ELASTIC_IP_CONFIGURATION),
    ],
});
static NETWORK_CONNECTOR_CONFIGURATION: Shape = Shape::Union(Structure {
    name: "NetworkConnectorConfiguration",
    members: &[body(
        "VpcEgressConfiguration",
        &NETWORK_CONNECTOR_VPC_EGRESS_CONFIGURATION,
    )],
});
static NETWORK_CONNECTOR_ROLE_ARN: Shape = Shape::Text(Text {
    min: Some(0),
    max: Some(10000),
    pattern: Some(r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+"),
    values: &[],
    sensitive: false,
});
static CLIENT_TOKEN_STRING: Shape = Shape::Text(Text {
    min: Some(1),
    max: Some(64),
    pattern: None,
    values: &[],
    sensitive: false,
});
static NETWORK_CONNECTOR_TAG_KEY: Shape = Shape::Text(Text {
    min: Some(1),
    max: Some(128),
    pattern: Some(r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)"),
    values: &[],
    sensitive: false,
});
static NETWORK_CONNECTOR_TAG_VALUE: Shape = Shape::Text(Text {
    min: Some(0),
    max: Some(256),
    pattern: Some(r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)"),
    values: &[],
    sensitive: false,
});
static NETWORK_CONNECTOR_TAGS: Shape = Shape::Map(Map {
    min: None,
    max: None,
    key: &NETWORK_CONNECTOR_TAG_KEY,
    value: &NETWORK_CONNECTOR_TAG_VALUE,
});
static NETWORK_CONNECTOR_IDENTIFIER: Shape = Shape::Text(Text {
    min: Some(1),
    max: Some(140),
    pattern: None,
    values: &[],
    sensitive: false,
});
static NETWORK_CONNECTOR_STATE: Shape = Shape::Text(Text {
    min: None,
    max: None,
    pattern: None,
    values: &[
        "PENDING",
        "ACTIVE",
        "INACTIVE",
        "FAILED",
        "DELETING",
        "DELETE_FAILED",
    ],
    sensitive: false,
});
static STRING: Shape = Shape::Text(Text {
    min: None,
    max: None,
    pattern: None,
    values: &[],
    sensitive: false,
});
static MAX_HUNDRED_LIST_ITEMS: Shape = Shape::Integer(Range {
    min: Some(1),
    max: Some(100),
});
