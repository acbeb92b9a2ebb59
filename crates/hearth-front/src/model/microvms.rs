//! Constraints of the `lambda-microvms` operations, as its service model 2025-09-09 states them.
//!
//! Written by `tests/tools/model_tables.py`; a test holds this file against the installed model.

use super::{List, Map, Operation, Range, Shape, Structure, Text, body, path, query};

/// Every operation, by name.
pub(crate) static OPERATIONS: &[Operation] = &[
    Operation {
        name: "CreateMicrovmAuthToken",
        method: "POST",
        path: "/2025-09-09/microvms/{microvmIdentifier}/auth-token",
        status: 200,
        input: &[
            path("microvmIdentifier", &MICROVM_IDENTIFIER).required(),
            body("expirationInMinutes", &POSITIVE_INTEGER).required(),
            body("allowedPorts", &LIST_OF_PORT_SPECIFICATION).required(),
        ],
    },
    Operation {
        name: "CreateMicrovmImage",
        method: "POST",
        path: "/2025-09-09/microvm-images",
        status: 201,
        input: &[
            body("baseImageArn", &NON_BLANK_STRING).required(),
            body("baseImageVersion", &VERSION),
            body("buildRoleArn", &ROLE_ARN).required(),
            body("description", &STRING),
            body("codeArtifact", &CODE_ARTIFACT).required(),
            body("logging", &LOGGING),
            body(
                "egressNetworkConnectors",
                &CREATE_MICROVM_IMAGE_REQUEST_EGRESS_NETWORK_CONNECTORS_LIST,
            ),
            body("cpuConfigurations", &CPU_CONFIGURATION_LIST),
            body("resources", &RESOURCES_LIST),
            body("additionalOsCapabilities", &CAPABILITY_LIST),
            body("hooks", &HOOKS),
            body("environmentVariables", &ENVIRONMENT_VARIABLE_MAP),
            body("name", &IMAGE_NAME).required(),
            body("tags", &TAGS),
            body(
                "clientToken",
                &CREATE_MICROVM_IMAGE_REQUEST_CLIENT_TOKEN_STRING,
            ),
        ],
    },
    Operation {
        name: "CreateMicrovmShellAuthToken",
        method: "POST",
        path: "/2025-09-09/microvms/{microvmIdentifier}/shell-auth-token",
        status: 200,
        input: &[
            path("microvmIdentifier", &MICROVM_IDENTIFIER).required(),
            body("expirationInMinutes", &POSITIVE_INTEGER).required(),
        ],
    },
    Operation {
        name: "DeleteMicrovmImage",
        method: "DELETE",
        path: "/2025-09-09/microvm-images/{imageIdentifier}",
        status: 200,
        input: &[path("imageIdentifier", &MICROVM_IMAGE_IDENTIFIER).required()],
    },
    Operation {
        name: "DeleteMicrovmImageVersion",
        method: "DELETE",
        path: "/2025-09-09/microvm-images/{imageIdentifier}/versions/{imageVersion}",
        status: 200,
        input: &[
            path("imageIdentifier", &MICROVM_IMAGE_IDENTIFIER).required(),
            path("imageVersion", &NON_BLANK_STRING).required(),
        ],
    },
    Operation {
        name: "GetMicrovm",
        method: "GET",
        path: "/2025-09-09/microvms/{microvmIdentifier}",
        status: 200,
        input: &[path("microvmIdentifier", &MICROVM_IDENTIFIER).required()],
    },
    Operation {
        name: "GetMicrovmImage",
        method: "GET",
        path: "/2025-09-09/microvm-images/{imageIdentifier}",
        status: 200,
        input: &[path("imageIdentifier", &MICROVM_IMAGE_IDENTIFIER).required()],
    },
    Operation {
        name: "GetMicrovmImageBuild",
        method: "GET",
        path: "/2025-09-09/microvm-images/{imageIdentifier}/versions/{imageVersion}/builds/{buildId}",
        status: 200,
        input: &[
            path("imageIdentifier", &MICROVM_IMAGE_IDENTIFIER).required(),
            path("imageVersion", &NON_BLANK_STRING).required(),
            path("buildId", &NON_BLANK_STRING).required(),
        ],
    },
    Operation {
        name: "GetMicrovmImageVersion",
        method: "GET",
        path: "/2025-09-09/microvm-images/{imageIdentifier}/versions/{imageVersion}",
        status: 200,
        input: &[
            path("imageIdentifier", &MICROVM_IMAGE_IDENTIFIER).required(),
            path("imageVersion", &NON_BLANK_STRING).required(),
        ],
    },
    Operation {
        name: "ListManagedMicrovmImageVersions",
        method: "GET",
        path: "/2025-09-09/managed-microvm-images/{imageIdentifier}/versions",
        status: 200,
        input: &[
            query(
                "maxResults",
                "maxResults",
                &LIST_MANAGED_MICROVM_IMAGE_VERSIONS_INPUT_MAX_RESULTS_INTEGER,
            ),
            query("nextToken", "nextToken", &STRING),
            path("imageIdentifier", &MICROVM_IMAGE_IDENTIFIER).required(),
        ],
    },
    Operation {
        name: "ListManagedMicrovmImages",
        method: "GET",
        path: "/2025-09-09/managed-microvm-images",
        status: 200,
        input: &[
            query(
                "maxResults",
                "maxResults",
                &LIST_MANAGED_MICROVM_IMAGES_INPUT_MAX_RESULTS_INTEGER,
            ),
            query("nextToken", "nextToken", &STRING),
        ],
    },
    Operation {
        name: "ListMicrovmImageBuilds",
        method: "GET",
        path: "/2025-09-09/microvm-images/{imageIdentifier}/versions/{imageVersion}/builds",
        status: 200,
        input: &[
            query(
                "maxResults",
                "maxResults",
                &LIST_MICROVM_IMAGE_BUILDS_INPUT_MAX_RESULTS_INTEGER,
            ),
            query("nextToken", "nextToken", &STRING),
            path("imageIdentifier", &MICROVM_IMAGE_IDENTIFIER).required(),
            path("imageVersion", &NON_BLANK_STRING).required(),
            query("architecture", "architecture", &ARCHITECTURE),
            query("chipset", "chipset", &CHIPSET),
            query("chipsetGeneration", "chipsetGeneration", &NON_BLANK_STRING),
        ],
    },
    Operation {
        name: "ListMicrovmImageVersions",
        method: "GET",
        path: "/2025-09-09/microvm-images/{imageIdentifier}/versions",
        status: 200,
        input: &[
            query(
                "maxResults",
                "maxResults",
                &LIST_MICROVM_IMAGE_VERSIONS_INPUT_MAX_RESULTS_INTEGER,
            ),
            query("nextToken", "nextToken", &STRING),
            path("imageIdentifier", &MICROVM_IMAGE_IDENTIFIER).required(),
        ],
    },
    Operation {
        name: "ListMicrovmImages",
        method: "GET",
        path: "/2025-09-09/microvm-images",
        status: 200,
        input: &[
            query(
                "maxResults",
                "maxResults",
                &LIST_MICROVM_IMAGES_REQUEST_MAX_RESULTS_INTEGER,
            ),
            query("nextToken", "nextToken", &STRING),
            query("nameFilter", "nameFilter", &NON_BLANK_STRING),
        ],
    },
    Operation {
        name: "ListMicrovms",
        method: "GET",
        path: "/2025-09-09/microvms",
        status: 200,
        input: &[
            query(
                "maxResults",
                "maxResults",
                &LIST_MICROVMS_REQUEST_MAX_RESULTS_INTEGER,
            ),
            query("nextToken", "nextToken", &STRING),
            query(
                "imageIdentifier",
                "imageIdentifier",
                &MICROVM_IMAGE_IDENTIFIER,
            ),
            query("imageVersion", "imageVersion", &STRING),
        ],
    },
    Operation {
        name: "ListTags",
        method: "GET",
        path: "/2017-03-31/tags/{Resource}",
        status: 200,
        input: &[path("Resource", &TAGGABLE_RESOURCE).required()],
    },
    Operation {
        name: "ResumeMicrovm",
        method: "POST",
        path: "/2025-09-09/microvms/{microvmIdentifier}/resume",
        status: 200,
        input: &[path("microvmIdentifier", &MICROVM_IDENTIFIER).required()],
    },
    Operation {
        name: "RunMicrovm",
        method: "POST",
        path: "/2025-09-09/microvms",
        status: 200,
        input: &[
            body("ingressNetworkConnectors", &NETWORK_CONNECTOR_LIST),
            body("egressNetworkConnectors", &NETWORK_CONNECTOR_LIST),
            body("imageIdentifier", &MICROVM_IMAGE_IDENTIFIER).required(),
            body("imageVersion", &VERSION),
            body("executionRoleArn", &ROLE_ARN),
            body("idlePolicy", &IDLE_POLICY),
            body("logging", &LOGGING),
            body("runHookPayload", &RUN_HOOK_PAYLOAD),
            body(
                "maximumDurationInSeconds",
                &RUN_MICROVM_REQUEST_MAXIMUM_DURATION_IN_SECONDS_INTEGER,
            ),
            body("clientToken", &RUN_MICROVM_REQUEST_CLIENT_TOKEN_STRING),
        ],
    },
    Operation {
        name: "SuspendMicrovm",
        method: "POST",
        path: "/2025-09-09/microvms/{microvmIdentifier}/suspend",
        status: 200,
        input: &[path("microvmIdentifier", &MICROVM_IDENTIFIER).required()],
    },
    Operation {
        name: "TagResource",
        method: "POST",
        path: "/2017-03-31/tags/{Resource}",
        status: 204,
        input: &[
            path("Resource", &TAGGABLE_RESOURCE).required(),
            body("Tags", &TAGS).required(),
        ],
    },
    Operation {
        name: "TerminateMicrovm",
        method: "DELETE",
        path: "/2025-09-09/microvms/{microvmIdentifier}",
        status: 200,
        input: &[path("microvmIdentifier", &MICROVM_IDENTIFIER).required()],
    },
    Operation {
        name: "UntagResource",
        method: "DELETE",
        path: "/2017-03-31/tags/{Resource}",
        status: 204,
        input: &[
            path("Resource", &TAGGABLE_RESOURCE).required(),
            query("TagKeys", "tagKeys", &TAG_KEY_LIST).required(),
        ],
    },
    Operation {
        name: "UpdateMicrovmImage",
        method: "PUT",
        path: "/2025-09-09/microvm-images/{imageIdentifier}",
        status: 200,
        input: &[
            body("baseImageArn", &NON_BLANK_STRING).required(),
            body("baseImageVersion", &VERSION),
            body("buildRoleArn", &ROLE_ARN).required(),
            body("description", &STRING),
            body("codeArtifact", &CODE_ARTIFACT).required(),
            body("logging", &LOGGING),
            body(
                "egressNetworkConnectors",
                &UPDATE_MICROVM_IMAGE_REQUEST_EGRESS_NETWORK_CONNECTORS_LIST,
            ),
            body("cpuConfigurations", &CPU_CONFIGURATION_LIST),
            body("resources", &RESOURCES_LIST),
            body("additionalOsCapabilities", &CAPABILITY_LIST),
            body("hooks", &HOOKS),
            body("environmentVariables", &ENVIRONMENT_VARIABLE_MAP),
            path("imageIdentifier", &MICROVM_IMAGE_IDENTIFIER).required(),
            body(
                "clientToken",
                &UPDATE_MICROVM_IMAGE_REQUEST_CLIENT_TOKEN_STRING,
            ),
        ],
    },
    Operation {
        name: "UpdateMicrovmImageVersion",
        method: "PATCH",
        path: "/2025-09-09/microvm-images/{imageIdentifier}/versions/{imageVersion}",
        status: 200,
        input: &[
            path("imageIdentifier", &MICROVM_IMAGE_IDENTIFIER).required(),
            path("imageVersion", &NON_BLANK_STRING).required(),
            body("status", &MICROVM_IMAGE_VERSION_STATUS).required(),
        ],
    },
];

static MICROVM_IDENTIFIER: Shape = Shape::Text(Text {
    min: Some(1),
    max: Some(256),
    pattern: None,
    values: &[],
    sensitive: false,
});
static POSITIVE_INTEGER: Shape = Shape::Integer(Range {
    min: Some(1),
    max: None,
});
static PORT_NUMBER: Shape = Shape::Integer(Range {
    min: Some(1),
    max: Some(65535),
});
static PORT_RANGE: Shape = Shape::Structure(Structure {
    name: "PortRange",
    members: &[
        body("startPort", &PORT_NUMBER).required(),
        body("endPort", &PORT_NUMBER).required(),
    ],
});
static UNIT: Shape = Shape::Structure(Structure {
    name: "Unit",
    members: &[],
});
static PORT_SPECIFICATION: Shape = Shape::Union(Structure {
    name: "PortSpecification",
    members: &[
        body("port", &PORT_NUMBER),
        body("range", &PORT_RANGE),
        body("allPorts", &UNIT),
    ],
});
static LIST_OF_PORT_SPECIFICATION: Shape = Shape::List(List {
    min: Some(1),
    max: None,
    item: &PORT_SPECIFICATION,
});
static NON_BLANK_STRING: Shape = Shape::Text(Text {
    min: Some(1),
    max: Some(2048),
    pattern: Some(r"[^\s]+"),
    values: &[],
    sensitive: false,
});
static VERSION: Shape = Shape::Text(Text {
    min: Some(1),
    max: Some(2048),
    pattern: Some(r"[^\s]+"),
    values: &[],
    sensitive: false,
});
static ROLE_ARN: Shape = Shape::Text(Text {
    min: Some(20),
    max: Some(2048),
    pattern: Some(r"arn:aws[a-z\-]*:iam::[0-9]{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+"),
    values: &[],
    sensitive: false,
});
static STRING: Shape = Shape::Text(Text {
    min: None,
    max: None,
    pattern: None,
    values: &[],
    sensitive: false,
});
static CODE_ARTIFACT: Shape = Shape::Union(Structure {
    name: "CodeArtifact",
    members: &[body("uri", &NON_BLANK_STRING)],
});
static LOGGING_DISABLED: Shape = Shape::Structure(Structure {
    name: "LoggingDisabled",
    members: &[],
});
static CLOUD_WATCH_LOGGING_LOG_GROUP_STRING: Shape = Shape::Text(Text {
    min: Some(1),
    max: Some(512),
    pattern: Some(r"[a-zA-Z0-9_\-/.#]+"),
    values: &[],
    sensitive: false,
});
static CLOUD_WATCH_LOGGING_LOG_STREAM_STRING: Shape = Shape::Text(Text {
    min: Some(1),
    max: Some(512),
    pattern: Some("[^:*]*"),
    values: &[],
    sensitive: false,
});
static CLOUD_WATCH_LOGGING: Shape = Shape::Structure(Structure {
    name: "CloudWatchLogging",
    members: &[
        body("logGroup", &CLOUD_WATCH_LOGGING_LOG_GROUP_STRING),
        body("logStream", &CLOUD_WATCH_LOGGING_LOG_STREAM_STRING),
    ],
});
static LOGGING: Shape = Shape::Union(Structure {
    name: "Logging",
    members: &[
        body("disabled", &LOGGING_DISABLED),
        body("cloudWatch", &CLOUD_WATCH_LOGGING),
    ],
});
static NETWORK_CONNECTOR: Shape = Shape::Text(Text {
    min: Some(1),
    max: Some(2048),
    pattern: None,
    values: &[],
    sensitive: false,
});
static CREATE_MICROVM_IMAGE_REQUEST_EGRESS_NETWORK_CONNECTORS_LIST: Shape = Shape::List(List {
    min: Some(0),
    max: Some(1),
    item: &NETWORK_CONNECTOR,
});
static ARCHITECTURE: Shape = Shape::Text(Text {
    min: None,
    max: None,
    pattern: None,
    values: &["ARM_64", "X86_64"],
    sensitive: false,
});
static CPU_CONFIGURATION: Shape = Shape::Structure(Structure {
    name: "CpuConfiguration",
    members: &[body("architecture", &ARCHITECTURE).required()],
});
static CPU_CONFIGURATION_LIST: Shape = Shape::List(List {
    min: None,
    max: None,
    item: &CPU_CONFIGURATION,
});
static INTEGER: Shape = Shape::Integer(Range {
    min: None,
    max: None,
});
static RESOURCES: Shape = Shape::Structure(Structure {
    name: "Resources",
    members: &[body("minimumMemoryInMiB", &INTEGER).required()],
});
static RESOURCES_LIST: Shape = Shape::List(List {
    min: Some(0),
    max: Some(1),
    item: &RESOURCES,
});
static CAPABILITY: Shape = Shape::Text(Text {
    min: None,
    max: None,
    pattern: None,
    values: &["ALL"],
    sensitive: false,
});
static CAPABILITY_LIST: Shape = Shape::List(List {
    min: None,
    max: None,
    item: &CAPABILITY,
});
static HOOKS_PORT_INTEGER: Shape = Shape::Integer(Range {
    min: Some(1),
    max: Some(65535),
});
static HOOK_STATE: Shape = Shape::Text(Text {
    min: None,
    max: None,
    pattern: None,
    values: &["DISABLED", "ENABLED"],
    sensitive: false,
});
static MICROVM_HOOKS_RUN_TIMEOUT_IN_SECONDS_INTEGER: Shape = Shape::Integer(Range {
    min: Some(1),
    max: Some(60),
});
static MICROVM_HOOKS_RESUME_TIMEOUT_IN_SECONDS_INTEGER: Shape = Shape::Integer(Range {
    min: Some(1),
    max: Some(60),
});
static MICROVM_HOOKS_SUSPEND_TIMEOUT_IN_SECONDS_INTEGER: Shape = Shape::Integer(Range {
    min: Some(1),
    max: Some(60),
});
static MICROVM_HOOKS_TERMINATE_TIMEOUT_IN_SECONDS_INTEGER: Shape = Shape::Integer(Range {
    min: Some(1),
    max: Some(60),
});
static MICROVM_HOOKS: Shape = Shape::Structure(Structure {
    name: "MicrovmHooks",
    members: &[
        body("run", &HOOK_STATE),
        body(
            "runTimeoutInSeconds",
            &MICROVM_HOOKS_RUN_TIMEOUT_IN_SECONDS_INTEGER,
        ),
        body("resume", &HOOK_STATE),
        body(
            "resumeTimeoutInSeconds",
            &MICROVM_HOOKS_RESUME_TIMEOUT_IN_SECONDS_INTEGER,
        ),
        body("suspend", &HOOK_STATE),
        body(
            "suspendTimeoutInSeconds",
            &MICROVM_HOOKS_SUSPEND_TIMEOUT_IN_SECONDS_INTEGER,
        ),
        body("terminate", &HOOK_STATE),
        body(
            "terminateTimeoutInSeconds",
            &MICROVM_HOOKS_TERMINATE_TIMEOUT_IN_SECONDS_INTEGER,
        ),
    ],
});
static MICROVM_IMAGE_HOOKS_READY_TIMEOUT_IN_SECONDS_INTEGER: Shape = Shape::Integer(Range {
    min: Some(1),
    max: Some(3600),
});
static MICROVM_IMAGE_HOOKS_VALIDATE_TIMEOUT_IN_SECONDS_INTEGER: Shape = Shape::Integer(Range {
    min: Some(1),
    max: Some(3600),
});
static MICROVM_IMAGE_HOOKS: Shape = Shape::Structure(Structure {
    name: "MicrovmImageHooks",
    members: &[
        body("ready", &HOOK_STATE),
        body(
            "readyTimeoutInSeconds",
            &MICROVM_IMAGE_HOOKS_READY_TIMEOUT_IN_SECONDS_INTEGER,
        ),
        body("validate", &HOOK_STATE),
        body(
            "validateTimeoutInSeconds",
            &MICROVM_IMAGE_HOOKS_VALIDATE_TIMEOUT_IN_SECONDS_INTEGER,
        ),
    ],
});
static HOOKS: Shape = Shape::Structure(Structure {
    name: "Hooks",
    members: &[
        body("port", &HOOKS_PORT_INTEGER),
        body("microvmHooks", &MICROVM_HOOKS),
        body("microvmImageHooks", &MICROVM_IMAGE_HOOKS),
    ],
});
static ENVIRONMENT_VARIABLE_KEY: Shape = Shape::Text(Text {
    min: Some(1),
    max: Some(256),
    pattern: Some(r"[^\s]+"),
    values: &[],
    sensitive: false,
});
static ENVIRONMENT_VARIABLE_VALUE: Shape = Shape::Text(Text {
    min: Some(0),
    max: Some(4096),
    pattern: None,
    values: &[],
    sensitive: true,
});
static ENVIRONMENT_VARIABLE_MAP: Shape = Shape::Map(Map {
    min: Some(0),
    max: Some(100),
    key: &ENVIRONMENT_VARIABLE_KEY,
    value: &ENVIRONMENT_VARIABLE_VALUE,
});
static IMAGE_NAME: Shape = Shape::Text(Text {
    min: Some(1),
    max: Some(64),
    pattern: Some("[a-zA-Z0-9-_]+"),
    values: &[],
    sensitive: false,
});
static TAG_KEY: Shape = Shape::Text(Text {
    min: Some(1),
    max: Some(128),
    pattern: Some(r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)"),
    values: &[],
    sensitive: false,
});
static TAG_VALUE: Shape = Shape::Text(Text {
    min: Some(0),
    max: Some(256),
    pattern: Some(r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)"),
    values: &[],
    sensitive: false,
});
static TAGS: Shape = Shape::Map(Map {
    min: None,
    max: None,
    key: &TAG_KEY,
    value: &TAG_VALUE,
});
static CREATE_MICROVM_IMAGE_REQUEST_CLIENT_TOKEN_STRING: Shape = Shape::Text(Text {
    min: Some(1),
    max: Some(128),
    pattern: None,
    values: &[],
    sensitive: false,
});
static MICROVM_IMAGE_IDENTIFIER: Shape = Shape::Text(Text {
    min: Some(1),
    max: Some(256),
    pattern: None,
    values: &[],
    sensitive: false,
});
static LIST_MANAGED_MICROVM_IMAGE_VERSIONS_INPUT_MAX_RESULTS_INTEGER: Shape =
    Shape::Integer(Range {
        min: Some(1),
        max: Some(50),
    });
static LIST_MANAGED_MICROVM_IMAGES_INPUT_MAX_RESULTS_INTEGER: Shape = Shape::Integer(Range {
    min: Some(1),
    max: Some(50),
});
static LIST_MICROVM_IMAGE_BUILDS_INPUT_MAX_RESULTS_INTEGER: Shape = Shape::Integer(Range {
    min: Some(1),
    max: Some(50),
});
static CHIPSET: Shape = Shape::Text(Text {
    min: None,
    max: None,
    pattern: None,
    values: &["GRAVITON", "INTEL"],
    sensitive: false,
});
static LIST_MICROVM_IMAGE_VERSIONS_INPUT_MAX_RESULTS_INTEGER: Shape = Shape::Integer(Range {
    min: Some(1),
    max: Some(50),
});
static LIST_MICROVM_IMAGES_REQUEST_MAX_RESULTS_INTEGER: Shape = Shape::Integer(Range {
    min: Some(1),
    max: Some(50),
});
static LIST_MICROVMS_REQUEST_MAX_RESULTS_INTEGER: Shape = Shape::Integer(Range {
    min: Some(1),
    max: Some(50),
});
static TAGGABLE_RESOURCE: Shape = Shape::Text(Text {
    min: Some(1),
    max: Some(10000),
    pattern: Some(
        r"arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:(function:[a-zA-Z0-9-_]+(:(\$LATEST|[a-zA-Z0-9-_]+))?|layer:([a-zA-Z0-9-_]+)|code-signing-config:csc-[a-z0-9]{17}|event-source-mapping:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|(capacity-provider|network-connector|microvm-image):[a-zA-Z0-9-_]+)",
    ),
    values: &[],
    sensitive: false,
});
static NETWORK_CONNECTOR_LIST: Shape = Shape::List(List {
    min: Some(0),
    max: Some(10),
    item: &NETWORK_CONNECTOR,
});
static IDLE_POLICY_MAX_IDLE_DURATION_SECONDS_INTEGER: Shape = Shape::Integer(Range {
    min: Some(60),
    max: None,
});
static IDLE_POLICY_SUSPENDED_DURATION_SECONDS_INTEGER: Shape = Shape::Integer(Range {
    min: Some(0),
    max: None,
});
static BOOLEAN: Shape = Shape::Boolean;
static IDLE_POLICY: Shape = Shape::Structure(Structure {
    name: "IdlePolicy",
    members: &[
        body(
            "maxIdleDurationSeconds",
            &IDLE_POLICY_MAX_IDLE_DURATION_SECONDS_INTEGER,
        )
        .required(),
        body(
            "suspendedDurationSeconds",
            &IDLE_POLICY_SUSPENDED_DURATION_SECONDS_INTEGER,
        )
        .required(),
        body("autoResumeEnabled", &BOOLEAN).required(),
    ],
});
static RUN_HOOK_PAYLOAD: Shape = Shape::Text(Text {
    min: Some(0),
    max: Some(4096),
    pattern: None,
    values: &[],
    sensitive: true,
});
static RUN_MICROVM_REQUEST_MAXIMUM_DURATION_IN_SECONDS_INTEGER: Shape = Shape::Integer(Range {
    min: Some(1),
    max: Some(28800),
});
static RUN_MICROVM_REQUEST_CLIENT_TOKEN_STRING: Shape = Shape::Text(Text {
    min: Some(1),
    max: Some(128),
    pattern: None,
    values: &[],
    sensitive: false,
});
static TAG_KEY_LIST: Shape = Shape::List(List {
    min: None,
    max: None,
    item: &TAG_KEY,
});
static UPDATE_MICROVM_IMAGE_REQUEST_EGRESS_NETWORK_CONNECTORS_LIST: Shape = Shape::List(List {
    min: Some(0),
    max: Some(1),
    item: &NETWORK_CONNECTOR,
});
static UPDATE_MICROVM_IMAGE_REQUEST_CLIENT_TOKEN_STRING: Shape = Shape::Text(Text {
    min: Some(1),
    max: Some(128),
    pattern: None,
    values: &[],
    sensitive: false,
});
static MICROVM_IMAGE_VERSION_STATUS: Shape = Shape::Text(Text {
    min: None,
    max: None,
    pattern: None,
    values: &["ACTIVE", "INACTIVE"],
    sensitive: false,
});
