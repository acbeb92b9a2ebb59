//! Arguments as members of requests: only what was typed. Pure.

use serde_json::{Map, Value, json};

use crate::cli::function::SettingArguments;

/// The members of `UpdateFunctionConfiguration`, and of `CreateFunction`.
pub(super) fn settings(typed: &SettingArguments) -> Map<String, Value> {
    let mut members = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            members.insert(name.to_owned(), value);
        }
    };
    set("Runtime", typed.runtime.as_ref().map(|text| json!(text)));
    set("Handler", typed.handler.as_ref().map(|text| json!(text)));
    set("MemorySize", typed.memory.map(|mb| json!(mb)));
    set("Timeout", typed.timeout.map(|seconds| json!(seconds)));
    set("Role", typed.role.as_ref().map(|arn| json!(arn)));
    let description = typed.description.as_ref();
    set("Description", description.map(|text| json!(text)));
    if !typed.env.is_empty() {
        let variables = typed.env.iter();
        let variables = variables.map(|variable| (variable.name.clone(), json!(variable.value)));
        let variables = Value::Object(variables.collect());
        set("Environment", Some(json!({"Variables": variables})));
    }
    if !typed.layers.is_empty() {
        set("Layers", Some(json!(typed.layers)));
    }
    members
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::function::FunctionCommand;
    use crate::cli::{Cli, ClientCommand, Command};

    fn typed(words: &[&str]) -> SettingArguments {
        let all = ["hearth", "function", "create", "x"].iter().chain(words);
        match Cli::parse_from(all).command {
            Command::Client(ClientCommand::Function(FunctionCommand::Create(arguments))) => {
                arguments.settings
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_what_was_typed_is_said() {
        assert!(settings(&typed(&[])).is_empty());
        let some = typed(&[
            "--memory=256",
            "--timeout=30",
            "-eA=1",
            "--env=B=x=y",
            "--layer=arn:l:1",
            "--description=",
        ]);
        assert_eq!(
            Value::Object(settings(&some)),
            json!({
                "MemorySize": 256,
                "Timeout": 30,
                "Environment": {"Variables": {"A": "1", "B": "x=y"}},
                "Layers": ["arn:l:1"],
                "Description": "",
            })
        );
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let parse =
            |words: &[&str]| Cli::try_parse_from(["hearth", "function"].iter().chain(words));
        assert!(parse(&["update", "--name=x", "--memory=256"]).is_ok());
        assert!(parse(&["update", "folder"]).is_ok());
        assert!(parse(&["invoke", "x", "{}", "--event=f"]).is_err());
        assert!(parse(&["invoke", "x", "--async", "--log"]).is_err());
    }
}
